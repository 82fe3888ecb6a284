/* How long a sandbox lives and whether it runs: pauses, updates, leases, parents. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define RUNNING CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_RUNNING
#define PAUSED CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_PAUSED
#define FAILED_PRECONDITION 9
#define NOT_FOUND 5
#define INVALID_ARGUMENT 3
#define PATIENCE_MS 10000

static struct crownest_error error;

static void rest_ms(long ms)
{
    struct timespec rest = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    (void)nanosleep(&rest, NULL);
}

struct wish {
    int64_t ttl_s;
    int64_t lease_s;
    const char *parent;
};

static int create(struct crownest_client *client, const struct wish *wish,
                  char ret_id[STEP_ID_SIZE])
{
    Google__Protobuf__Duration ttl = GOOGLE__PROTOBUF__DURATION__INIT;
    Google__Protobuf__Duration lease = GOOGLE__PROTOBUF__DURATION__INIT;
    Crownest__V1__CreateSandboxRequest request = CROWNEST__V1__CREATE_SANDBOX_REQUEST__INIT;
    Crownest__V1__CreateSandboxResponse *response;

    ttl.seconds = wish->ttl_s;
    lease.seconds = wish->lease_s;
    request.ttl = wish->ttl_s ? &ttl : NULL;
    request.lease = wish->lease_s ? &lease : NULL;
    if (wish->parent)
        request.parent_sandbox_id = STEP_TEXT(wish->parent);
    int result = crownest_sandbox_create(client, &request, NULL, &response, &error);

    if (result == 0) {
        (void)snprintf(ret_id, STEP_ID_SIZE, "%s", response->sandbox->sandbox_id);
        crownest__v1__create_sandbox_response__free_unpacked(response, NULL);
    }
    return result;
}

static int pause(struct crownest_client *client, const char *id)
{
    Crownest__V1__PauseSandboxRequest request = CROWNEST__V1__PAUSE_SANDBOX_REQUEST__INIT;
    Crownest__V1__PauseSandboxResponse *response;

    request.sandbox_id = STEP_TEXT(id);
    int result = crownest_sandbox_pause(client, &request, NULL, &response, &error);

    if (result == 0) {
        assert_int_equal(response->sandbox->state, PAUSED);
        crownest__v1__pause_sandbox_response__free_unpacked(response, NULL);
    }
    return result;
}

static int resume(struct crownest_client *client, const char *id)
{
    Crownest__V1__ResumeSandboxRequest request = CROWNEST__V1__RESUME_SANDBOX_REQUEST__INIT;
    Crownest__V1__ResumeSandboxResponse *response;

    request.sandbox_id = STEP_TEXT(id);
    int result = crownest_sandbox_resume(client, &request, NULL, &response, &error);

    if (result == 0) {
        assert_int_equal(response->sandbox->state, RUNNING);
        crownest__v1__resume_sandbox_response__free_unpacked(response, NULL);
    }
    return result;
}

static Crownest__V1__SandboxStatsResponse *stats(struct crownest_client *client, const char *id)
{
    Crownest__V1__SandboxStatsRequest request = CROWNEST__V1__SANDBOX_STATS_REQUEST__INIT;
    Crownest__V1__SandboxStatsResponse *response;

    request.sandbox_id = STEP_TEXT(id);
    assert_done(crownest_sandbox_stats(client, &request, NULL, &response, &error), &error);
    return response;
}

static uint64_t cpu_of(struct crownest_client *client, const char *id)
{
    Crownest__V1__SandboxStatsResponse *response = stats(client, id);
    uint64_t cpu = response->cpu_usec;

    crownest__v1__sandbox_stats_response__free_unpacked(response, NULL);
    return cpu;
}

/* Its end, within PATIENCE_MS. */
static Crownest__V1__EndCause await_end(struct crownest_client *client, const char *id)
{
    Crownest__V1__EndCause cause = CROWNEST__V1__END_CAUSE__END_CAUSE_UNSPECIFIED;

    for (int i = 0; i < PATIENCE_MS / 50 && !cause; i++) {
        Crownest__V1__Sandbox *sandbox = step_sandbox(client, id);

        cause = sandbox->end_cause;
        crownest__v1__sandbox__free_unpacked(sandbox, NULL);
        rest_ms(50);
    }
    return cause;
}

static void a_paused_sandbox_stands_still(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    Crownest__V1__StartCommandRequest request = CROWNEST__V1__START_COMMAND_REQUEST__INIT;
    Crownest__V1__StartCommandResponse *response;
    char id[STEP_ID_SIZE];
    char command[STEP_ID_SIZE];

    step_create(client, "base", id);
    step_start(client, id, "while :; do :; done", command);
    while (cpu_of(client, id) < 50000)
        ;
    assert_done(pause(client, id), &error);
    uint64_t before = cpu_of(client, id);

    rest_ms(300);
    /* What the loop had before it stopped is booked when its processor next takes on another. */
    assert_in_range(cpu_of(client, id), before, before + 10000);
    /* Nothing new either. */
    Crownest__V1__CommandSpec spec = step_shell(id, "true");

    request.command = &spec;
    assert_refused(crownest_command_start(client, &request, NULL, &response, &error), &error,
                   FAILED_PRECONDITION, "SANDBOX_PAUSED", "command.sandbox_id");
    assert_done(pause(client, id), &error);
    assert_done(resume(client, id), &error);
    assert_done(resume(client, id), &error);
    while (cpu_of(client, id) <= before)
        ;
    step_do(client, id, "true");
    step_kill(client, id);
    assert_refused(pause(client, id), &error, FAILED_PRECONDITION, "SANDBOX_NOT_RUNNING",
                   "sandbox_id");
    assert_refused(resume(client, id), &error, FAILED_PRECONDITION, "SANDBOX_NOT_RUNNING",
                   "sandbox_id");
}

static void a_pause_is_seen_by_nobody_else(void **state)
{
    struct service *service = service_of(state);
    char id[STEP_ID_SIZE];

    step_create(service->client, "base", id);
    assert_refused(pause(service->other, id), &error, NOT_FOUND, "SANDBOX_NOT_FOUND", "sandbox_id");
    step_do(service->client, id, "true");
    step_kill(service->client, id);
}

static void a_paused_sandbox_ends_with_its_ttl(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    char id[STEP_ID_SIZE];
    char command[STEP_ID_SIZE];

    assert_done(create(client, &(struct wish){.ttl_s = 1}, id), &error);
    step_start(client, id, "sleep 1000", command);
    assert_done(pause(client, id), &error);
    assert_int_equal(await_end(client, id), CROWNEST__V1__END_CAUSE__END_CAUSE_TTL);
    Crownest__V1__Command *record = step_command(client, command);

    assert_int_equal(record->exit_cause, CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_SANDBOX_ENDED);
    crownest__v1__command__free_unpacked(record, NULL);
}

static void a_ttl_can_be_moved(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    Google__Protobuf__Duration ttl = GOOGLE__PROTOBUF__DURATION__INIT;
    Crownest__V1__UpdateSandboxRequest__LabelsEntry label =
        CROWNEST__V1__UPDATE_SANDBOX_REQUEST__LABELS_ENTRY__INIT;
    Crownest__V1__UpdateSandboxRequest__LabelsEntry *labels[] = {&label};
    Crownest__V1__UpdateSandboxRequest request = CROWNEST__V1__UPDATE_SANDBOX_REQUEST__INIT;
    Crownest__V1__UpdateSandboxResponse *response;
    char id[STEP_ID_SIZE];

    assert_done(create(client, &(struct wish){.ttl_s = 2}, id), &error);
    ttl.seconds = 60;
    label.key = STEP_TEXT("team");
    label.value = STEP_TEXT("birds");
    request.sandbox_id = id;
    request.ttl = &ttl;
    request.labels = labels;
    request.n_labels = 1;
    assert_refused(crownest_sandbox_update(client, &request, NULL, &response, &error), &error,
                   INVALID_ARGUMENT, "LABELS_INVALID", "replace_labels");
    request.replace_labels = true;
    assert_done(crownest_sandbox_update(client, &request, NULL, &response, &error), &error);
    assert_int_equal(response->sandbox->n_labels, 1);
    assert_string_equal(response->sandbox->labels[0]->value, "birds");
    crownest__v1__update_sandbox_response__free_unpacked(response, NULL);
    rest_ms(2500);
    step_do(client, id, "true");
    /* And to an earlier time. */
    request.n_labels = 0;
    request.replace_labels = false;
    ttl.seconds = 0;
    ttl.nanos = 200000000;
    assert_done(crownest_sandbox_update(client, &request, NULL, &response, &error), &error);
    assert_int_equal(response->sandbox->n_labels, 1);
    crownest__v1__update_sandbox_response__free_unpacked(response, NULL);
    assert_int_equal(await_end(client, id), CROWNEST__V1__END_CAUSE__END_CAUSE_TTL);
    assert_refused(crownest_sandbox_update(client, &request, NULL, &response, &error), &error,
                   FAILED_PRECONDITION, "SANDBOX_NOT_RUNNING", "sandbox_id");
}

static int beat(struct crownest_client *client, const char *id)
{
    Crownest__V1__HeartbeatSandboxRequest request = CROWNEST__V1__HEARTBEAT_SANDBOX_REQUEST__INIT;
    Crownest__V1__HeartbeatSandboxResponse *response;

    request.sandbox_id = STEP_TEXT(id);
    int result = crownest_sandbox_heartbeat(client, &request, NULL, &response, &error);

    if (result == 0)
        crownest__v1__heartbeat_sandbox_response__free_unpacked(response, NULL);
    return result;
}

static void a_lease_lasts_as_long_as_it_is_renewed(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    char id[STEP_ID_SIZE];
    char free_id[STEP_ID_SIZE];

    assert_done(create(client, &(struct wish){.lease_s = 1}, id), &error);
    for (int i = 0; i < 6; i++) {
        rest_ms(400);
        assert_done(beat(client, id), &error);
    }
    Crownest__V1__SandboxStatsResponse *response = stats(client, id);

    assert_non_null(response->lease_expire_time);
    assert_int_equal(response->n_kept_by, 2);
    assert_non_null(strstr(response->kept_by[0], "ttl"));
    assert_non_null(strstr(response->kept_by[1], "lease"));
    crownest__v1__sandbox_stats_response__free_unpacked(response, NULL);
    assert_int_equal(await_end(client, id), CROWNEST__V1__END_CAUSE__END_CAUSE_LEASE);
    assert_refused(beat(client, id), &error, FAILED_PRECONDITION, "SANDBOX_NOT_RUNNING",
                   "sandbox_id");
    step_create(client, "base", free_id);
    assert_refused(beat(client, free_id), &error, FAILED_PRECONDITION, "NO_LEASE", "sandbox_id");
    step_kill(client, free_id);
}

static void children_end_with_their_parent(void **state)
{
    struct service *service = service_of(state);
    struct crownest_client *client = service->client;
    char parent[STEP_ID_SIZE];
    char child[STEP_ID_SIZE];
    char grandchild[STEP_ID_SIZE];
    char none[STEP_ID_SIZE];

    step_create(client, "base", parent);
    assert_done(create(client, &(struct wish){.parent = parent}, child), &error);
    assert_done(create(client, &(struct wish){.parent = child}, grandchild), &error);
    assert_refused(create(service->other, &(struct wish){.parent = parent}, none), &error,
                   FAILED_PRECONDITION, "PARENT_NOT_RUNNING", "parent_sandbox_id");
    step_kill(client, parent);
    assert_int_equal(await_end(client, child), CROWNEST__V1__END_CAUSE__END_CAUSE_PARENT);
    assert_int_equal(await_end(client, grandchild), CROWNEST__V1__END_CAUSE__END_CAUSE_PARENT);
    assert_refused(create(client, &(struct wish){.parent = parent}, none), &error,
                   FAILED_PRECONDITION, "PARENT_NOT_RUNNING", "parent_sandbox_id");
}

static void children_end_with_a_parent_that_was_lost(void **state)
{
    struct service *service = service_of(state);
    char parent[STEP_ID_SIZE];
    char child[STEP_ID_SIZE];

    assert_done(create(service->client, &(struct wish){.ttl_s = 1}, parent), &error);
    assert_done(create(service->client, &(struct wish){.parent = parent}, child), &error);
    service_crash_crownestd(service);
    rest_ms(1200);
    service_come_back(service);
    assert_int_equal(await_end(service->client, child), CROWNEST__V1__END_CAUSE__END_CAUSE_PARENT);
}

static void stats_tell_what_is_used(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    char id[STEP_ID_SIZE];
    char command[STEP_ID_SIZE];

    step_create(client, "base", id);
    step_start(client, id, "head -c 8000000 /dev/zero > /tmp/x; sleep 1000", command);
    Crownest__V1__SandboxStatsResponse *response = stats(client, id);

    while (response->memory_bytes < 8000000) {
        crownest__v1__sandbox_stats_response__free_unpacked(response, NULL);
        response = stats(client, id);
    }
    assert_int_equal(response->commands, 1);
    assert_true(response->processes >= 2);
    assert_true(response->cpu_usec > 0);
    assert_null(response->lease_expire_time);
    crownest__v1__sandbox_stats_response__free_unpacked(response, NULL);
    step_kill(client, id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_paused_sandbox_stands_still),
        cmocka_unit_test(a_pause_is_seen_by_nobody_else),
        cmocka_unit_test(a_paused_sandbox_ends_with_its_ttl),
        cmocka_unit_test(a_ttl_can_be_moved),
        cmocka_unit_test(a_lease_lasts_as_long_as_it_is_renewed),
        cmocka_unit_test(children_end_with_their_parent),
        cmocka_unit_test(children_end_with_a_parent_that_was_lost),
        cmocka_unit_test(stats_tell_what_is_used),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
