/* Buckets: when one is empty its sandboxes end, or are paused, in that second, and none is created.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bindings/c/crownest_audit.h"
#include "bindings/c/crownest_bucket.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define INVALID_ARGUMENT 3
#define NOT_FOUND 5
#define ALREADY_EXISTS 6
#define PERMISSION_DENIED 7
#define RESOURCE_EXHAUSTED 8

#define END CROWNEST__V1__BUCKET_ACTION__BUCKET_ACTION_END
#define PAUSE CROWNEST__V1__BUCKET_ACTION__BUCKET_ACTION_PAUSE
#define TOTAL CROWNEST__V1__BUCKET_PERIOD__BUCKET_PERIOD_TOTAL
#define BUDGET CROWNEST__V1__END_CAUSE__END_CAUSE_BUDGET

static struct crownest_error error;

static Crownest__V1__CreateBucketRequest request_of(const char *name, int64_t cap)
{
    Crownest__V1__CreateBucketRequest request = CROWNEST__V1__CREATE_BUCKET_REQUEST__INIT;

    request.name = STEP_TEXT(name);
    request.period = TOTAL;
    request.cap_unit_seconds = cap;
    return request;
}

static int try_bucket(struct crownest_client *client,
                      const Crownest__V1__CreateBucketRequest *request, char ret_id[STEP_ID_SIZE])
{
    Crownest__V1__CreateBucketResponse *response;
    int result = crownest_bucket_create(client, request, NULL, &response, &error);

    if (result)
        return result;
    if (ret_id)
        (void)snprintf(ret_id, STEP_ID_SIZE, "%s", response->bucket->bucket_id);
    crownest__v1__create_bucket_response__free_unpacked(response, NULL);
    return 0;
}

static void make_bucket(struct service *service, const Crownest__V1__CreateBucketRequest *request,
                        char ret_id[STEP_ID_SIZE])
{
    assert_done(try_bucket(service->operator_client, request, ret_id), &error);
}

/* Freed by the caller. */
static Crownest__V1__Bucket *get(struct crownest_client *client, const char *id)
{
    Crownest__V1__GetBucketRequest request = CROWNEST__V1__GET_BUCKET_REQUEST__INIT;
    Crownest__V1__GetBucketResponse *response;

    request.bucket_id = STEP_TEXT(id);
    assert_done(crownest_bucket_get(client, &request, NULL, &response, &error), &error);
    Crownest__V1__Bucket *bucket = response->bucket;

    response->bucket = NULL;
    crownest__v1__get_bucket_response__free_unpacked(response, NULL);
    return bucket;
}

static void delete_bucket(struct service *service, const char *id)
{
    Crownest__V1__DeleteBucketRequest request = CROWNEST__V1__DELETE_BUCKET_REQUEST__INIT;
    Crownest__V1__DeleteBucketResponse *response;

    request.bucket_id = STEP_TEXT(id);
    assert_done(crownest_bucket_delete(service->operator_client, &request, NULL, &response, &error),
                &error);
    crownest__v1__delete_bucket_response__free_unpacked(response, NULL);
}

static void set_cap(struct service *service, const char *id, int64_t cap)
{
    Crownest__V1__UpdateBucketRequest request = CROWNEST__V1__UPDATE_BUCKET_REQUEST__INIT;
    Crownest__V1__UpdateBucketResponse *response;

    request.bucket_id = STEP_TEXT(id);
    request.cap_unit_seconds = cap;
    assert_done(crownest_bucket_update(service->operator_client, &request, NULL, &response, &error),
                &error);
    assert_int_equal(response->bucket->cap_unit_seconds, cap);
    crownest__v1__update_bucket_response__free_unpacked(response, NULL);
}

static uint64_t usec(const Google__Protobuf__Timestamp *time)
{
    return (uint64_t)time->seconds * 1000000 + (uint64_t)time->nanos / 1000;
}

/* Looks until the sandbox is as wanted. Freed by the caller. */
static Crownest__V1__Sandbox *await(struct crownest_client *client, const char *id,
                                    Crownest__V1__SandboxState state)
{
    struct timespec rest = {.tv_nsec = 20000000};

    for (int i = 0; i < 1000; i++) {
        Crownest__V1__Sandbox *sandbox = step_sandbox(client, id);

        if (sandbox->state == state)
            return sandbox;
        crownest__v1__sandbox__free_unpacked(sandbox, NULL);
        (void)nanosleep(&rest, NULL);
    }
    fail_msg("%s has not become what it was to be", id);
    return NULL;
}

/* How many entries of the audit say that of a bucket. */
static size_t count_entries(struct service *service, const char *bucket_id, const char *action)
{
    Crownest__V1__ListAuditRequest request = CROWNEST__V1__LIST_AUDIT_REQUEST__INIT;
    Crownest__V1__ListAuditResponse *response;
    size_t count = 0;

    request.page_size = 500;
    assert_done(crownest_audit_list(service->operator_client, &request, NULL, &response, &error),
                &error);
    for (size_t i = 0; i < response->n_entries; i++)
        count += strcmp(response->entries[i]->resource_id, bucket_id) == 0 &&
                 strcmp(response->entries[i]->action, action) == 0;
    crownest__v1__list_audit_response__free_unpacked(response, NULL);
    return count;
}

struct creation {
    struct crownest_client *client;
    char id[STEP_ID_SIZE];
    int result;
};

static void *create_one(void *arg)
{
    struct creation *one = arg;
    struct crownest_error ignored;

    one->result = step_try_create(one->client, "", "base", one->id, &ignored);
    return NULL;
}

/* 10 compute unit seconds for 4 sandboxes are 2.5 s. */
static void all_sandboxes_of_a_bucket_end_when_it_is_empty(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__CreateBucketRequest request = request_of("ten", 10);
    struct creation ones[4];
    char id[STEP_ID_SIZE];
    pthread_t threads[4];
    uint64_t sum = 0;

    make_bucket(service, &request, id);
    for (int i = 0; i < 4; i++) {
        ones[i].client = service->client;
        assert_int_equal(pthread_create(&threads[i], NULL, create_one, &ones[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(ones[i].result, 0);
    }
    for (int i = 0; i < 4; i++) {
        Crownest__V1__Sandbox *sandbox =
            await(service->client, ones[i].id, CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_KILLED);
        Crownest__V1__Receipt *receipt = step_receipt(service->client, ones[i].id);

        assert_int_equal(sandbox->end_cause, BUDGET);
        assert_string_equal(sandbox->end_detail, "the bucket ten is empty");
        assert_receipt_is_whole(receipt);
        print_message("ended after %.3f s\n", (double)receipt->running_usec / 1e6);
        assert_in_range(receipt->running_usec, 2000000, 3000000);
        assert_in_range(usec(sandbox->end_time) - usec(sandbox->start_time), 2000000, 3000000);
        sum += receipt->compute_unit_usec;
        crownest__v1__receipt__free_unpacked(receipt, NULL);
        crownest__v1__sandbox__free_unpacked(sandbox, NULL);
    }
    print_message("%.3f compute unit seconds of 10\n", (double)sum / 1e6);
    assert_in_range(sum, 10000000, 14000000);
    Crownest__V1__Bucket *bucket = get(service->client, id);

    assert_int_equal(bucket->spent_unit_usec, sum);
    assert_true(bucket->empty);
    crownest__v1__bucket__free_unpacked(bucket, NULL);
    delete_bucket(service, id);
}

static void nothing_is_created_that_cannot_be_paid(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__CreateBucketRequest request = request_of("two", 2);
    char id[STEP_ID_SIZE];
    char first[STEP_ID_SIZE];
    char second[STEP_ID_SIZE];
    char third[STEP_ID_SIZE];

    make_bucket(service, &request, id);
    step_create(service->client, "base", first);
    /* One second of each of two is no more than two, and of a third it is. */
    assert_refused(step_try_create(service->client, "a", "base", second, &error), &error,
                   RESOURCE_EXHAUSTED, "BUDGET_EMPTY", "");
    set_cap(service, id, 1000);
    assert_done(step_try_create(service->client, "a", "base", second, &error), &error);
    set_cap(service, id, 2);
    assert_refused(step_try_create(service->client, "", "base", third, &error), &error,
                   RESOURCE_EXHAUSTED, "BUDGET_EMPTY", "");
    /* Another project does not pay from it. */
    step_create(service->other, "base", third);
    step_kill(service->other, third);
    delete_bucket(service, id);
    step_create(service->client, "base", third);
    step_kill(service->client, first);
    step_kill(service->client, second);
    step_kill(service->client, third);
}

static void a_sandbox_is_paused_where_its_bucket_says_so(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__CreateBucketRequest request = request_of("sleepy", 2);
    Crownest__V1__ResumeSandboxRequest resume = CROWNEST__V1__RESUME_SANDBOX_REQUEST__INIT;
    Crownest__V1__ResumeSandboxResponse *resumed;
    char id[STEP_ID_SIZE];
    char sandbox[STEP_ID_SIZE];

    request.on_empty = PAUSE;
    make_bucket(service, &request, id);
    step_create(service->client, "base", sandbox);
    crownest__v1__sandbox__free_unpacked(
        await(service->client, sandbox, CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_PAUSED), NULL);
    resume.sandbox_id = sandbox;
    assert_refused(crownest_sandbox_resume(service->client, &resume, NULL, &resumed, &error),
                   &error, RESOURCE_EXHAUSTED, "BUDGET_EMPTY", "");
    set_cap(service, id, 100);
    assert_done(crownest_sandbox_resume(service->client, &resume, NULL, &resumed, &error), &error);
    crownest__v1__resume_sandbox_response__free_unpacked(resumed, NULL);
    step_do(service->client, sandbox, "true");
    step_kill(service->client, sandbox);
    delete_bucket(service, id);
}

static void warnings_come_once_and_before_the_end(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__CreateBucketRequest request = request_of("warns", 3);
    uint32_t percents[] = {60, 10};
    char id[STEP_ID_SIZE];
    char sandbox[STEP_ID_SIZE];
    struct timespec rest = {.tv_nsec = 50000000};

    request.warn_at_percent = percents;
    request.n_warn_at_percent = 2;
    make_bucket(service, &request, id);
    step_create(service->client, "base", sandbox);
    crownest__v1__sandbox__free_unpacked(
        await(service->client, sandbox, CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_KILLED), NULL);
    for (int i = 0; i < 100 && count_entries(service, id, "bucket.empty") == 0; i++)
        (void)nanosleep(&rest, NULL);
    assert_int_equal(count_entries(service, id, "bucket.empty"), 1);
    assert_int_equal(count_entries(service, id, "bucket.warn"), 2);
    service_crash_crownestd(service);
    service_come_back(service);
    (void)nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 200000000}, NULL);
    assert_int_equal(count_entries(service, id, "bucket.empty"), 1);
    assert_int_equal(count_entries(service, id, "bucket.warn"), 2);
    delete_bucket(service, id);
}

static void what_was_spent_is_known_after_a_restart(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__CreateBucketRequest request = request_of("kept", 6);
    char id[STEP_ID_SIZE];
    char ended[STEP_ID_SIZE];
    char living[STEP_ID_SIZE];

    /* Before the bucket there was something, which it does not pay for. */
    step_create(service->client, "base", ended);
    step_do(service->client, ended, "sleep 0.5");
    make_bucket(service, &request, id);
    step_do(service->client, ended, "sleep 0.3");
    step_kill(service->client, ended);
    Crownest__V1__Bucket *before = get(service->client, id);

    step_create(service->client, "base", living);
    service_crash_crownestd(service);
    service_come_back(service);
    Crownest__V1__Bucket *after = get(service->client, id);
    Crownest__V1__Receipt *receipt = step_receipt(service->client, living);

    assert_in_range(before->spent_unit_usec, 300000, 700000);
    assert_true(after->spent_unit_usec >= before->spent_unit_usec);
    assert_true(after->spent_unit_usec <=
                before->spent_unit_usec + receipt->compute_unit_usec + 1000);
    assert_int_equal(after->burn_millis, 1000);
    assert_non_null(after->empty_time);
    crownest__v1__receipt__free_unpacked(receipt, NULL);
    crownest__v1__bucket__free_unpacked(before, NULL);
    crownest__v1__bucket__free_unpacked(after, NULL);
    Crownest__V1__Sandbox *sandbox =
        await(service->client, living, CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_KILLED);

    assert_int_equal(sandbox->end_cause, BUDGET);
    crownest__v1__sandbox__free_unpacked(sandbox, NULL);
    delete_bucket(service, id);
}

static void what_ran_empty_while_nobody_was_there_ends_at_the_start(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__CreateBucketRequest request = request_of("away", 2);
    char id[STEP_ID_SIZE];
    char sandbox[STEP_ID_SIZE];

    make_bucket(service, &request, id);
    step_create(service->client, "base", sandbox);
    service_crash_crownestd(service);
    (void)nanosleep(&(struct timespec){.tv_sec = 2, .tv_nsec = 200000000}, NULL);
    service_come_back(service);
    Crownest__V1__Sandbox *ended =
        await(service->client, sandbox, CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_KILLED);

    assert_int_equal(ended->end_cause, BUDGET);
    crownest__v1__sandbox__free_unpacked(ended, NULL);
    delete_bucket(service, id);
}

static void a_bucket_may_be_for_one_key_or_one_sandbox(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__CreateBucketRequest request = request_of("narrow", 2);
    char id[STEP_ID_SIZE];
    char one[STEP_ID_SIZE];
    char other[STEP_ID_SIZE];

    step_create(service->client, "base", one);
    step_create(service->client, "base", other);
    request.sandbox_id = one;
    make_bucket(service, &request, id);
    crownest__v1__sandbox__free_unpacked(
        await(service->client, one, CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_KILLED), NULL);
    step_do(service->client, other, "true");
    delete_bucket(service, id);
    Crownest__V1__Receipt *receipt = step_receipt(service->client, other);

    request = request_of("narrow", 1);
    request.key_id = receipt->key_id;
    make_bucket(service, &request, id);
    crownest__v1__sandbox__free_unpacked(
        await(service->client, other, CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_KILLED), NULL);
    step_create(service->operator_client, "base", one);
    step_kill(service->operator_client, one);
    crownest__v1__receipt__free_unpacked(receipt, NULL);
    delete_bucket(service, id);
}

static void assert_bad(struct service *service, const Crownest__V1__CreateBucketRequest *request,
                       const char *reason, const char *field)
{
    assert_refused(try_bucket(service->operator_client, request, NULL), &error, INVALID_ARGUMENT,
                   reason, field);
}

static void nonsense_is_refused(void **state)
{
    static const int64_t caps[] = {0, -1, INT64_MIN, 1000000000001, INT64_MAX};
    static const char *const names[] = {"", "A", "1a", "a b", "a/b", "../x"};
    struct service *service = service_of(state);
    uint32_t percents[] = {50, 50};
    Crownest__V1__CreateBucketRequest request;

    for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
        request = request_of("bad", caps[i]);
        assert_bad(service, &request, "BUCKET_CAP_INVALID", "cap_unit_seconds");
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        request = request_of(names[i], 1);
        assert_bad(service, &request, "BUCKET_NAME_INVALID", "name");
    }
    request = request_of("bad", 1);
    request.period = 4;
    assert_bad(service, &request, "BUCKET_PERIOD_INVALID", "period");
    request.period = 0;
    assert_bad(service, &request, "BUCKET_PERIOD_INVALID", "period");
    request = request_of("bad", 1);
    request.on_empty = 3;
    assert_bad(service, &request, "BUCKET_ACTION_INVALID", "on_empty");
    request = request_of("bad", 1);
    request.warn_at_percent = percents;
    request.n_warn_at_percent = 2;
    assert_bad(service, &request, "BUCKET_WARNING_INVALID", "warn_at_percent");
    percents[1] = 100;
    assert_bad(service, &request, "BUCKET_WARNING_INVALID", "warn_at_percent");
    request = request_of("bad", 1);
    request.key_id = STEP_TEXT("key_01h455vb4pex5vsknk084sn02q");
    assert_refused(try_bucket(service->operator_client, &request, NULL), &error, NOT_FOUND,
                   "KEY_NOT_FOUND", "key_id");
    request.sandbox_id = STEP_TEXT("sbx_01h455vb4pex5vsknk084sn02q");
    assert_bad(service, &request, "BUCKET_SCOPE_INVALID", "sandbox_id");
    request.key_id = STEP_TEXT("");
    assert_refused(try_bucket(service->operator_client, &request, NULL), &error, NOT_FOUND,
                   "SANDBOX_NOT_FOUND", "sandbox_id");
}

static void only_operators_make_them_and_their_project_sees_them(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__CreateBucketRequest request = request_of("ours", 1000);
    Crownest__V1__GetBucketRequest question = CROWNEST__V1__GET_BUCKET_REQUEST__INIT;
    Crownest__V1__ListBucketsRequest listing = CROWNEST__V1__LIST_BUCKETS_REQUEST__INIT;
    Crownest__V1__GetBucketResponse *response;
    Crownest__V1__ListBucketsResponse *list;
    char id[STEP_ID_SIZE];

    assert_refused(try_bucket(service->client, &request, NULL), &error, PERMISSION_DENIED,
                   "OPERATOR_ONLY", "");
    make_bucket(service, &request, id);
    assert_refused(try_bucket(service->operator_client, &request, NULL), &error, ALREADY_EXISTS,
                   "BUCKET_EXISTS", "name");
    question.bucket_id = id;
    assert_refused(crownest_bucket_get(service->other, &question, NULL, &response, &error), &error,
                   NOT_FOUND, "BUCKET_NOT_FOUND", "bucket_id");
    assert_done(crownest_bucket_list(service->client, &listing, NULL, &list, &error), &error);
    assert_int_equal(list->n_buckets, 1);
    assert_string_equal(list->buckets[0]->name, "ours");
    assert_int_equal(list->buckets[0]->n_warn_at_percent, 3);
    crownest__v1__list_buckets_response__free_unpacked(list, NULL);
    delete_bucket(service, id);
    assert_refused(crownest_bucket_get(service->client, &question, NULL, &response, &error), &error,
                   NOT_FOUND, "BUCKET_NOT_FOUND", "bucket_id");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_sandboxes_of_a_bucket_end_when_it_is_empty),
        cmocka_unit_test(nothing_is_created_that_cannot_be_paid),
        cmocka_unit_test(a_sandbox_is_paused_where_its_bucket_says_so),
        cmocka_unit_test(warnings_come_once_and_before_the_end),
        cmocka_unit_test(what_was_spent_is_known_after_a_restart),
        cmocka_unit_test(what_ran_empty_while_nobody_was_there_ends_at_the_start),
        cmocka_unit_test(a_bucket_may_be_for_one_key_or_one_sandbox),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(only_operators_make_them_and_their_project_sees_them),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup_pooled, service_teardown);
}
