/*
 * Every method of the contract, called by everybody: who may call it is what its policy in the
 * proto says, and a resource of another project is answered as one that never was, byte by byte.
 * The methods are those of the generated table, the requests are made from their descriptors: a
 * method, or a field for ids, that is new is either covered or fails this test.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bindings/c/crownest_bucket.h"
#include "bindings/c/crownest_key.h"
#include "bindings/c/crownest_operator.h"
#include "bindings/c/crownest_preview.h"
#include "bindings/c/crownest_webhook.h"
#include "tests/rpc/filler.h"
#include "tests/rpc/matrix_answer.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define PASSWORD "correct horse"

enum who {
    NOBODY,
    MALFORMED,
    WRONG_SCOPE,
    RIGHT_SCOPE,
    EXPIRED,
    REVOKED,
    LOCAL,
    SESSION,
    WHO_COUNT
};

static const char *const who_names[WHO_COUNT] = {
    "no key",         "a malformed key", "a key with every other scope", "a key with its scope",
    "an expired key", "a revoked key",   "an operator on the socket",    "an operator's session"};

static const struct filler_ids unknown_ids = {.sandbox = "sbx_01h455vb4pex5vsknk084sn02q",
                                              .command = "cmd_01h455vb4pex5vsknk084sn02q",
                                              .preview = "prv_01h455vb4pex5vsknk084sn02q",
                                              .artifact = "art_01h455vb4pex5vsknk084sn02q",
                                              .bucket = "bkt_01h455vb4pex5vsknk084sn02q",
                                              .key = "key_01h455vb4pex5vsknk084sn02q",
                                              .webhook = "whk_01h455vb4pex5vsknk084sn02q"};

static struct crownest_error error;

/* Keys */

static Crownest__V1__CreateKeyResponse *mint(const struct service *service,
                                             Crownest__V1__CreateKeyRequest *request)
{
    Crownest__V1__CreateKeyResponse *response;

    assert_done(crownest_key_create(service->operator_client, request, NULL, &response, &error),
                &error);
    return response;
}

/* scope NULL: of nobody's; other: every scope but that. */
static void mint_scoped(const struct service *service, const char *project, const char *scope,
                        bool other, char ret_secret[SERVICE_SECRET_SIZE])
{
    const char *scopes[128];
    size_t count = 0;

    assert_true(rpc_scope_count < 128);
    for (size_t i = 0; i < rpc_scope_count; i++) {
        bool is_it = scope && strcmp(rpc_scopes[i], scope) == 0;

        if (is_it != other)
            scopes[count++] = rpc_scopes[i];
    }
    scopes[count] = NULL;
    service_mint(service, project, scopes, ret_secret);
}

static void mint_revoked(const struct service *service, char ret_secret[SERVICE_SECRET_SIZE])
{
    Crownest__V1__CreateKeyRequest request = CROWNEST__V1__CREATE_KEY_REQUEST__INIT;
    Crownest__V1__CreateKeyResponse *minted = mint(service, &request);
    Crownest__V1__RevokeKeyRequest revocation = CROWNEST__V1__REVOKE_KEY_REQUEST__INIT;
    Crownest__V1__RevokeKeyResponse *revoked;

    revocation.key_id = minted->key->key_id;
    assert_done(crownest_key_revoke(service->operator_client, &revocation, NULL, &revoked, &error),
                &error);
    (void)snprintf(ret_secret, SERVICE_SECRET_SIZE, "%s", minted->secret);
    crownest__v1__revoke_key_response__free_unpacked(revoked, NULL);
    crownest__v1__create_key_response__free_unpacked(minted, NULL);
}

/* Asks until it has expired: the shortest life there is, is that of a second. */
static void mint_expired(const struct service *service, char ret_secret[SERVICE_SECRET_SIZE])
{
    Crownest__V1__CreateKeyRequest request = CROWNEST__V1__CREATE_KEY_REQUEST__INIT;
    Google__Protobuf__Timestamp expiry = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    Crownest__V1__WhoAmIRequest ask = CROWNEST__V1__WHO_AM_IREQUEST__INIT;
    Crownest__V1__WhoAmIResponse *me;
    int result;

    expiry.seconds = time(NULL) + 2;
    request.expire_time = &expiry;
    Crownest__V1__CreateKeyResponse *minted = mint(service, &request);
    struct crownest_client *client = service_client(service, minted->secret);

    while ((result = crownest_key_who_am_i(client, &ask, NULL, &me, &error)) == 0)
        crownest__v1__who_am_iresponse__free_unpacked(me, NULL);
    assert_string_equal(error.reason, "KEY_EXPIRED");
    (void)snprintf(ret_secret, SERVICE_SECRET_SIZE, "%s", minted->secret);
    crownest_client_free(client);
    crownest__v1__create_key_response__free_unpacked(minted, NULL);
}

static void create_operator(const struct service *service)
{
    Crownest__V1__CreateOperatorRequest request = CROWNEST__V1__CREATE_OPERATOR_REQUEST__INIT;
    Crownest__V1__CreateOperatorResponse *response;

    request.name = STEP_TEXT("ada");
    request.password = STEP_TEXT(PASSWORD);
    assert_done(
        crownest_operator_create(service->operator_client, &request, NULL, &response, &error),
        &error);
    crownest__v1__create_operator_response__free_unpacked(response, NULL);
}

static void log_in(const struct service *service, char ret_token[SERVICE_SECRET_SIZE])
{
    Crownest__V1__LoginRequest request = CROWNEST__V1__LOGIN_REQUEST__INIT;
    Crownest__V1__LoginResponse *response;

    request.name = STEP_TEXT("ada");
    request.password = STEP_TEXT(PASSWORD);
    assert_done(crownest_operator_login(service->client, &request, NULL, &response, &error),
                &error);
    (void)snprintf(ret_token, SERVICE_SECRET_SIZE, "%s", response->token);
    crownest__v1__login_response__free_unpacked(response, NULL);
}

/* Calls */

struct identity {
    const char *secret;  /* NULL: none */
    const char *project; /* NULL: the caller names none */
    bool local;
};

static struct answer call_as(const struct service *service, const struct identity *who,
                             const struct rpc_method *method, const struct filler_ids *ids)
{
    char socket_path[SERVICE_PATH_SIZE];
    struct caller caller = {0};
    bool takes_ids = false;
    ProtobufCMessage *request = filler_request(method->input, ids, &takes_ids);

    (void)snprintf(socket_path, sizeof(socket_path), "%s/server/c.sock", service->dir);
    caller_init(&caller, socket_path, who->local ? 0 : service->port, who->secret, who->project);
    struct answer answer = answer_of(&caller, method, request);

    caller_done(&caller);
    protobuf_c_message_free_unpacked(request, NULL);
    return answer;
}

static bool takes_ids(const struct rpc_method *method)
{
    bool takes = false;

    protobuf_c_message_free_unpacked(filler_request(method->input, &unknown_ids, &takes), NULL);
    return takes;
}

struct secrets {
    char of[WHO_COUNT][SERVICE_SECRET_SIZE];
};

/* The method before may have ended the session. */
static void keep_session(const struct service *service, char token[SERVICE_SECRET_SIZE])
{
    const struct identity who = {.secret = token};
    struct answer answer = call_as(service, &who, &rpc_methods[RPC_KEY_WHO_AM_I], &unknown_ids);

    if (answer.code != GRPC_STATUS_OK)
        log_in(service, token);
    answer_done(&answer);
}

/* Those that depend on the method. */
static void renew(const struct service *service, const struct rpc_method *method,
                  struct secrets *secrets)
{
    mint_scoped(service, "", method->scope, true, secrets->of[WRONG_SCOPE]);
    if (method->audience == RPC_AUDIENCE_KEY)
        mint_scoped(service, "", method->scope, false, secrets->of[RIGHT_SCOPE]);
    else
        memcpy(secrets->of[RIGHT_SCOPE], service->key, SERVICE_SECRET_SIZE);
    keep_session(service, secrets->of[SESSION]);
}

/* What a caller who must not call is told; NULL: it may. */
static const char *refusal(const struct rpc_method *method, enum who who)
{
    static const char *const nobody[WHO_COUNT] = {[NOBODY] = "KEY_MISSING",
                                                  [MALFORMED] = "KEY_INVALID",
                                                  [EXPIRED] = "KEY_EXPIRED",
                                                  [REVOKED] = "KEY_REVOKED"};

    if (method->audience == RPC_AUDIENCE_ANYONE)
        return NULL;
    if (nobody[who])
        return nobody[who];
    if (who == LOCAL || who == SESSION || method->audience == RPC_AUDIENCE_ANY_KEY)
        return NULL;
    if (method->audience == RPC_AUDIENCE_OPERATOR)
        return "OPERATOR_ONLY";
    return who == WRONG_SCOPE ? "SCOPE_MISSING" : NULL;
}

static bool is_denial(const struct rpc_method *method, const struct answer *answer)
{
    /* A login that fails is not the refusal of a call. */
    if (method->audience == RPC_AUDIENCE_ANYONE && strcmp(answer->reason, "LOGIN_FAILED") == 0)
        return false;
    return answer->code == GRPC_STATUS_UNAUTHENTICATED ||
           answer->code == GRPC_STATUS_PERMISSION_DENIED;
}

static void check_cell(const struct rpc_method *method, enum who who, const struct answer *answer)
{
    const char *expected = refusal(method, who);
    int code = who == NOBODY || who == MALFORMED || who == EXPIRED || who == REVOKED
                   ? GRPC_STATUS_UNAUTHENTICATED
                   : GRPC_STATUS_PERMISSION_DENIED;

    if (expected && (answer->code != code || strcmp(answer->reason, expected) != 0))
        fail_msg("%s by %s: code %d %s instead of %s", method->name, who_names[who], answer->code,
                 answer->reason, expected);
    if (!expected && is_denial(method, answer))
        fail_msg("%s by %s: %s", method->name, who_names[who], answer->reason);
}

static void each_method_is_open_to_whom_its_policy_names(void **state)
{
    struct service *service = service_of(state);
    struct secrets secrets = {0};
    unsigned cells = 0;

    create_operator(service);
    (void)snprintf(secrets.of[MALFORMED], SERVICE_SECRET_SIZE, "cnk_garbage");
    mint_expired(service, secrets.of[EXPIRED]);
    mint_revoked(service, secrets.of[REVOKED]);
    log_in(service, secrets.of[SESSION]);
    for (size_t i = 0; i < RPC_METHOD_COUNT; i++) {
        const struct rpc_method *method = &rpc_methods[i];

        renew(service, method, &secrets);
        for (enum who who = 0; who < WHO_COUNT; who++, cells++) {
            const struct identity caller = {.secret = secrets.of[who][0] ? secrets.of[who] : NULL,
                                            .local = who == LOCAL};
            struct answer answer = call_as(service, &caller, method, &unknown_ids);

            check_cell(method, who, &answer);
            answer_done(&answer);
        }
    }
    print_message("%u cells: %d methods, each by %d callers\n", cells, RPC_METHOD_COUNT, WHO_COUNT);
}

/* Another project's */

/* The one bucket of the default project: it holds nothing back. */
static void find_bucket(const struct service *service, char ret_id[FILLER_ID_SIZE])
{
    static char id[FILLER_ID_SIZE];
    Crownest__V1__CreateBucketRequest request = CROWNEST__V1__CREATE_BUCKET_REQUEST__INIT;
    Crownest__V1__CreateBucketResponse *response;

    if (id[0] == '\0') {
        request.name = STEP_TEXT("all");
        request.period = CROWNEST__V1__BUCKET_PERIOD__BUCKET_PERIOD_TOTAL;
        request.cap_unit_seconds = 1000000;
        assert_done(
            crownest_bucket_create(service->operator_client, &request, NULL, &response, &error),
            &error);
        (void)snprintf(id, sizeof(id), "%s", response->bucket->bucket_id);
        crownest__v1__create_bucket_response__free_unpacked(response, NULL);
    }
    memcpy(ret_id, id, sizeof(id));
}

/* The one webhook of the default project, which nothing fits. */
static void find_webhook(const struct service *service, char ret_id[FILLER_ID_SIZE])
{
    static char id[FILLER_ID_SIZE];
    Crownest__V1__CreateWebhookRequest request = CROWNEST__V1__CREATE_WEBHOOK_REQUEST__INIT;
    Crownest__V1__CreateWebhookResponse *response;
    char *actions[] = {STEP_TEXT("nothing")};

    if (id[0] == '\0') {
        request.url = STEP_TEXT("http://127.0.0.1:9/");
        request.actions = actions;
        request.n_actions = 1;
        assert_done(
            crownest_webhook_create(service->operator_client, &request, NULL, &response, &error),
            &error);
        (void)snprintf(id, sizeof(id), "%s", response->webhook->webhook_id);
        crownest__v1__create_webhook_response__free_unpacked(response, NULL);
    }
    memcpy(ret_id, id, sizeof(id));
}

/* Of the default project. line: of the command that is one of them. */
static void make_resources(const struct service *service, const char *line,
                           struct filler_ids *ret_ids)
{
    struct crownest_client *client = service->client;
    Crownest__V1__CreatePreviewRequest open = CROWNEST__V1__CREATE_PREVIEW_REQUEST__INIT;
    Crownest__V1__CreatePreviewResponse *opened;
    Crownest__V1__WhoAmIRequest ask = CROWNEST__V1__WHO_AM_IREQUEST__INIT;
    Crownest__V1__WhoAmIResponse *me;

    step_create(client, "base", ret_ids->sandbox);
    step_start(client, ret_ids->sandbox, line, ret_ids->command);
    open.sandbox_id = ret_ids->sandbox;
    open.port = 8080;
    assert_done(crownest_preview_create(client, &open, NULL, &opened, &error), &error);
    (void)snprintf(ret_ids->preview, FILLER_ID_SIZE, "%s", opened->preview->preview_id);
    crownest__v1__create_preview_response__free_unpacked(opened, NULL);
    assert_int_equal(
        step_try_collect(client, "", ret_ids->sandbox, "/etc/hostname", ret_ids->artifact, &error),
        0);
    assert_done(crownest_key_who_am_i(client, &ask, NULL, &me, &error), &error);
    find_bucket(service, ret_ids->bucket);
    find_webhook(service, ret_ids->webhook);
    (void)snprintf(ret_ids->key, FILLER_ID_SIZE, "%s", me->key->key_id);
    crownest__v1__who_am_iresponse__free_unpacked(me, NULL);
}

static void assert_silent(const struct rpc_method *method, const struct answer *answer,
                          const struct filler_ids *ids)
{
    const char *const all[] = {ids->sandbox, ids->command, ids->preview, ids->artifact,
                               ids->bucket,  ids->key,     ids->webhook};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (answer_holds(answer, all[i]))
            fail_msg("%s tells another project of %s", method->name, all[i]);
    }
}

/* Who calls from the other project: returns how many methods were compared. */
static unsigned compare_all(const struct service *service, const struct identity *who,
                            const struct filler_ids *foreign)
{
    unsigned compared = 0;

    for (size_t i = 0; i < RPC_METHOD_COUNT; i++) {
        const struct rpc_method *method = &rpc_methods[i];

        /* What is for operators, is about all projects. */
        if (who->local && method->audience != RPC_AUDIENCE_KEY)
            continue;
        struct answer missing = call_as(service, who, method, &unknown_ids);
        struct answer other = call_as(service, who, method, foreign);

        assert_silent(method, &other, foreign);
        if (takes_ids(method) && !answers_equal(&missing, &other))
            fail_msg("%s: code %d %s for a foreign id, %d %s for one that never was", method->name,
                     other.code, other.reason, missing.code, missing.reason);
        compared += takes_ids(method);
        answer_done(&missing);
        answer_done(&other);
    }
    return compared;
}

static void nothing_of_another_project_can_be_told_from_nothing(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__CreateKeyRequest request = CROWNEST__V1__CREATE_KEY_REQUEST__INIT;
    struct filler_ids foreign;
    unsigned compared = 0;

    request.any_project = true;
    Crownest__V1__CreateKeyResponse *free_key = mint(service, &request);
    const struct identity callers[] = {
        {.secret = service->other_key},
        {.secret = free_key->secret, .project = SERVICE_OTHER_PROJECT},
        {.local = true, .project = SERVICE_OTHER_PROJECT},
    };

    make_resources(service, "exec sleep 1000", &foreign);
    for (size_t i = 0; i < sizeof(callers) / sizeof(callers[0]); i++)
        compared += compare_all(service, &callers[i], &foreign);
    print_message(
        "%u comparisons: with a key of the other project, a key of none and an operator\n",
        compared);
    step_kill(service->client, foreign.sandbox);
    crownest__v1__create_key_response__free_unpacked(free_key, NULL);
}

/* Else the test before would show nothing: its requests do lead to what they name. */
static void what_is_ones_own_is_found(void **state)
{
    struct service *service = service_of(state);
    const struct identity owner = {.secret = service->key};

    for (size_t i = 0; i < RPC_METHOD_COUNT; i++) {
        const struct rpc_method *method = &rpc_methods[i];
        struct filler_ids ids;

        if (method->audience != RPC_AUDIENCE_KEY || !takes_ids(method))
            continue;
        /* Not one that is waited for. */
        make_resources(service, "true", &ids);
        struct answer missing = call_as(service, &owner, method, &unknown_ids);
        struct answer own = call_as(service, &owner, method, &ids);

        if (answers_equal(&missing, &own))
            fail_msg("%s: code %d %s for one's own", method->name, own.code, own.reason);
        answer_done(&missing);
        answer_done(&own);
        step_kill(service->client, ids.sandbox);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_method_is_open_to_whom_its_policy_names),
        cmocka_unit_test(nothing_of_another_project_can_be_told_from_nothing),
        cmocka_unit_test(what_is_ones_own_is_found),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
