/* What the sweeper does with the logs of ended commands, and what a killed one has left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "crownest/v1/project.pb-c.h"
#include "server/log/log.h"
#include "server/sandbox/command_record.h"
#include "server/sandbox/sweeper.h"
#include "server/store/record.h"
#include "server/util/clock.h"
#include "server/util/id.h"
#include "server/util/prototime.h"
#include "tests/unit/tempdir.h"

#define NOW_MS 1800000000000ULL
#define MINUTE_MS 60000ULL
#define DAY_MS (24 * 60 * MINUTE_MS)
#define SIZE 20000

#define MANY 150 /* more than are taken at once, and a part of that */

/* A disk that fails: how many writes to the database's log from now on. */
static atomic_int failing_writes;

static bool is_database_log(int fd)
{
    char link[32];
    char path[512];

    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof(path) - 1);

    return size > 4 && memcmp(path + size - 4, ".log", 4) == 0 &&
           memmem(path, (size_t)size, "/db/", 4);
}

ssize_t write(int fd, const void *data, size_t size)
{
    if (atomic_load(&failing_writes) > 0 && is_database_log(fd) &&
        atomic_fetch_sub(&failing_writes, 1) > 0) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_write, fd, data, size);
}

struct world {
    char *directory;
    char logs[4096];
    struct store *store;
    struct arena *arena;
    char project[ID_SIZE];
    char command[ID_SIZE];
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    char path[4096];

    world->directory = tempdir_new();
    (void)snprintf(path, sizeof(path), "%s/db", world->directory);
    (void)snprintf(world->logs, sizeof(world->logs), "%s/logs", world->directory);
    world->arena = arena_new(1U << 20);
    *state = world;
    return store_open(path, &world->store, NULL);
}

static int tear_down(void **state)
{
    struct world *world = *state;

    store_close(world->store);
    arena_free(world->arena);
    tempdir_free(world->directory);
    free(world);
    return 0;
}

/* retention_ms: 0 for the default. */
static void make_project(struct world *world, uint64_t retention_ms)
{
    Crownest__V1__Project project = CROWNEST__V1__PROJECT__INIT;
    struct store_batch *batch = store_batch_new();

    id_make("prj_", world->project);
    struct schema_key key = schema_key("j", world->project, NULL, NULL);

    project.project_id = world->project;
    if (retention_ms > 0)
        project.log_retention = protoduration_from_us(world->arena, retention_ms * 1000);
    record_put(batch, &key, &project.base);
    assert_int_equal(store_commit(world->store, batch, STORE_UNSYNCED), 0);
}

/* In the project that was made last. */
static void end_command(struct world *world, uint64_t end_ms)
{
    static char line[SIZE];
    Crownest__V1__Command command = CROWNEST__V1__COMMAND__INIT;
    Crownest__Records__CommandRecord record = CROWNEST__RECORDS__COMMAND_RECORD__INIT;
    struct collect_result nothing = {0};
    struct log *log = NULL;

    id_make("cmd_", world->command);
    assert_int_equal(log_create(world->logs, world->command, &log, NULL), 0);
    assert_int_equal(log_append(log, LOG_STDOUT, 1, bytes_of(line, SIZE)), 0);
    assert_int_equal(log_end(log), 0);
    log_unref(log);
    command.command_id = world->command;
    command.project_id = world->project;
    command.sandbox_id = world->project;
    command.exit_code = 7;
    command.end_time = prototime_from_ms(world->arena, end_ms);
    record.command = &command;
    assert_int_equal(command_record_exit(world->store, &record, &nothing), 0);
}

static void sweep(const struct world *world, uint64_t now_ms)
{
    static const atomic_bool never;
    struct sweep pass = {
        .store = world->store, .log_directory = world->logs, .stop = &never, .now_ms = now_ms};

    assert_false(sweep_run(&pass));
}

static bool has_file(const struct world *world, const char *suffix)
{
    char path[8192];

    (void)snprintf(path, sizeof(path), "%s/%s/%s.log%s", world->logs,
                   world->command + strlen(world->command) - 2, world->command, suffix);
    return access(path, F_OK) == 0;
}

static void assert_plain(const struct world *world)
{
    assert_true(has_file(world, ""));
    assert_false(has_file(world, ".zst"));
}

static void assert_compressed(const struct world *world)
{
    assert_false(has_file(world, ""));
    assert_true(has_file(world, ".zst"));
}

static void assert_expired(const struct world *world, bool expired)
{
    Crownest__Records__CommandRecord *record;

    assert_int_equal(
        command_record_read(world->store, world->project, world->command, world->arena, &record),
        0);
    assert_int_equal(record->command->exit_code, 7);
    assert_int_equal(record->command->log_expired, expired);
    assert_int_equal(has_file(world, "") || has_file(world, ".zst"), !expired);
}

static bool count(void *arg, struct bytes key, struct bytes value)
{
    (void)key;
    (void)value;
    (*(size_t *)arg)++;
    return true;
}

static size_t keys(const struct world *world, const char *prefix)
{
    size_t found = 0;

    assert_int_equal(store_scan(world->store, bytes_of_string(prefix), bytes_of(NULL, 0),
                                STORE_ASCENDING, count, &found),
                     0);
    return found;
}

static void a_log_is_compressed_once_it_is_cold(void **state)
{
    struct world *world = *state;

    make_project(world, 0);
    end_command(world, NOW_MS);
    sweep(world, NOW_MS + MINUTE_MS - 1);
    assert_plain(world);
    sweep(world, NOW_MS + MINUTE_MS);
    assert_compressed(world);
    assert_expired(world, false);
    assert_int_equal(keys(world, "lc/"), 0);
    assert_int_equal(keys(world, "l/"), 1);
}

static void what_cannot_be_compressed_is_passed_over(void **state)
{
    struct world *world = *state;
    struct log *log = NULL;

    make_project(world, 0);
    end_command(world, NOW_MS);
    assert_int_equal(log_remove(world->logs, world->command), 0);
    /* One that was not ended for want of a disk, and is being read. */
    end_command(world, NOW_MS);
    assert_int_equal(log_remove(world->logs, world->command), 0);
    assert_int_equal(log_create(world->logs, world->command, &log, NULL), 0);
    end_command(world, NOW_MS + 1);
    sweep(world, NOW_MS + DAY_MS);
    assert_compressed(world);
    assert_int_equal(keys(world, "lc/"), 1);
    log_unref(log);
    sweep(world, NOW_MS + DAY_MS);
    assert_int_equal(keys(world, "lc/"), 0);
}

static void a_log_is_kept_as_long_as_its_project_says(void **state)
{
    struct world *world = *state;

    make_project(world, DAY_MS);
    end_command(world, NOW_MS);
    sweep(world, NOW_MS + DAY_MS - 1);
    assert_expired(world, false);
    sweep(world, NOW_MS + DAY_MS);
    assert_expired(world, true);
    assert_int_equal(keys(world, "l"), 0);
}

static void thirty_days_are_the_default_and_projects_do_not_mix(void **state)
{
    struct world *world = *state;
    struct world other = *world;

    make_project(world, 0);
    end_command(world, NOW_MS);
    make_project(&other, 1000);
    end_command(&other, NOW_MS);
    sweep(world, NOW_MS + 1000);
    assert_expired(&other, true);
    sweep(world, NOW_MS + 30 * DAY_MS - 1);
    assert_expired(world, false);
    sweep(world, NOW_MS + 30 * DAY_MS);
    assert_expired(world, true);
}

/* Between the three steps of an expiry: the record, the file, the index. */
static void what_a_killed_sweeper_began_is_ended(void **state)
{
    struct world *world = *state;
    Crownest__Records__CommandRecord *record;

    for (int steps = 0; steps <= 2; steps++) {
        make_project(world, 1000);
        end_command(world, NOW_MS);
        assert_int_equal(command_record_read(world->store, world->project, world->command,
                                             world->arena, &record),
                         0);
        record->command->log_expired = steps > 0;
        assert_int_equal(command_record_write(world->store, record,
                                              &(struct audit_entry){.action = "command.end"}),
                         0);
        if (steps > 1)
            assert_int_equal(log_remove(world->logs, world->command), 0);
        sweep(world, NOW_MS + DAY_MS);
        assert_expired(world, true);
        assert_int_equal(keys(world, "l"), 0);
    }
}

static void a_full_disk_is_left_alone(void **state)
{
    struct world *world = *state;

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
        print_message("skipped, for want of a mount namespace (CAP_SYS_ADMIN)\n");
        skip();
    }
    make_project(world, DAY_MS);
    (void)snprintf(world->logs, sizeof(world->logs), "%s/small", world->directory);
    assert_int_equal(mkdir(world->logs, 0700), 0);
    assert_int_equal(mount("small", world->logs, "tmpfs", 0, "size=1m"), 0);
    end_command(world, NOW_MS);
    sweep(world, NOW_MS + MINUTE_MS);
    assert_plain(world);
    assert_int_equal(keys(world, "lc/"), 1);
    /* What has expired goes all the same. */
    sweep(world, NOW_MS + DAY_MS);
    assert_expired(world, true);
    assert_int_equal(umount2(world->logs, MNT_DETACH), 0);
}

static void all_of_many_are_removed(void **state)
{
    struct world *world = *state;

    make_project(world, MINUTE_MS);
    for (int i = 0; i < MANY; i++)
        end_command(world, (uint64_t)DAY_MS + (uint64_t)i);
    assert_int_equal(keys(world, "l/"), MANY);
    sweep(world, 2 * DAY_MS);
    assert_int_equal(keys(world, "l/"), 0);
    assert_int_equal(keys(world, "lc/"), 0);
    assert_expired(world, true);
}

/* The database is opened anew for it, which nobody may hold up who waits for the write. */
static void a_write_that_fails_holds_nobody_up(void **state)
{
    struct world *world = *state;

    make_project(world, MINUTE_MS);
    end_command(world, DAY_MS);
    atomic_store(&failing_writes, 1);
    sweep(world, 2 * DAY_MS);
    assert_int_equal(keys(world, "l/"), 0);
    assert_expired(world, true);
}

/* Its first pass is at once, as after a restart; and it ends when it is told to. */
static void the_thread_sweeps_what_was_left(void **state)
{
    struct world *world = *state;

    make_project(world, 0);
    end_command(world, clock_wall_ms() - MINUTE_MS);
    struct sweep pass = {.store = world->store, .log_directory = world->logs};
    struct sweeper *sweeper = sweeper_new(&pass);

    while (keys(world, "lc/") > 0)
        (void)sched_yield();
    assert_compressed(world);
    sweeper_free(sweeper);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_log_is_compressed_once_it_is_cold),
        TEST(what_cannot_be_compressed_is_passed_over),
        TEST(a_log_is_kept_as_long_as_its_project_says),
        TEST(thirty_days_are_the_default_and_projects_do_not_mix),
        TEST(what_a_killed_sweeper_began_is_ended),
        TEST(all_of_many_are_removed),
        TEST(a_write_that_fails_holds_nobody_up),
        TEST(the_thread_sweeps_what_was_left),
        TEST(a_full_disk_is_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
