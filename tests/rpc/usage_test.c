/* What a sandbox has used: its receipt, and the sums by day, key and sandbox. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/c/crownest_key.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define INVALID_ARGUMENT 3
#define NOT_FOUND 5
#define GIB (1ULL << 30)

static struct crownest_error error;

static Crownest__V1__GetUsageResponse *get(struct crownest_client *client,
                                           Crownest__V1__UsageGroup group)
{
    Crownest__V1__GetUsageRequest request = CROWNEST__V1__GET_USAGE_REQUEST__INIT;
    Crownest__V1__GetUsageResponse *response;

    request.group_by = group;
    assert_done(crownest_usage_get(client, &request, NULL, &response, &error), &error);
    return response;
}

static void pause_and_resume(struct crownest_client *client, const char *id)
{
    Crownest__V1__PauseSandboxRequest pause = CROWNEST__V1__PAUSE_SANDBOX_REQUEST__INIT;
    Crownest__V1__ResumeSandboxRequest resume = CROWNEST__V1__RESUME_SANDBOX_REQUEST__INIT;
    Crownest__V1__PauseSandboxResponse *paused;
    Crownest__V1__ResumeSandboxResponse *resumed;

    pause.sandbox_id = STEP_TEXT(id);
    resume.sandbox_id = STEP_TEXT(id);
    assert_done(crownest_sandbox_pause(client, &pause, NULL, &paused, &error), &error);
    crownest__v1__pause_sandbox_response__free_unpacked(paused, NULL);
    assert_done(crownest_sandbox_resume(client, &resume, NULL, &resumed, &error), &error);
    crownest__v1__resume_sandbox_response__free_unpacked(resumed, NULL);
}

static void a_receipt_says_when_it_ran_and_what_it_costs(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    char id[STEP_ID_SIZE];

    step_create(client, "base", id);
    pause_and_resume(client, id);
    step_do(client, id, "sleep 0.3");
    Crownest__V1__Receipt *receipt = step_receipt(client, id);

    assert_false(receipt->final);
    assert_int_equal(receipt->n_intervals, 3);
    assert_receipt_is_whole(receipt);
    crownest__v1__receipt__free_unpacked(receipt, NULL);
    step_kill(client, id);
    receipt = step_receipt(client, id);
    assert_true(receipt->final);
    assert_int_equal(receipt->n_intervals, 3);
    assert_receipt_is_whole(receipt);
    assert_true(receipt->running_usec >= 300000);
    assert_int_equal(receipt->rate_millis, 1000);
    assert_int_equal(receipt->compute_unit_usec, receipt->running_usec);
    assert_int_equal(receipt->amount_usd_micros, (receipt->running_usec + 15000) / 30000);
    assert_string_equal(receipt->pricing->version, "2026-11");
    assert_int_equal(receipt->pricing->unit_hour_usd_nanos, 120000000);
    crownest__v1__receipt__free_unpacked(receipt, NULL);
}

static void a_larger_one_costs_more(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    Crownest__V1__CreateSandboxRequest request = CROWNEST__V1__CREATE_SANDBOX_REQUEST__INIT;
    Crownest__V1__Resources resources = CROWNEST__V1__RESOURCES__INIT;
    Crownest__V1__CreateSandboxResponse *response;

    resources.memory_bytes = 2 * GIB;
    resources.cpu_millis = 500;
    request.resources = &resources;
    assert_done(crownest_sandbox_create(client, &request, NULL, &response, &error), &error);
    step_kill(client, response->sandbox->sandbox_id);
    Crownest__V1__Receipt *receipt = step_receipt(client, response->sandbox->sandbox_id);

    assert_int_equal(receipt->rate_millis, 4000);
    assert_int_equal(receipt->compute_unit_usec, 4 * receipt->running_usec);
    crownest__v1__receipt__free_unpacked(receipt, NULL);
    crownest__v1__create_sandbox_response__free_unpacked(response, NULL);
}

static void bytes_of_logs_and_artifacts_are_counted(void **state)
{
    struct service *service = service_of(state);
    char id[STEP_ID_SIZE];
    char artifact[STEP_ID_SIZE];

    step_create(service->client, "base", id);
    step_do(service->client, id, "head -c 12345 /dev/zero; head -c 777 /dev/zero > /workspace/f");
    assert_done(step_try_collect(service->client, "", id, "/workspace/f", artifact, &error),
                &error);
    for (int i = 0; i < 3; i++) {
        Crownest__V1__Receipt *receipt = step_receipt(service->client, id);

        assert_int_equal(receipt->log_bytes, 12345);
        assert_int_equal(receipt->artifact_bytes, 777);
        assert_int_equal(receipt->final, i == 2);
        crownest__v1__receipt__free_unpacked(receipt, NULL);
        /* Once read from the records, once kept in the tombstone. */
        if (i == 0) {
            service_crash_crownestd(service);
            service_come_back(service);
        } else if (i == 1) {
            step_kill(service->client, id);
        }
    }
}

static void groups_add_up_to_the_receipts(void **state)
{
    static const Crownest__V1__UsageGroup groups[] = {
        CROWNEST__V1__USAGE_GROUP__USAGE_GROUP_UNSPECIFIED,
        CROWNEST__V1__USAGE_GROUP__USAGE_GROUP_DAY, CROWNEST__V1__USAGE_GROUP__USAGE_GROUP_KEY,
        CROWNEST__V1__USAGE_GROUP__USAGE_GROUP_SANDBOX};
    struct crownest_client *client = service_of(state)->client;
    Crownest__V1__GetUsageResponse *by_sandbox =
        get(client, CROWNEST__V1__USAGE_GROUP__USAGE_GROUP_SANDBOX);

    assert_true(by_sandbox->n_groups >= 3);
    for (size_t i = 0; i < by_sandbox->n_groups; i++) {
        Crownest__V1__Usage *usage = by_sandbox->groups[i];
        Crownest__V1__Receipt *receipt = step_receipt(client, usage->sandbox_id);

        assert_int_equal(usage->running_usec, receipt->running_usec);
        assert_int_equal(usage->amount_usd_micros, receipt->amount_usd_micros);
        assert_int_equal(usage->log_bytes, receipt->log_bytes);
        assert_int_equal(usage->sandboxes, 1);
        crownest__v1__receipt__free_unpacked(receipt, NULL);
    }
    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        Crownest__V1__GetUsageResponse *usage = get(client, groups[i]);
        uint64_t sum = 0;

        for (size_t j = 0; j < usage->n_groups; j++)
            sum += usage->groups[j]->compute_unit_usec;
        assert_int_equal(sum, by_sandbox->total->compute_unit_usec);
        assert_int_equal(usage->total->sandboxes, by_sandbox->n_groups);
        crownest__v1__get_usage_response__free_unpacked(usage, NULL);
    }
    assert_int_equal(step_verify_usage(client), by_sandbox->n_groups);
    crownest__v1__get_usage_response__free_unpacked(by_sandbox, NULL);
}

static void another_project_sees_nothing_of_it(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__GetUsageResponse *usage =
        get(service->client, CROWNEST__V1__USAGE_GROUP__USAGE_GROUP_SANDBOX);
    Crownest__V1__GetUsageResponse *others =
        get(service->other, CROWNEST__V1__USAGE_GROUP__USAGE_GROUP_SANDBOX);
    Crownest__V1__GetReceiptRequest request = CROWNEST__V1__GET_RECEIPT_REQUEST__INIT;
    Crownest__V1__GetReceiptResponse *response;

    assert_int_equal(others->n_groups, 0);
    assert_int_equal(others->total->running_usec, 0);
    request.sandbox_id = usage->groups[0]->sandbox_id;
    assert_refused(crownest_usage_get_receipt(service->other, &request, NULL, &response, &error),
                   &error, NOT_FOUND, "SANDBOX_NOT_FOUND", "sandbox_id");
    crownest__v1__get_usage_response__free_unpacked(usage, NULL);
    crownest__v1__get_usage_response__free_unpacked(others, NULL);
}

static void bad_questions_are_refused(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    Google__Protobuf__Timestamp early = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    Google__Protobuf__Timestamp late = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    Crownest__V1__GetUsageRequest request = CROWNEST__V1__GET_USAGE_REQUEST__INIT;
    Crownest__V1__VerifyUsageRequest verify = CROWNEST__V1__VERIFY_USAGE_REQUEST__INIT;
    Crownest__V1__GetUsageResponse *response;
    Crownest__V1__VerifyUsageResponse *verified;

    early.seconds = 1700000000;
    late.seconds = early.seconds + 400 * 86400;
    request.start_time = &late;
    request.end_time = &early;
    assert_refused(crownest_usage_get(client, &request, NULL, &response, &error), &error,
                   INVALID_ARGUMENT, "TIME_RANGE_INVALID", "start_time");
    request.start_time = &early;
    request.end_time = &late;
    assert_refused(crownest_usage_get(client, &request, NULL, &response, &error), &error,
                   INVALID_ARGUMENT, "TIME_RANGE_INVALID", "start_time");
    late.seconds = INT64_MAX;
    assert_refused(crownest_usage_get(client, &request, NULL, &response, &error), &error,
                   INVALID_ARGUMENT, "TIME_RANGE_INVALID", "end_time");
    request.start_time = request.end_time = NULL;
    request.group_by = 9;
    assert_refused(crownest_usage_get(client, &request, NULL, &response, &error), &error,
                   INVALID_ARGUMENT, "GROUP_INVALID", "group_by");
    request.group_by = 0;
    request.key_id = STEP_TEXT("../x");
    assert_refused(crownest_usage_get(client, &request, NULL, &response, &error), &error,
                   INVALID_ARGUMENT, "ID_INVALID", "key_id");
    verify.page_token = STEP_TEXT("x");
    assert_refused(crownest_usage_verify(client, &verify, NULL, &verified, &error), &error,
                   INVALID_ARGUMENT, "PAGE_TOKEN_INVALID", "page_token");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_receipt_says_when_it_ran_and_what_it_costs),
        cmocka_unit_test(a_larger_one_costs_more),
        cmocka_unit_test(bytes_of_logs_and_artifacts_are_counted),
        cmocka_unit_test(groups_add_up_to_the_receipts),
        cmocka_unit_test(another_project_sees_nothing_of_it),
        cmocka_unit_test(bad_questions_are_refused),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
