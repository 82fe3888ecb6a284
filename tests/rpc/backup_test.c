/* A backup made while commands run, restored elsewhere, has everything. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bindings/c/crownest_admin.h"
#include "bindings/c/crownest_key.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define CLI "tools/cli/crownest"
#define PATH_SIZE 256
#define ARGS_MAX 12
#define PERMISSION_DENIED 7
#define COUNTING "i=0; while true; do i=$((i+1)); echo line $i; done"

static struct crownest_error error;

static char *in_dir(const struct service *service, const char *name, char path[PATH_SIZE])
{
    (void)snprintf(path, PATH_SIZE, "%s/%s", service->dir, name);
    return path;
}

/* Runs the command line to its end; returns its exit code. */
static int cli(const char *const args[])
{
    char *argv[ARGS_MAX] = {(char *)(uintptr_t)CLI};
    char *environment[] = {NULL};
    pid_t pid;
    int status;

    for (size_t i = 0; args[i]; i++) {
        assert_true(i + 2 < ARGS_MAX);
        argv[i + 1] = (char *)(uintptr_t)args[i];
    }
    assert_int_equal(posix_spawn(&pid, CLI, NULL, NULL, argv, environment), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int back_up(const struct service *service, const char *directory)
{
    char url[PATH_SIZE];

    (void)snprintf(url, sizeof(url), "unix:%s/server/c.sock", service->dir);
    return cli((const char *const[]){"backup", "--url", url, directory, NULL});
}

static int restore(const char *backup, const char *data)
{
    return cli((const char *const[]){"restore", "--data", data, "--user", "nobody", backup, NULL});
}

/* The server's user of the fixture owns what it works on. */
static void give_to_server(const struct service *service, const char *path)
{
    struct stat status;
    char data[PATH_SIZE];
    char line[PATH_SIZE * 2];

    assert_int_equal(stat(in_dir(service, "server/data", data), &status), 0);
    (void)snprintf(line, sizeof(line), "chown -R %u:%u %s", (unsigned)status.st_uid,
                   (unsigned)status.st_gid, path);
    assert_int_equal(system(line), 0);
}

/* What the tests look for afterwards. */
struct things {
    char running[STEP_ID_SIZE]; /* a sandbox */
    char ended[STEP_ID_SIZE];
    char artifact[STEP_ID_SIZE];
    char echo[STEP_ID_SIZE]; /* a command that has ended */
    char counting[STEP_ID_SIZE];
};

static void make_things(const struct service *service, struct things *things)
{
    struct transcript transcript;

    assert_done(step_try_create(service->client, "the-first", "base", things->running, &error),
                &error);
    step_create(service->client, "base", things->ended);
    step_write(service->client, things->ended, "/workspace/kept", "what is kept", 12);
    assert_done(step_try_collect(service->client, "", things->ended, "/workspace/kept",
                                 things->artifact, &error),
                &error);
    step_start(service->client, things->ended, "echo hello; exit 3", things->echo);
    step_read_log(service->client, things->echo, 0, true, &transcript);
    transcript_done(&transcript);
    step_kill(service->client, things->ended);
    step_start(service->client, things->running, COUNTING, things->counting);
    step_await_output(service->client, things->counting, 10000);
}

static void assert_ended_ones(struct crownest_client *client, const struct things *things)
{
    struct transcript transcript;
    size_t size;

    step_read_log(client, things->echo, 0, true, &transcript);
    assert_int_equal(transcript.size, 6);
    assert_memory_equal(transcript.bytes, "hello\n", 6);
    assert_int_equal(transcript.exited->command->exit_code, 3);
    transcript_done(&transcript);
    uint8_t *kept = step_download(client, things->artifact, &size);

    assert_int_equal(size, 12);
    assert_memory_equal(kept, "what is kept", 12);
    free(kept);
    Crownest__V1__Sandbox *sandbox = step_sandbox(client, things->ended);

    assert_int_equal(sandbox->end_cause, CROWNEST__V1__END_CAUSE__END_CAUSE_KILLED);
    crownest__v1__sandbox__free_unpacked(sandbox, NULL);
}

/* They ran when the copy was made, and cannot go on from it. */
static void assert_running_ones(struct crownest_client *client, const struct things *things)
{
    Crownest__V1__Sandbox *sandbox = step_sandbox(client, things->running);
    Crownest__V1__Command *command = step_command(client, things->counting);
    struct transcript transcript;

    assert_non_null(sandbox->end_time);
    assert_int_equal(sandbox->state, CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_FAILED);
    assert_non_null(command->end_time);
    step_read_log(client, things->counting, 0, true, &transcript);
    assert_true(transcript.size >= 10000);
    assert_memory_equal(transcript.bytes, "line 1\nline 2\n", 14);
    transcript_done(&transcript);
    crownest__v1__command__free_unpacked(command, NULL);
    crownest__v1__sandbox__free_unpacked(sandbox, NULL);
}

static void a_backup_of_what_runs_is_whole(void **state)
{
    struct service *service = service_of(state);
    struct things things;
    char backup[PATH_SIZE];
    char data[PATH_SIZE];
    char restored[PATH_SIZE];
    char away[PATH_SIZE];
    char again[STEP_ID_SIZE];

    make_things(service, &things);
    assert_int_equal(back_up(service, in_dir(service, "backup", backup)), 0);
    /* What came later is not in it. */
    step_create(service->client, "base", again);
    service_stop(service);
    (void)in_dir(service, "restored", restored);
    assert_int_equal(restore(backup, restored), 0);
    (void)in_dir(service, "restored/server", restored);
    give_to_server(service, restored);
    assert_int_equal(rename(in_dir(service, "server/data", data), in_dir(service, "away", away)),
                     0);
    assert_int_equal(rename(restored, data), 0);
    service_come_back(service);
    assert_ended_ones(service->client, &things);
    assert_running_ones(service->client, &things);
    Crownest__V1__GetSandboxRequest request = CROWNEST__V1__GET_SANDBOX_REQUEST__INIT;
    Crownest__V1__GetSandboxResponse *response;

    request.sandbox_id = again;
    assert_refused(crownest_sandbox_get(service->client, &request, NULL, &response, &error), &error,
                   5, "SANDBOX_NOT_FOUND", "sandbox_id");
    /* Also what was answered: a retry makes nothing new. */
    assert_done(step_try_create(service->client, "the-first", "base", again, &error), &error);
    assert_string_equal(again, things.running);
    step_create(service->client, "base", again);
    step_do(service->client, again, "true");
    step_kill(service->client, again);
}

static void a_copy_leaves_nothing_in_the_data_directory(void **state)
{
    struct service *service = service_of(state);
    char first[PATH_SIZE];
    char second[PATH_SIZE];
    char left[PATH_SIZE];

    assert_int_equal(back_up(service, in_dir(service, "first", first)), 0);
    assert_int_equal(back_up(service, in_dir(service, "second", second)), 0);
    service_stop(service);
    assert_int_equal(access(in_dir(service, "server/data/backup", left), F_OK), -1);
    assert_int_equal(errno, ENOENT);
    service_come_back(service);
}

static void what_is_there_is_not_written_over(void **state)
{
    struct service *service = service_of(state);
    char backup[PATH_SIZE];
    char path[PATH_SIZE];

    assert_int_equal(back_up(service, in_dir(service, "server", path)), 1);
    assert_int_equal(back_up(service, in_dir(service, "once", backup)), 0);
    assert_int_equal(back_up(service, backup), 1);
    assert_int_equal(mkdir(in_dir(service, "full", path), 0700), 0);
    assert_int_equal(restore(backup, path), 0);
    assert_int_equal(restore(backup, path), 1);
}

static void flip(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    char byte;

    assert_int_equal(pread(fd, &byte, 1, 0), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, 0), 1);
    (void)close(fd);
}

static void a_damaged_backup_is_refused(void **state)
{
    struct service *service = service_of(state);
    char backup[PATH_SIZE];
    char file[PATH_SIZE];
    char target[PATH_SIZE];

    assert_int_equal(back_up(service, in_dir(service, "damaged", backup)), 0);
    flip(in_dir(service, "damaged/data/db/records/CURRENT", file));
    assert_int_equal(restore(backup, in_dir(service, "nowhere", target)), 1);
    assert_int_equal(access(in_dir(service, "nowhere/server", target), F_OK), -1);
    assert_int_equal(access(in_dir(service, "nowhere/server.partial", target), F_OK), -1);
    flip(file);
    assert_int_equal(truncate(in_dir(service, "damaged/manifest", file), 200), 0);
    assert_int_equal(restore(backup, in_dir(service, "nowhere", target)), 1);
    assert_int_equal(access(in_dir(service, "nowhere/server", target), F_OK), -1);
}

static void a_key_makes_no_backup(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__BackupRequest request = CROWNEST__V1__BACKUP_REQUEST__INIT;
    Crownest__V1__BackupResponse *message;
    struct crownest_admin_backup_reader *reader;

    assert_done(crownest_admin_backup_open(service->client, &request, NULL, &reader, &error),
                &error);
    assert_refused(crownest_admin_backup_next(reader, &message, &error), &error, PERMISSION_DENIED,
                   "OPERATOR_ONLY", "");
    crownest_admin_backup_free(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_backup_of_what_runs_is_whole),
        cmocka_unit_test(a_copy_leaves_nothing_in_the_data_directory),
        cmocka_unit_test(what_is_there_is_not_written_over),
        cmocka_unit_test(a_damaged_backup_is_refused),
        cmocka_unit_test(a_key_makes_no_backup),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
