/* A project goes as far as its plan, and no further; who is refused hears at what, and what is
 * left. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bindings/c/crownest_audit.h"
#include "bindings/c/crownest_key.h"
#include "bindings/c/crownest_preview.h"
#include "bindings/c/crownest_webhook.h"
#include "tests/rpc/plans.h"
#include "tests/rpc/steps.h"

#define MIB (1ULL << 20)
#define RACERS 8

static struct crownest_error error;

/* What is asked for; zeros: nothing. */
struct wish {
    const char *request_id;
    int64_t ttl_s;
    uint64_t memory_bytes;
    uint64_t disk_bytes;
    uint32_t cpu_millis;
    uint32_t max_processes;
};

static int create(struct crownest_client *client, const struct wish *wish, struct told *ret_told,
                  char ret_id[STEP_ID_SIZE], struct crownest_error *ret_error)
{
    Crownest__V1__CreateSandboxRequest request = CROWNEST__V1__CREATE_SANDBOX_REQUEST__INIT;
    Crownest__V1__Resources resources = CROWNEST__V1__RESOURCES__INIT;
    Google__Protobuf__Duration ttl = GOOGLE__PROTOBUF__DURATION__INIT;
    Crownest__V1__CreateSandboxResponse *response;
    struct crownest_call_options options = told_options(ret_told);

    request.request_id = STEP_TEXT(wish->request_id ? wish->request_id : "");
    ttl.seconds = wish->ttl_s;
    request.ttl = wish->ttl_s ? &ttl : NULL;
    resources.memory_bytes = wish->memory_bytes;
    resources.disk_bytes = wish->disk_bytes;
    resources.cpu_millis = wish->cpu_millis;
    resources.max_processes = wish->max_processes;
    request.resources = &resources;
    int result = crownest_sandbox_create(client, &request, &options, &response, ret_error);

    if (result)
        return result;
    (void)snprintf(ret_id, STEP_ID_SIZE, "%s", response->sandbox->sandbox_id);
    crownest__v1__create_sandbox_response__free_unpacked(response, NULL);
    return 0;
}

static void the_bound_of_sandboxes_holds_and_says_what_is_left(void **state)
{
    static const struct wish small = {.memory_bytes = 64 * MIB};
    struct service *service = service_of(state);
    struct test_plan plan;
    struct told told;
    char ids[2][STEP_ID_SIZE];
    char none[STEP_ID_SIZE];

    test_plan_init(&plan, "two");
    plan.plan.max_sandboxes = 2;
    plan.plan.creates_per_minute = 100;
    test_plan_use(service, &plan);
    assert_done(create(service->other, &small, &told, ids[0], &error), &error);
    assert_string_equal(told_value(&told, "x-crownest-remaining-sandboxes"), "1");
    assert_string_equal(told_value(&told, "x-crownest-remaining-creates"), "99");
    assert_null(told_value(&told, "x-crownest-remaining-memory-bytes"));
    assert_done(create(service->other, &small, &told, ids[1], &error), &error);
    assert_string_equal(told_value(&told, "x-crownest-remaining-sandboxes"), "0");
    assert_quota(create(service->other, &small, &told, none, &error), &error, "QUOTA_SANDBOXES",
                 "sandboxes", 2, 2);
    assert_false(error.retryable);
    assert_string_equal(told_value(&told, "x-crownest-remaining-sandboxes"), "0");
    /* What was refused by the plan took nothing of the rate. */
    assert_string_equal(told_value(&told, "x-crownest-remaining-creates"), "98");
    /* Nobody else is held to it. */
    assert_done(create(service->client, &small, &told, none, &error), &error);
    assert_null(told_value(&told, "x-crownest-remaining-sandboxes"));
    step_kill(service->client, none);
    step_kill(service->other, ids[0]);
    assert_done(create(service->other, &small, &told, ids[0], &error), &error);
    step_kill(service->other, ids[0]);
    step_kill(service->other, ids[1]);
}

struct racer {
    struct crownest_client *client;
    pthread_barrier_t *start;
    int result;
    char id[STEP_ID_SIZE];
    struct crownest_error error;
};

static void *race(void *arg)
{
    static const struct wish small = {.memory_bytes = 64 * MIB};
    struct racer *racer = arg;
    struct told told;

    (void)pthread_barrier_wait(racer->start);
    racer->result = create(racer->client, &small, &told, racer->id, &racer->error);
    return NULL;
}

static void of_many_creates_at_the_bound_one_wins(void **state)
{
    struct service *service = service_of(state);
    struct test_plan plan;
    struct racer racers[RACERS];
    pthread_t threads[RACERS];
    pthread_barrier_t start;
    size_t won = 0;

    test_plan_init(&plan, "one");
    plan.plan.max_sandboxes = 1;
    test_plan_use(service, &plan);
    assert_int_equal(pthread_barrier_init(&start, NULL, RACERS), 0);
    for (size_t i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){.client = service->other, .start = &start};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (size_t i = 0; i < RACERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        if (racers[i].result)
            assert_quota(racers[i].result, &racers[i].error, "QUOTA_SANDBOXES", "sandboxes", 1, 1);
        else if (++won)
            step_kill(service->other, racers[i].id);
    }
    (void)pthread_barrier_destroy(&start);
    assert_int_equal(won, 1);
}

static void the_sizes_of_a_sandbox_are_bounded(void **state)
{
    static const struct {
        struct wish wish;
        const char *field;
        const char *metric;
        uint64_t limit;
    } wrong[] = {
        {{.memory_bytes = 512 * MIB},
         "resources.memory_bytes",
         "memory_bytes of a sandbox",
         128 * MIB},
        {{.cpu_millis = 501}, "resources.cpu_millis", "cpu_millis of a sandbox", 500},
        {{.max_processes = 65}, "resources.max_processes", "processes of a sandbox", 64},
        {{.disk_bytes = 65 * MIB}, "resources.disk_bytes", "disk_bytes of a sandbox", 64 * MIB},
        {{.ttl_s = 61}, "ttl", "seconds of a sandbox's life", 60},
    };
    struct service *service = service_of(state);
    Google__Protobuf__Duration minute = GOOGLE__PROTOBUF__DURATION__INIT;
    struct test_plan plan;
    struct told told;
    char id[STEP_ID_SIZE];

    minute.seconds = 60;
    test_plan_init(&plan, "sizes");
    plan.plan.max_memory_bytes = 128 * MIB;
    plan.plan.max_cpu_millis = 500;
    plan.plan.max_processes = 64;
    plan.plan.max_disk_bytes = 64 * MIB;
    plan.plan.max_ttl = &minute;
    test_plan_use(service, &plan);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        assert_quota_at(create(service->other, &wrong[i].wish, &told, id, &error), &error,
                        i == 4 ? "QUOTA_TTL" : "QUOTA_SANDBOX_SIZE", wrong[i].metric,
                        wrong[i].limit, 0, wrong[i].field);
        assert_string_equal(error.field, wrong[i].field);
    }
    /* What is not asked for is what the plan allows, where the default is more. */
    assert_done(create(service->other, &(struct wish){0}, &told, id, &error), &error);
    Crownest__V1__Sandbox *sandbox = step_sandbox(service->other, id);

    assert_int_equal(sandbox->resources->memory_bytes, 128 * MIB);
    assert_int_equal(sandbox->resources->cpu_millis, 500);
    assert_int_equal(sandbox->resources->max_processes, 64);
    assert_int_equal(sandbox->resources->disk_bytes, 64 * MIB);
    assert_int_equal(sandbox->resources->disk_inodes, 64 * MIB / 4096);
    assert_int_equal(sandbox->expire_time->seconds - sandbox->create_time->seconds, 60);
    crownest__v1__sandbox__free_unpacked(sandbox, NULL);
    /* A life is bounded from its beginning, however often it is moved. */
    Crownest__V1__UpdateSandboxRequest request = CROWNEST__V1__UPDATE_SANDBOX_REQUEST__INIT;
    Crownest__V1__UpdateSandboxResponse *response;

    request.sandbox_id = id;
    request.ttl = &minute;
    int result = crownest_sandbox_update(service->other, &request, NULL, &response, &error);

    assert_int_equal(result, -EREMOTEIO);
    assert_string_equal(error.reason, "QUOTA_TTL");
    assert_string_equal(error.field, "ttl");
    assert_int_equal(error.quota_limit, 60);
    minute.seconds = 30;
    assert_done(crownest_sandbox_update(service->other, &request, NULL, &response, &error), &error);
    crownest__v1__update_sandbox_response__free_unpacked(response, NULL);
    step_kill(service->other, id);
}

static void all_sandboxes_together_are_bounded(void **state)
{
    struct service *service = service_of(state);
    struct test_plan plan;
    struct told told;
    char first[STEP_ID_SIZE];
    char none[STEP_ID_SIZE];

    test_plan_init(&plan, "together");
    plan.plan.max_total_memory_bytes = 160 * MIB;
    plan.plan.max_total_cpu_millis = 1500;
    test_plan_use(service, &plan);
    assert_done(create(service->other, &(struct wish){.memory_bytes = 96 * MIB, .cpu_millis = 1000},
                       &told, first, &error),
                &error);
    assert_string_equal(told_value(&told, "x-crownest-remaining-memory-bytes"), "67108864");
    assert_string_equal(told_value(&told, "x-crownest-remaining-cpu-millis"), "500");
    assert_quota(create(service->other, &(struct wish){.memory_bytes = 96 * MIB, .cpu_millis = 100},
                        &told, none, &error),
                 &error, "QUOTA_TOTAL_MEMORY", "memory_bytes of all sandboxes", 160 * MIB,
                 96 * MIB);
    assert_quota(create(service->other, &(struct wish){.memory_bytes = 32 * MIB, .cpu_millis = 501},
                        &told, none, &error),
                 &error, "QUOTA_TOTAL_CPU", "cpu_millis of all sandboxes", 1500, 1000);
    step_kill(service->other, first);
}

static void a_rate_of_creates_says_when_to_come_again(void **state)
{
    static const struct wish small = {.memory_bytes = 64 * MIB, .request_id = "rated"};
    struct service *service = service_of(state);
    struct test_plan plan;
    struct told told;
    char id[STEP_ID_SIZE];
    char again[STEP_ID_SIZE];

    test_plan_init(&plan, "rated");
    plan.plan.creates_per_minute = 2;
    test_plan_use(service, &plan);
    assert_done(create(service->other, &small, &told, id, &error), &error);
    /* The same request is no second attempt. */
    assert_done(create(service->other, &small, &told, again, &error), &error);
    assert_string_equal(again, id);
    assert_string_equal(told_value(&told, "x-crownest-remaining-creates"), "1");
    step_kill(service->other, id);
    assert_done(
        create(service->other, &(struct wish){.memory_bytes = 64 * MIB}, &told, again, &error),
        &error);
    step_kill(service->other, again);
    assert_quota(
        create(service->other, &(struct wish){.memory_bytes = 64 * MIB}, &told, again, &error),
        &error, "QUOTA_CREATE_RATE", "creates a minute", 2, 2);
    assert_true(error.retryable);
    assert_in_range(error.retry_after_ms, 1, 30000);
    assert_string_equal(told_value(&told, "x-crownest-remaining-creates"), "0");
    /* A retry is answered under any rate, and any plan. */
    assert_done(create(service->other, &small, &told, again, &error), &error);
    assert_string_equal(again, id);
}

static void a_rate_of_calls_holds_for_keys_and_ends_by_itself(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__WhoAmIRequest request = CROWNEST__V1__WHO_AM_IREQUEST__INIT;
    Crownest__V1__WhoAmIResponse *response;
    struct test_plan plan;
    struct told told;
    struct crownest_call_options options;
    int result = 0;

    test_plan_init(&plan, "calls");
    plan.plan.calls_per_second = 3;
    test_plan_use(service, &plan);
    for (int i = 0; i < 10000 && result == 0; i++) {
        options = told_options(&told);
        result = crownest_key_who_am_i(service->other, &request, &options, &response, &error);
        if (result == 0)
            crownest__v1__who_am_iresponse__free_unpacked(response, NULL);
    }
    assert_quota(result, &error, "QUOTA_CALL_RATE", "calls a second", 3, 3);
    assert_true(error.retryable);
    assert_in_range(error.retry_after_ms, 1, 334);
    assert_string_equal(told_value(&told, "x-crownest-remaining-calls"), "0");
    /* That it told the truth. */
    struct timespec wait = {.tv_nsec = (long)error.retry_after_ms * 1000000};

    (void)nanosleep(&wait, NULL);
    assert_done(crownest_key_who_am_i(service->other, &request, NULL, &response, &error), &error);
    crownest__v1__who_am_iresponse__free_unpacked(response, NULL);
}

static int start(struct crownest_client *client, const char *sandbox_id, struct told *ret_told,
                 struct crownest_error *ret_error)
{
    Crownest__V1__CommandSpec command = step_shell(sandbox_id, "sleep 1000");
    Crownest__V1__StartCommandRequest request = CROWNEST__V1__START_COMMAND_REQUEST__INIT;
    Crownest__V1__StartCommandResponse *response;
    struct crownest_call_options options = told_options(ret_told);

    request.command = &command;
    int result = crownest_command_start(client, &request, &options, &response, ret_error);

    if (result == 0)
        crownest__v1__start_command_response__free_unpacked(response, NULL);
    return result;
}

static void commands_of_all_sandboxes_are_bounded_through_a_restart(void **state)
{
    static const struct wish small = {.memory_bytes = 64 * MIB};
    struct service *service = service_of(state);
    struct test_plan plan;
    struct told told;
    char ids[2][STEP_ID_SIZE];
    char none[STEP_ID_SIZE];

    test_plan_init(&plan, "commands");
    plan.plan.max_commands = 3;
    plan.plan.max_sandboxes = 2;
    test_plan_use(service, &plan);
    for (size_t i = 0; i < 2; i++)
        assert_done(create(service->other, &small, &told, ids[i], &error), &error);
    assert_done(start(service->other, ids[0], &told, &error), &error);
    assert_string_equal(told_value(&told, "x-crownest-remaining-commands"), "2");
    assert_done(start(service->other, ids[1], &told, &error), &error);
    assert_done(start(service->other, ids[1], &told, &error), &error);
    for (int restarted = 0; restarted < 2; restarted++) {
        assert_quota(start(service->other, ids[0], &told, &error), &error, "QUOTA_COMMANDS",
                     "commands", 3, 3);
        assert_string_equal(told_value(&told, "x-crownest-remaining-commands"), "0");
        assert_quota(create(service->other, &small, &told, none, &error), &error, "QUOTA_SANDBOXES",
                     "sandboxes", 2, 2);
        if (restarted == 0) {
            service_crash_crownestd(service);
            service_come_back(service);
        }
    }
    step_kill(service->other, ids[1]);
    assert_done(start(service->other, ids[0], &told, &error), &error);
    assert_string_equal(told_value(&told, "x-crownest-remaining-commands"), "1");
    step_kill(service->other, ids[0]);
}

static int open_preview(struct crownest_client *client, const char *sandbox_id)
{
    Crownest__V1__CreatePreviewRequest request = CROWNEST__V1__CREATE_PREVIEW_REQUEST__INIT;
    Crownest__V1__CreatePreviewResponse *response;

    request.sandbox_id = STEP_TEXT(sandbox_id);
    request.port = 8000;
    return crownest_preview_create(client, &request, NULL, &response, &error);
}

static int make_webhook(const struct service *service)
{
    char target[SERVICE_PATH_SIZE];
    struct crownest_client_options options = {
        .target = target, .api_key = "", .project = SERVICE_OTHER_PROJECT};
    Crownest__V1__CreateWebhookRequest request = CROWNEST__V1__CREATE_WEBHOOK_REQUEST__INIT;
    Crownest__V1__CreateWebhookResponse *response;
    struct crownest_client *client;

    (void)snprintf(target, sizeof(target), "unix:%s/server/c.sock", service->dir);
    assert_done(crownest_client_new(&options, &client, &error), &error);
    request.url = STEP_TEXT("http://127.0.0.1:9/");
    int result = crownest_webhook_create(client, &request, NULL, &response, &error);

    if (result == 0)
        crownest__v1__create_webhook_response__free_unpacked(response, NULL);
    crownest_client_free(client);
    return result;
}

/* A stream that is refused is told of as a call is. */
static void assert_run_is_refused_and_told(struct crownest_client *client,
                                           Crownest__V1__CommandSpec *command)
{
    Crownest__V1__RunCommandRequest request = CROWNEST__V1__RUN_COMMAND_REQUEST__INIT;
    Crownest__V1__RunCommandResponse *message;
    struct crownest_command_run_reader *reader;
    Crownest__V1__ListAuditRequest list = CROWNEST__V1__LIST_AUDIT_REQUEST__INIT;
    Crownest__V1__ListAuditResponse *entries;

    request.command = command;
    assert_done(crownest_command_run_open(client, &request, NULL, &reader, &error), &error);
    assert_quota(crownest_command_run_next(reader, &message, &error), &error, "FEATURE_NOT_IN_PLAN",
                 "artifacts", 0, 0);
    crownest_command_run_free(reader);
    list.action = STEP_TEXT("command.run");
    assert_done(crownest_audit_list(client, &list, NULL, &entries, &error), &error);
    assert_int_equal(entries->n_entries, 1);
    assert_string_equal(entries->entries[0]->reason, "FEATURE_NOT_IN_PLAN");
    crownest__v1__list_audit_response__free_unpacked(entries, NULL);
}

static void a_feature_that_is_not_in_the_plan_is_refused_as_such(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__CollectItem item = CROWNEST__V1__COLLECT_ITEM__INIT;
    Crownest__V1__CollectItem *items[] = {&item};
    Crownest__V1__StartCommandRequest request = CROWNEST__V1__START_COMMAND_REQUEST__INIT;
    Crownest__V1__StartCommandResponse *response;
    struct test_plan plan;
    struct told told;
    char id[STEP_ID_SIZE];
    char none[STEP_ID_SIZE];

    test_plan_init(&plan, "plain");
    plan.features.artifacts = false;
    plan.features.previews = false;
    plan.features.webhooks = false;
    test_plan_use(service, &plan);
    assert_done(create(service->other, &(struct wish){.memory_bytes = 64 * MIB}, &told, id, &error),
                &error);
    assert_quota(open_preview(service->other, id), &error, "FEATURE_NOT_IN_PLAN", "previews", 0, 0);
    assert_quota(step_try_collect(service->other, "", id, "/etc/passwd", none, &error), &error,
                 "FEATURE_NOT_IN_PLAN", "artifacts", 0, 0);
    Crownest__V1__CommandSpec command = step_shell(id, "true");

    item.path = STEP_TEXT("kept");
    command.collect = items;
    command.n_collect = 1;
    request.command = &command;
    assert_quota(crownest_command_start(service->other, &request, NULL, &response, &error), &error,
                 "FEATURE_NOT_IN_PLAN", "artifacts", 0, 0);
    assert_string_equal(error.field, "command.collect");
    assert_run_is_refused_and_told(service->other, &command);
    assert_quota(make_webhook(service), &error, "FEATURE_NOT_IN_PLAN", "webhooks", 0, 0);
    step_kill(service->other, id);
}

static int mint(const struct service *service, struct told *ret_told)
{
    Crownest__V1__CreateKeyRequest request = CROWNEST__V1__CREATE_KEY_REQUEST__INIT;
    Crownest__V1__CreateKeyResponse *response;
    struct crownest_call_options options = told_options(ret_told);

    request.project = STEP_TEXT(SERVICE_OTHER_PROJECT);
    int result =
        crownest_key_create(service->operator_client, &request, &options, &response, &error);

    if (result == 0)
        crownest__v1__create_key_response__free_unpacked(response, NULL);
    return result;
}

static void keys_are_bounded(void **state)
{
    struct service *service = service_of(state);
    struct test_plan plan;
    struct told told;

    test_plan_init(&plan, "keys");
    plan.plan.max_keys = 2;
    test_plan_use(service, &plan);
    assert_done(mint(service, &told), &error);
    assert_string_equal(told_value(&told, "x-crownest-remaining-keys"), "0");
    assert_quota(mint(service, &told), &error, "QUOTA_KEYS", "keys", 2, 2);
    assert_string_equal(told_value(&told, "x-crownest-remaining-keys"), "0");
}

/* So that the last test can list what there is. */
static void without_a_plan_nothing_is_bounded(void **state)
{
    struct service *service = service_of(state);
    struct told told;
    char ids[4][STEP_ID_SIZE];

    assert_done(test_plan_give(service, "self-hosted", &error), &error);
    for (size_t i = 0; i < 4; i++)
        assert_done(
            create(service->other, &(struct wish){.memory_bytes = 64 * MIB}, &told, ids[i], &error),
            &error);
    assert_null(told_value(&told, "x-crownest-remaining-sandboxes"));
    for (size_t i = 0; i < 4; i++)
        step_kill(service->other, ids[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bound_of_sandboxes_holds_and_says_what_is_left),
        cmocka_unit_test(of_many_creates_at_the_bound_one_wins),
        cmocka_unit_test(the_sizes_of_a_sandbox_are_bounded),
        cmocka_unit_test(all_sandboxes_together_are_bounded),
        cmocka_unit_test(a_rate_of_creates_says_when_to_come_again),
        cmocka_unit_test(a_rate_of_calls_holds_for_keys_and_ends_by_itself),
        cmocka_unit_test(commands_of_all_sandboxes_are_bounded_through_a_restart),
        cmocka_unit_test(a_feature_that_is_not_in_the_plan_is_refused_as_such),
        cmocka_unit_test(keys_are_bounded),
        cmocka_unit_test(without_a_plan_nothing_is_bounded),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
