/* The service on a disk that fills up: what it refuses, what it keeps, and that it heals. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/rpc/host_state.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"
#include "tests/unit/small_disk.h"

#define MIB (1UL << 20)
#define RESERVE (48 * MIB)
#define RESOURCE_EXHAUSTED 8
#define UNAVAILABLE 14
#define LABELS 32
#define LABEL_BYTES 255
#define CHANGES_MAX 20000 /* of 8 KiB: more than the disk holds */
#define WHEN_TOLD "while [ ! -e told ]; do sleep 0.02; done; rm told; "

static struct crownest_error error;

static const char *disk_of(const struct service *service)
{
    static char path[SERVICE_PATH_SIZE];

    (void)snprintf(path, sizeof(path), "%s/server", service->dir);
    return path;
}

static void fill(const struct service *service, size_t leave)
{
    small_disk_fill(disk_of(service), "fill", leave);
}

static void make_room(const struct service *service)
{
    small_disk_remove(disk_of(service), "fill");
}

/* A command of the sandbox waits for it. */
static void tell(const struct service *service, const char *sandbox_id)
{
    step_write(service->client, sandbox_id, "/workspace/told", "", 0);
}

static int start(struct crownest_client *client, const char *sandbox_id)
{
    Crownest__V1__StartCommandRequest request = CROWNEST__V1__START_COMMAND_REQUEST__INIT;
    Crownest__V1__StartCommandResponse *response;
    Crownest__V1__CommandSpec spec = step_shell(sandbox_id, "true");

    request.command = &spec;
    int result = crownest_command_start(client, &request, NULL, &response, &error);

    if (result == 0)
        crownest__v1__start_command_response__free_unpacked(response, NULL);
    return result;
}

static int cancel(struct crownest_client *client, const char *command_id)
{
    Crownest__V1__CancelCommandRequest request = CROWNEST__V1__CANCEL_COMMAND_REQUEST__INIT;
    Crownest__V1__CancelCommandResponse *response;

    request.command_id = STEP_TEXT(command_id);
    int result = crownest_command_cancel(client, &request, NULL, &response, &error);

    if (result == 0)
        crownest__v1__cancel_command_response__free_unpacked(response, NULL);
    return result;
}

static int kill_sandbox(struct crownest_client *client, const char *sandbox_id)
{
    Crownest__V1__KillSandboxRequest request = CROWNEST__V1__KILL_SANDBOX_REQUEST__INIT;
    Crownest__V1__KillSandboxResponse *response;

    request.sandbox_id = STEP_TEXT(sandbox_id);
    int result = crownest_sandbox_kill(client, &request, NULL, &response, &error);

    if (result == 0)
        crownest__v1__kill_sandbox_response__free_unpacked(response, NULL);
    return result;
}

static uint32_t processes(struct crownest_client *client, const char *sandbox_id)
{
    Crownest__V1__SandboxStatsRequest request = CROWNEST__V1__SANDBOX_STATS_REQUEST__INIT;
    Crownest__V1__SandboxStatsResponse *response;

    request.sandbox_id = STEP_TEXT(sandbox_id);
    assert_done(crownest_sandbox_stats(client, &request, NULL, &response, &error), &error);
    uint32_t count = response->processes;

    crownest__v1__sandbox_stats_response__free_unpacked(response, NULL);
    return count;
}

/* Labels that take eight kilobytes and begin with a number. */
static int relabel(struct crownest_client *client, const char *sandbox_id, unsigned number)
{
    static char values[LABELS][LABEL_BYTES + 1];
    static char keys[LABELS][8];
    Crownest__V1__UpdateSandboxRequest__LabelsEntry entries[LABELS];
    Crownest__V1__UpdateSandboxRequest__LabelsEntry *list[LABELS];
    Crownest__V1__UpdateSandboxRequest request = CROWNEST__V1__UPDATE_SANDBOX_REQUEST__INIT;
    Crownest__V1__UpdateSandboxResponse *response;

    for (unsigned i = 0; i < LABELS; i++) {
        list[i] = &entries[i];
        crownest__v1__update_sandbox_request__labels_entry__init(list[i]);
        (void)snprintf(keys[i], sizeof(keys[i]), "k%02u", i);
        memset(values[i], 'x', LABEL_BYTES);
        (void)snprintf(values[i], 9, "%08u", number);
        values[i][8] = 'x';
        entries[i].key = keys[i];
        entries[i].value = values[i];
    }
    request.sandbox_id = STEP_TEXT(sandbox_id);
    request.replace_labels = true;
    request.labels = list;
    request.n_labels = LABELS;
    int result = crownest_sandbox_update(client, &request, NULL, &response, &error);

    if (result == 0)
        crownest__v1__update_sandbox_response__free_unpacked(response, NULL);
    return result;
}

static void assert_labelled(struct crownest_client *client, const char *sandbox_id, unsigned number)
{
    Crownest__V1__Sandbox *sandbox = step_sandbox(client, sandbox_id);
    char expected[16];

    (void)snprintf(expected, sizeof(expected), "%08ux", number);
    assert_int_equal(sandbox->n_labels, LABELS);
    assert_memory_equal(sandbox->labels[0]->value, expected, 9);
    crownest__v1__sandbox__free_unpacked(sandbox, NULL);
}

/* Until one is refused, while every byte that becomes free is taken. Returns the last done. */
static unsigned change_until_refused(const struct service *service, const char *sandbox_id)
{
    for (unsigned number = 1; number < CHANGES_MAX; number++) {
        fill(service, 0);
        int result = relabel(service->client, sandbox_id, number);

        if (result == 0)
            continue;
        assert_refused(result, &error, UNAVAILABLE, "DISK_FULL", "");
        assert_true(error.retryable);
        return number - 1;
    }
    fail_msg("a full disk takes everything");
    return 0;
}

static void new_work_is_refused_below_the_reserve(void **state)
{
    struct service *service = service_of(state);
    struct crownest_client *client = service->client;
    char id[STEP_ID_SIZE];
    char other[STEP_ID_SIZE];
    char again[STEP_ID_SIZE];

    assert_done(step_try_create(client, "first", "base", id, &error), &error);
    assert_done(step_try_create(client, "second", "base", other, &error), &error);
    fill(service, RESERVE / 4);
    assert_refused(step_try_create(client, "third", "base", again, &error), &error,
                   RESOURCE_EXHAUSTED, "DISK_FULL", "");
    assert_true(error.retryable);
    assert_true(error.retry_after_ms > 0);
    assert_non_null(strstr(error.message, "48 MiB must stay free"));
    assert_refused(start(client, id), &error, RESOURCE_EXHAUSTED, "DISK_FULL", "");
    assert_refused(step_try_collect(client, "", id, "/etc/passwd", again, &error), &error,
                   RESOURCE_EXHAUSTED, "DISK_FULL", "");
    /* What was done before is answered, what is there is shown, what ends something is done. */
    assert_done(step_try_create(client, "first", "base", again, &error), &error);
    assert_string_equal(id, again);
    assert_done(relabel(client, id, 7), &error);
    assert_labelled(client, id, 7);
    step_kill(client, other);
    make_room(service);
    step_do(client, id, "true");
    assert_done(step_try_create(client, "third", "base", other, &error), &error);
    step_kill(client, other);
    step_kill(client, id);
}

static void a_disk_without_a_byte_is_said_and_heals(void **state)
{
    struct service *service = service_of(state);
    struct crownest_client *client = service->client;
    struct crownest_stream *all = step_watch_health(client, "");
    struct crownest_stream *one = step_watch_health(client, "crownest.v1.SandboxService");
    char id[STEP_ID_SIZE];
    char again[STEP_ID_SIZE];

    step_await_health(all, true);
    step_await_health(one, true);
    step_create(client, "base", id);
    unsigned last = change_until_refused(service, id);

    assert_true(last > 0);
    step_await_health(all, false);
    step_await_health(one, false);
    assert_refused(start(client, id), &error, UNAVAILABLE, "DISK_FULL", "");
    assert_refused(step_try_create(client, "zero", "base", again, &error), &error, UNAVAILABLE,
                   "DISK_FULL", "");
    assert_labelled(client, id, last);
    make_room(service);
    step_await_health(all, true);
    step_await_health(one, true);
    assert_labelled(client, id, last);
    assert_done(relabel(client, id, last + 1), &error);
    step_do(client, id, "true");
    crownest_stream_free(all);
    crownest_stream_free(one);
    service_crash_crownestd(service);
    service_come_back(service);
    assert_labelled(service->client, id, last + 1);
    step_kill(service->client, id);
}

static void nothing_is_lost_by_a_crash_on_a_full_disk(void **state)
{
    struct service *service = service_of(state);
    char id[STEP_ID_SIZE];

    step_create(service->client, "base", id);
    unsigned last = change_until_refused(service, id);

    service_crash_crownestd(service);
    make_room(service);
    service_come_back(service);
    assert_labelled(service->client, id, last);
    step_kill(service->client, id);
}

struct output {
    uint64_t kept;
    uint64_t missing;
    char last[8]; /* of what was kept */
};

static void add_event(struct output *output, const Crownest__V1__CommandEvent *event)
{
    if (event->event_case == CROWNEST__V1__COMMAND_EVENT__EVENT_GAP) {
        assert_string_equal(event->gap->reason, "DISK_FULL");
        assert_int_equal(event->gap->from_offset, output->kept + output->missing);
        output->missing += event->gap->to_offset - event->gap->from_offset;
    } else if (event->event_case == CROWNEST__V1__COMMAND_EVENT__EVENT_OUTPUT) {
        assert_int_equal(event->output->offset, output->kept + output->missing);
        output->kept += event->output->data.len;
        (void)snprintf(output->last, sizeof(output->last), "%.*s", (int)event->output->data.len,
                       (const char *)event->output->data.data);
    }
}

/* To the end, with the exit code. */
static int32_t follow(struct crownest_client *client, const char *command_id,
                      struct output *ret_output)
{
    Crownest__V1__StreamLogsRequest request = CROWNEST__V1__STREAM_LOGS_REQUEST__INIT;
    Crownest__V1__StreamLogsResponse *message;
    struct crownest_command_stream_logs_reader *reader;
    struct output output = {0};
    int32_t code = -1;
    int result;

    request.command_id = STEP_TEXT(command_id);
    request.follow = true;
    assert_done(crownest_command_stream_logs_open(client, &request, NULL, &reader, &error), &error);
    while ((result = crownest_command_stream_logs_next(reader, &message, &error)) > 0) {
        add_event(&output, message->event);
        if (message->event->event_case == CROWNEST__V1__COMMAND_EVENT__EVENT_EXITED)
            code = message->event->exited->command->exit_code;
        crownest__v1__stream_logs_response__free_unpacked(message, NULL);
    }
    assert_done(result, &error);
    crownest_command_stream_logs_free(reader);
    *ret_output = output;
    return code;
}

static void output_that_finds_no_room_is_a_gap(void **state)
{
    struct service *service = service_of(state);
    struct output output;
    char id[STEP_ID_SIZE];
    char command[STEP_ID_SIZE];

    step_create(service->client, "base", id);
    step_start(service->client, id,
               WHEN_TOLD "head -c 33554432 /dev/zero; " WHEN_TOLD "echo after; exit 7", command);
    fill(service, 8 * MIB);
    tell(service, id);
    step_await_output(service->client, command, 32 * MIB);
    unsigned last = change_until_refused(service, id);

    make_room(service);
    tell(service, id);
    assert_int_equal(follow(service->client, command, &output), 7);
    assert_int_equal(output.kept + output.missing, 32 * MIB + strlen("after\n"));
    assert_true(output.missing > 0);
    assert_string_equal(output.last, "after\n");
    assert_labelled(service->client, id, last);
    step_kill(service->client, id);
}

/* Commands that end by themselves or are cancelled, and a sandbox that is killed. */
static void what_ends_on_a_full_disk_is_recorded_later(void **state)
{
    struct service *service = service_of(state);
    struct crownest_client *client = service->client;
    struct crownest_stream *health = step_watch_health(client, "");
    char id[STEP_ID_SIZE];
    char victim[STEP_ID_SIZE];
    char exits[STEP_ID_SIZE];
    char cancelled[STEP_ID_SIZE];
    struct output output;

    step_create(client, "base", victim);
    step_start(client, victim, "sleep 1000", cancelled);
    step_create(client, "base", id);
    uint32_t alone = processes(client, id);

    step_start(client, id, WHEN_TOLD "echo last; exit 7", exits);
    (void)change_until_refused(service, id);
    tell(service, id);
    while (processes(client, id) > alone)
        ;
    assert_refused(cancel(client, cancelled), &error, UNAVAILABLE, "DISK_FULL", "");
    assert_int_equal(processes(client, victim), alone);
    assert_refused(kill_sandbox(client, victim), &error, UNAVAILABLE, "DISK_FULL", "");
    assert_int_equal(host_cgroups_of(victim), 0);
    step_await_health(health, false);
    make_room(service);
    step_await_health(health, true);
    assert_int_equal(follow(client, exits, &output), 7);
    Crownest__V1__Command *command;

    (void)follow(client, cancelled, &output);
    command = step_command(client, cancelled);
    assert_int_equal(command->exit_cause, CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_CANCELLED);
    crownest__v1__command__free_unpacked(command, NULL);
    step_kill(client, victim);
    Crownest__V1__Sandbox *sandbox = step_sandbox(client, victim);

    assert_int_equal(sandbox->end_cause, CROWNEST__V1__END_CAUSE__END_CAUSE_KILLED);
    assert_true(sandbox->cpu_usec > 0);
    crownest__v1__sandbox__free_unpacked(sandbox, NULL);
    crownest_stream_free(health);
    step_kill(client, id);
}

/* Without a reserve, so that collecting is begun at all. */
static void an_artifact_that_finds_no_room_is_refused_and_leaves_nothing(void **state)
{
    struct service *service = service_of(state);
    static uint8_t big[4 * MIB];
    char id[STEP_ID_SIZE];
    char artifact[STEP_ID_SIZE];
    size_t size;

    service->reserve_bytes = "1";
    service_crash_crownestd(service);
    service_come_back(service);
    step_create(service->client, "base", id);
    step_write(service->client, id, "/workspace/big", big, sizeof(big));
    fill(service, MIB);
    size_t before = small_disk_free_bytes(disk_of(service));

    assert_refused(
        step_try_collect(service->client, "collect", id, "/workspace/big", artifact, &error),
        &error, UNAVAILABLE, "DISK_FULL", "");
    assert_true(error.retryable);
    assert_int_equal(small_disk_free_bytes(disk_of(service)), before);
    make_room(service);
    assert_done(
        step_try_collect(service->client, "collect", id, "/workspace/big", artifact, &error),
        &error);
    uint8_t *kept = step_download(service->client, artifact, &size);

    assert_int_equal(size, sizeof(big));
    assert_memory_equal(kept, big, sizeof(big));
    free(kept);
    step_kill(service->client, id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_work_is_refused_below_the_reserve),
        cmocka_unit_test(a_disk_without_a_byte_is_said_and_heals),
        cmocka_unit_test(nothing_is_lost_by_a_crash_on_a_full_disk),
        cmocka_unit_test(output_that_finds_no_room_is_a_gap),
        cmocka_unit_test(what_ends_on_a_full_disk_is_recorded_later),
        cmocka_unit_test(an_artifact_that_finds_no_room_is_refused_and_leaves_nothing),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup_small_disk, service_teardown);
}
