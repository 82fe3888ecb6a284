/* Who may call: no key, keys that are none any more, and keys that lack the scope. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bindings/c/crownest_key.h"
#include "bindings/c/crownest_project.h"
#include "tests/rpc/leftovers.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define UNAUTHENTICATED 16
#define PERMISSION_DENIED 7

static int create_sandbox(struct crownest_client *client, struct crownest_error *error)
{
    Crownest__V1__CreateSandboxRequest request = CROWNEST__V1__CREATE_SANDBOX_REQUEST__INIT;
    Crownest__V1__CreateSandboxResponse *response;

    return crownest_sandbox_create(client, &request, NULL, &response, error);
}

static int who_am_i(struct crownest_client *client, struct crownest_error *error)
{
    Crownest__V1__WhoAmIRequest request = CROWNEST__V1__WHO_AM_IREQUEST__INIT;
    Crownest__V1__WhoAmIResponse *response;
    int result = crownest_key_who_am_i(client, &request, NULL, &response, error);

    if (result == 0)
        crownest__v1__who_am_iresponse__free_unpacked(response, NULL);
    return result;
}

/* A server stream and a client stream are guarded as a unary call is. */
static int read_file(struct crownest_client *client, struct crownest_error *error)
{
    Crownest__V1__ReadFileRequest request = CROWNEST__V1__READ_FILE_REQUEST__INIT;
    Crownest__V1__ReadFileResponse *message;
    struct crownest_file_read_reader *reader;

    request.path = STEP_TEXT("/etc/passwd");
    assert_done(crownest_file_read_open(client, &request, NULL, &reader, error), error);
    int result = crownest_file_read_next(reader, &message, error);

    crownest_file_read_free(reader);
    return result;
}

static int write_file(struct crownest_client *client, struct crownest_error *error)
{
    Crownest__V1__WriteFileResponse *response;
    struct crownest_file_write_writer *writer;

    assert_done(crownest_file_write_open(client, NULL, &writer, error), error);
    int result = crownest_file_write_finish(writer, &response, error);

    crownest_file_write_free(writer);
    return result;
}

static void assert_shut_out(struct service *service, const char *key, const char *reason)
{
    struct crownest_client *client = service_client(service, key);
    struct crownest_error error;

    assert_refused(who_am_i(client, &error), &error, UNAUTHENTICATED, reason, "");
    assert_refused(create_sandbox(client, &error), &error, UNAUTHENTICATED, reason, "");
    assert_refused(read_file(client, &error), &error, UNAUTHENTICATED, reason, "");
    assert_refused(write_file(client, &error), &error, UNAUTHENTICATED, reason, "");
    assert_string_equal(error.admitted, "no");
    crownest_client_free(client);
}

static void without_a_key_nothing_is_answered(void **state)
{
    assert_shut_out(service_of(state), "", "KEY_MISSING");
}

static void a_malformed_or_unknown_key_is_none(void **state)
{
    struct service *service = service_of(state);
    char changed[SERVICE_SECRET_SIZE + 1];

    assert_shut_out(service, "garbage", "KEY_INVALID");
    assert_shut_out(service, "cnk_", "KEY_INVALID");
    assert_shut_out(service, "cnk_00000000000000000000000000000000", "KEY_INVALID");
    (void)snprintf(changed, sizeof(changed), "%s", service->key);
    char *last = &changed[strlen(changed) - 1];

    *last = *last == '0' ? '1' : '0';
    assert_shut_out(service, changed, "KEY_INVALID");
    (void)snprintf(changed, sizeof(changed), "%sx", service->key);
    assert_shut_out(service, changed, "KEY_INVALID");
}

static Crownest__V1__CreateKeyResponse *mint(struct crownest_client *client,
                                             const Crownest__V1__CreateKeyRequest *request)
{
    Crownest__V1__CreateKeyResponse *response;
    struct crownest_error error;

    assert_done(crownest_key_create(client, request, NULL, &response, &error), &error);
    return response;
}

static void a_revoked_key_is_refused_from_its_next_call_on(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__CreateKeyRequest request = CROWNEST__V1__CREATE_KEY_REQUEST__INIT;
    Crownest__V1__CreateKeyResponse *minted = mint(service->operator_client, &request);
    Crownest__V1__RevokeKeyRequest revoke = CROWNEST__V1__REVOKE_KEY_REQUEST__INIT;
    Crownest__V1__RevokeKeyResponse *revoked;
    struct crownest_client *client = service_client(service, minted->secret);
    struct crownest_error error;

    assert_done(who_am_i(client, &error), &error);
    revoke.key_id = minted->key->key_id;
    assert_done(crownest_key_revoke(service->operator_client, &revoke, NULL, &revoked, &error),
                &error);
    assert_non_null(revoked->key->revoke_time);
    assert_refused(who_am_i(client, &error), &error, UNAUTHENTICATED, "KEY_REVOKED", "");
    assert_shut_out(service, minted->secret, "KEY_REVOKED");
    crownest__v1__revoke_key_response__free_unpacked(revoked, NULL);
    crownest__v1__create_key_response__free_unpacked(minted, NULL);
    crownest_client_free(client);
}

static void an_expired_key_is_refused(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__CreateKeyRequest request = CROWNEST__V1__CREATE_KEY_REQUEST__INIT;
    Google__Protobuf__Timestamp expiry = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    struct crownest_error error = {0};
    struct timespec now;
    int result = 0;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    expiry.seconds = now.tv_sec + 1;
    expiry.nanos = (int32_t)now.tv_nsec;
    request.expire_time = &expiry;
    Crownest__V1__CreateKeyResponse *minted = mint(service->operator_client, &request);
    struct crownest_client *client = service_client(service, minted->secret);

    /* Every answer before the expiry is a good one, every one after it is the refusal. */
    do {
        result = who_am_i(client, &error);
        (void)clock_gettime(CLOCK_REALTIME, &now);
    } while (result == 0 && now.tv_sec < expiry.seconds + 5);
    assert_refused(result, &error, UNAUTHENTICATED, "KEY_EXPIRED", "");
    assert_true(now.tv_sec > expiry.seconds ||
                (now.tv_sec == expiry.seconds && now.tv_nsec >= expiry.nanos));
    assert_shut_out(service, minted->secret, "KEY_EXPIRED");
    crownest__v1__create_key_response__free_unpacked(minted, NULL);
    crownest_client_free(client);
}

static int create_key(struct crownest_client *client, const char *scope,
                      struct crownest_error *error)
{
    char *scopes[] = {STEP_TEXT(scope)};
    Crownest__V1__CreateKeyRequest request = CROWNEST__V1__CREATE_KEY_REQUEST__INIT;
    Crownest__V1__CreateKeyResponse *response;

    request.scopes = scopes;
    request.n_scopes = 1;
    int result = crownest_key_create(client, &request, NULL, &response, error);

    if (result == 0)
        crownest__v1__create_key_response__free_unpacked(response, NULL);
    return result;
}

static size_t count_keys(struct crownest_client *client)
{
    Crownest__V1__ListKeysRequest request = CROWNEST__V1__LIST_KEYS_REQUEST__INIT;
    Crownest__V1__ListKeysResponse *response;
    struct crownest_error error;

    assert_done(crownest_key_list(client, &request, NULL, &response, &error), &error);
    size_t count = response->n_keys;

    crownest__v1__list_keys_response__free_unpacked(response, NULL);
    return count;
}

static void what_is_for_operators_is_closed_to_keys(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__ListKeysRequest list = CROWNEST__V1__LIST_KEYS_REQUEST__INIT;
    Crownest__V1__ListKeysResponse *listed;
    Crownest__V1__RevokeKeyRequest revoke = CROWNEST__V1__REVOKE_KEY_REQUEST__INIT;
    Crownest__V1__RevokeKeyResponse *revoked;
    Crownest__V1__CreateProjectRequest project = CROWNEST__V1__CREATE_PROJECT_REQUEST__INIT;
    Crownest__V1__CreateProjectResponse *created;
    struct crownest_error error;
    size_t before = count_keys(service->operator_client);

    assert_refused(create_key(service->client, "sandbox:read", &error), &error, PERMISSION_DENIED,
                   "OPERATOR_ONLY", "");
    assert_refused(crownest_key_list(service->client, &list, NULL, &listed, &error), &error,
                   PERMISSION_DENIED, "OPERATOR_ONLY", "");
    revoke.key_id = STEP_TEXT("key_01h455vb4pex5vsknk084sn02q");
    assert_refused(crownest_key_revoke(service->client, &revoke, NULL, &revoked, &error), &error,
                   PERMISSION_DENIED, "OPERATOR_ONLY", "");
    project.name = STEP_TEXT("mine");
    assert_refused(crownest_project_create(service->client, &project, NULL, &created, &error),
                   &error, PERMISSION_DENIED, "OPERATOR_ONLY", "");
    assert_int_equal(count_keys(service->operator_client), before);
}

static struct crownest_client *client_in(const struct service *service, const char *key,
                                         const char *project)
{
    char target[64];
    struct crownest_client_options options = {.target = target, .api_key = key, .project = project};
    struct crownest_client *client;
    struct crownest_error error;

    (void)snprintf(target, sizeof(target), "127.0.0.1:%u", (unsigned)service->port);
    if (crownest_client_new(&options, &client, &error))
        fail_msg("%s", error.message);
    return client;
}

static char *project_of(struct crownest_client *client)
{
    Crownest__V1__WhoAmIRequest request = CROWNEST__V1__WHO_AM_IREQUEST__INIT;
    Crownest__V1__WhoAmIResponse *response;
    struct crownest_error error;
    static char id[STEP_ID_SIZE];

    assert_done(crownest_key_who_am_i(client, &request, NULL, &response, &error), &error);
    (void)snprintf(id, sizeof(id), "%s", response->project_id);
    crownest__v1__who_am_iresponse__free_unpacked(response, NULL);
    crownest_client_free(client);
    return id;
}

static void a_key_of_no_project_acts_in_the_one_that_the_call_names(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__CreateKeyRequest request = CROWNEST__V1__CREATE_KEY_REQUEST__INIT;
    Crownest__V1__CreateKeyResponse *minted;
    char other[STEP_ID_SIZE];
    char home[STEP_ID_SIZE];
    struct crownest_error error;

    request.any_project = true;
    request.project = STEP_TEXT("default");
    assert_refused(crownest_key_create(service->operator_client, &request, NULL, &minted, &error),
                   &error, 3, "PROJECT_AMBIGUOUS", "any_project");
    request.project = STEP_TEXT("");
    minted = mint(service->operator_client, &request);
    assert_string_equal(minted->key->project_id, "");
    (void)snprintf(home, sizeof(home), "%s", project_of(service_client(service, service->key)));
    (void)snprintf(other, sizeof(other), "%s",
                   project_of(service_client(service, service->other_key)));
    assert_string_equal(project_of(service_client(service, minted->secret)), home);
    assert_string_equal(project_of(client_in(service, minted->secret, SERVICE_OTHER_PROJECT)),
                        other);
    struct crownest_client *lost = client_in(service, minted->secret, "nowhere");

    assert_refused(who_am_i(lost, &error), &error, 5, "PROJECT_NOT_FOUND", "project");
    crownest_client_free(lost);
    /* One that is tied stays where it is. */
    assert_string_equal(project_of(client_in(service, service->key, SERVICE_OTHER_PROJECT)), home);
    crownest__v1__create_key_response__free_unpacked(minted, NULL);
}

static bool was_used(const struct service *service, const char *key_id)
{
    Crownest__V1__ListKeysRequest request = CROWNEST__V1__LIST_KEYS_REQUEST__INIT;
    Crownest__V1__ListKeysResponse *response;
    struct crownest_error error;
    bool used = false;

    assert_done(crownest_key_list(service->operator_client, &request, NULL, &response, &error),
                &error);
    for (size_t i = 0; i < response->n_keys; i++)
        used |= strcmp(response->keys[i]->key_id, key_id) == 0 && response->keys[i]->last_use_time;
    crownest__v1__list_keys_response__free_unpacked(response, NULL);
    return used;
}

static void a_key_is_known_to_be_used_once_it_was(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__CreateKeyRequest request = CROWNEST__V1__CREATE_KEY_REQUEST__INIT;
    Crownest__V1__CreateKeyResponse *minted = mint(service->operator_client, &request);

    assert_false(was_used(service, minted->key->key_id));
    (void)project_of(service_client(service, minted->secret));
    assert_true(was_used(service, minted->key->key_id));
    crownest__v1__create_key_response__free_unpacked(minted, NULL);
}

static void an_unknown_scope_is_not_given(void **state)
{
    struct service *service = service_of(state);
    const char *const scopes[] = {"sandbox:destroy", "*", "sandbox:*", "", "SANDBOX:READ"};
    size_t before = count_keys(service->operator_client);

    for (size_t i = 0; i < sizeof(scopes) / sizeof(scopes[0]); i++) {
        struct crownest_error error = {0};

        assert_refused_at(create_key(service->operator_client, scopes[i], &error), &error, 3,
                          "SCOPE_UNKNOWN", "scopes", scopes[i]);
    }
    assert_int_equal(count_keys(service->operator_client), before);
}

static void who_am_i_tells_the_callers_project(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__WhoAmIRequest request = CROWNEST__V1__WHO_AM_IREQUEST__INIT;
    Crownest__V1__WhoAmIResponse *mine;
    Crownest__V1__WhoAmIResponse *others;
    Crownest__V1__WhoAmIResponse *operators;
    struct crownest_error error;

    assert_done(crownest_key_who_am_i(service->client, &request, NULL, &mine, &error), &error);
    assert_done(crownest_key_who_am_i(service->other, &request, NULL, &others, &error), &error);
    assert_done(crownest_key_who_am_i(service->operator_client, &request, NULL, &operators, &error),
                &error);
    assert_false(mine->operator_);
    assert_true(operators->operator_);
    assert_string_equal(mine->project_id, operators->project_id);
    assert_string_not_equal(mine->project_id, others->project_id);
    assert_string_equal(mine->key->project_id, mine->project_id);
    assert_true(mine->key->n_scopes > 0);
    crownest__v1__who_am_iresponse__free_unpacked(mine, NULL);
    crownest__v1__who_am_iresponse__free_unpacked(others, NULL);
    crownest__v1__who_am_iresponse__free_unpacked(operators, NULL);
}

static void nothing_came_of_all_that(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__ListSandboxesRequest request = CROWNEST__V1__LIST_SANDBOXES_REQUEST__INIT;
    Crownest__V1__ListSandboxesResponse *response;
    struct crownest_error error;

    assert_done(crownest_sandbox_list(service->client, &request, NULL, &response, &error), &error);
    assert_int_equal(response->n_sandboxes, 0);
    crownest__v1__list_sandboxes_response__free_unpacked(response, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_key_nothing_is_answered),
        cmocka_unit_test(a_malformed_or_unknown_key_is_none),
        cmocka_unit_test(a_revoked_key_is_refused_from_its_next_call_on),
        cmocka_unit_test(an_expired_key_is_refused),
        cmocka_unit_test(what_is_for_operators_is_closed_to_keys),
        cmocka_unit_test(a_key_of_no_project_acts_in_the_one_that_the_call_names),
        cmocka_unit_test(a_key_is_known_to_be_used_once_it_was),
        cmocka_unit_test(an_unknown_scope_is_not_given),
        cmocka_unit_test(who_am_i_tells_the_callers_project),
        cmocka_unit_test(nothing_came_of_all_that),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
