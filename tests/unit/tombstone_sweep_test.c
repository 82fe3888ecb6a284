/* Of a tombstone whose time has passed nothing stays, in the database or beside it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "private/records.pb-c.h"
#include "server/log/log.h"
#include "server/sandbox/command_record.h"
#include "server/sandbox/sweep.h"
#include "server/store/record.h"
#include "server/util/id.h"
#include "server/util/prototime.h"
#include "tests/unit/tempdir.h"

#define NOW_MS 1800000000000ULL
#define DAY_MS 86400000ULL
#define PROJECT "prj_01h455vb4pex5vsknk084sn02q"

struct world {
    char *directory;
    char logs[4096];
    struct store *store;
    struct arena *arena;
    char sandbox[ID_SIZE]; /* the last one */
};

static const atomic_bool never;

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    char path[4096];

    world->directory = tempdir_new();
    (void)snprintf(path, sizeof(path), "%s/db", world->directory);
    (void)snprintf(world->logs, sizeof(world->logs), "%s/logs", world->directory);
    world->arena = arena_new(8U << 20);
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

/* end_ms: 0 for one that lives. */
static void put_sandbox(struct world *world, uint64_t create_ms, uint64_t end_ms)
{
    Crownest__V1__Sandbox sandbox = CROWNEST__V1__SANDBOX__INIT;
    Crownest__Records__SandboxRecord record = CROWNEST__RECORDS__SANDBOX_RECORD__INIT;
    Crownest__Records__PreviewRecord preview = CROWNEST__RECORDS__PREVIEW_RECORD__INIT;
    struct store_batch *batch = store_batch_new();
    char preview_id[ID_SIZE];

    id_make("sbx_", world->sandbox);
    id_make("prv_", preview_id);
    struct schema_key key = schema_key("s", PROJECT, world->sandbox, NULL);
    struct schema_key previews[] = {schema_key("p", PROJECT, preview_id, NULL),
                                    schema_key("pi", preview_id, NULL, NULL),
                                    schema_key("ps", PROJECT, world->sandbox, preview_id)};

    sandbox.sandbox_id = world->sandbox;
    sandbox.project_id = (char *)PROJECT;
    sandbox.create_time = prototime_from_ms(world->arena, create_ms);
    if (end_ms > 0)
        sandbox.end_time = prototime_from_ms(world->arena, end_ms);
    record.sandbox = &sandbox;
    record_put(batch, &key, &record.base);
    record_put(batch, &previews[0], &preview.base);
    record_put_string(batch, &previews[1], PROJECT);
    record_put_string(batch, &previews[2], "");
    assert_int_equal(store_commit(world->store, batch, STORE_UNSYNCED), 0);
}

/* Of the last sandbox. end_ms: 0 for one whose end was not recorded yet. */
static void put_command(struct world *world, uint64_t end_ms)
{
    Crownest__V1__Command command = CROWNEST__V1__COMMAND__INIT;
    Crownest__Records__CommandRecord record = CROWNEST__RECORDS__COMMAND_RECORD__INIT;
    struct collect_result nothing = {0};
    struct store_batch *batch = store_batch_new();
    struct log *log = NULL;
    char id[ID_SIZE];

    id_make("cmd_", id);
    struct schema_key key = schema_key("c", PROJECT, id, NULL);
    struct schema_key by_sandbox = schema_key("cs", PROJECT, world->sandbox, id);

    assert_int_equal(log_create(world->logs, id, &log, NULL), 0);
    assert_int_equal(log_append(log, LOG_STDOUT, 1, bytes_of("output", 6)), 0);
    assert_int_equal(log_end(log), 0);
    log_unref(log);
    command.command_id = id;
    command.project_id = (char *)PROJECT;
    command.sandbox_id = world->sandbox;
    record.command = &command;
    record_put(batch, &key, &record.base);
    record_put_string(batch, &by_sandbox, "");
    assert_int_equal(store_commit(world->store, batch, STORE_UNSYNCED), 0);
    if (end_ms == 0)
        return;
    command.end_time = prototime_from_ms(world->arena, end_ms);
    assert_int_equal(command_record_exit(world->store, &record, &nothing), 0);
}

static struct sweep pass(const struct world *world)
{
    return (struct sweep){
        .store = world->store, .log_directory = world->logs, .stop = &never, .now_ms = NOW_MS};
}

static void expire(const struct world *world)
{
    struct sweep sweep = pass(world);

    while (tombstone_expire(&sweep, PROJECT, NOW_MS - DAY_MS))
        ;
    while (tombstone_logs(&sweep))
        ;
}

static bool count_visit(void *arg, struct bytes key, struct bytes value)
{
    (void)key;
    (void)value;
    ++*(size_t *)arg;
    return true;
}

static size_t count_keys(const struct world *world, const char *prefix)
{
    size_t count = 0;

    (void)store_scan(world->store, bytes_of_string(prefix), bytes_of(NULL, 0), STORE_ASCENDING,
                     count_visit, &count);
    return count;
}

static int count_files(const struct world *world)
{
    char line[8192];
    int count = -1;

    (void)snprintf(line, sizeof(line), "find %s -type f | wc -l", world->logs);
    FILE *out = popen(line, "re");

    assert_non_null(out);
    assert_int_equal(fscanf(out, "%d", &count), 1);
    (void)pclose(out);
    return count;
}

static void nothing_stays_of_what_is_due(void **state)
{
    struct world *world = *state;

    put_sandbox(world, NOW_MS - 3 * DAY_MS, NOW_MS - 2 * DAY_MS);
    for (int i = 0; i < 3; i++)
        put_command(world, NOW_MS - 2 * DAY_MS);
    assert_int_equal(count_files(world), 3);
    expire(world);
    assert_int_equal(count_keys(world, ""), 0);
    assert_int_equal(count_files(world), 0);
}

static void what_lives_or_is_not_due_stays(void **state)
{
    struct world *world = *state;

    put_sandbox(world, NOW_MS - 3 * DAY_MS, 0);
    put_command(world, NOW_MS - 2 * DAY_MS);
    put_sandbox(world, NOW_MS - 3 * DAY_MS, NOW_MS - DAY_MS / 2);
    put_command(world, NOW_MS - DAY_MS / 2);
    size_t before = count_keys(world, "");

    expire(world);
    assert_int_equal(count_keys(world, ""), before);
    assert_int_equal(count_files(world), 2);
    /* One that lives long does not hide those that came after it. */
    put_sandbox(world, NOW_MS - 2 * DAY_MS, NOW_MS - 2 * DAY_MS + 1);
    expire(world);
    assert_int_equal(count_keys(world, ""), before);
}

static void one_whose_command_is_not_recorded_yet_waits(void **state)
{
    struct world *world = *state;

    put_sandbox(world, NOW_MS - 3 * DAY_MS, NOW_MS - 2 * DAY_MS);
    put_command(world, 0);
    size_t before = count_keys(world, "");

    expire(world);
    assert_int_equal(count_keys(world, ""), before);
    assert_int_equal(count_files(world), 1);
}

static void very_many_commands_go_in_several_batches(void **state)
{
    struct world *world = *state;

    put_sandbox(world, NOW_MS - 3 * DAY_MS, NOW_MS - 2 * DAY_MS);
    for (int i = 0; i < 300; i++)
        put_command(world, NOW_MS - 2 * DAY_MS);
    expire(world);
    assert_int_equal(count_keys(world, ""), 0);
    assert_int_equal(count_files(world), 0);
}

/* It was killed between the batch and the file. */
static void a_log_that_was_left_behind_is_found(void **state)
{
    struct world *world = *state;
    struct sweep sweep = pass(world);

    put_sandbox(world, NOW_MS - 3 * DAY_MS, NOW_MS - 2 * DAY_MS);
    put_command(world, NOW_MS - 2 * DAY_MS);
    assert_false(tombstone_expire(&sweep, PROJECT, NOW_MS - DAY_MS));
    assert_int_equal(count_keys(world, ""), 1);
    assert_int_equal(count_keys(world, "lx/cmd_"), 1);
    assert_int_equal(count_files(world), 1);
    assert_false(sweep_run(&sweep));
    assert_int_equal(count_keys(world, ""), 0);
    assert_int_equal(count_files(world), 0);
}

#define WORLD_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(nothing_stays_of_what_is_due),
        WORLD_TEST(what_lives_or_is_not_due_stays),
        WORLD_TEST(one_whose_command_is_not_recorded_yet_waits),
        WORLD_TEST(very_many_commands_go_in_several_batches),
        WORLD_TEST(a_log_that_was_left_behind_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
