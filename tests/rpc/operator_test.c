/* Operators who log in: what a session may do, over TCP, and what ends with it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bindings/c/crownest_audit.h"
#include "bindings/c/crownest_key.h"
#include "bindings/c/crownest_operator.h"
#include "bindings/c/crownest_project.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define UNAUTHENTICATED 16
#define PERMISSION_DENIED 7
#define PASSWORD "correct horse"
#define LINE_SIZE 512

static struct crownest_error error;

static void create_operator(struct crownest_client *client, const char *name)
{
    Crownest__V1__CreateOperatorRequest request = CROWNEST__V1__CREATE_OPERATOR_REQUEST__INIT;
    Crownest__V1__CreateOperatorResponse *response;

    request.name = STEP_TEXT(name);
    request.password = STEP_TEXT(PASSWORD);
    assert_done(crownest_operator_create(client, &request, NULL, &response, &error), &error);
    crownest__v1__create_operator_response__free_unpacked(response, NULL);
}

static int login(const struct service *service, const char *name, const char *password,
                 char token[SERVICE_SECRET_SIZE])
{
    Crownest__V1__LoginRequest request = CROWNEST__V1__LOGIN_REQUEST__INIT;
    Crownest__V1__LoginResponse *response;
    /* What else it sends is not looked at. */
    struct crownest_client *client = service_client(service, "cnk_nobody");

    request.name = STEP_TEXT(name);
    request.password = STEP_TEXT(password);
    int result = crownest_operator_login(client, &request, NULL, &response, &error);

    if (result == 0) {
        (void)snprintf(token, SERVICE_SECRET_SIZE, "%s", response->token);
        assert_string_equal(response->name, name);
        crownest__v1__login_response__free_unpacked(response, NULL);
    }
    crownest_client_free(client);
    return result;
}

/* A new session over TCP, acting in a project. */
static struct crownest_client *session(const struct service *service, const char *name,
                                       const char *project)
{
    char token[SERVICE_SECRET_SIZE];
    char target[64];
    struct crownest_client_options options = {
        .target = target, .api_key = token, .project = project};
    struct crownest_client *client;

    assert_done(login(service, name, PASSWORD, token), &error);
    (void)snprintf(target, sizeof(target), "127.0.0.1:%u", (unsigned)service->port);
    if (crownest_client_new(&options, &client, &error))
        fail_msg("%s", error.message);
    return client;
}

static Crownest__V1__WhoAmIResponse *who_am_i(struct crownest_client *client)
{
    Crownest__V1__WhoAmIRequest request = CROWNEST__V1__WHO_AM_IREQUEST__INIT;
    Crownest__V1__WhoAmIResponse *response;

    assert_done(crownest_key_who_am_i(client, &request, NULL, &response, &error), &error);
    return response;
}

static void assert_shut_out(struct crownest_client *client)
{
    Crownest__V1__WhoAmIRequest request = CROWNEST__V1__WHO_AM_IREQUEST__INIT;
    Crownest__V1__WhoAmIResponse *response;

    assert_refused(crownest_key_who_am_i(client, &request, NULL, &response, &error), &error,
                   UNAUTHENTICATED, "SESSION_INVALID", "");
}

static void a_session_is_an_operator_in_the_project_that_it_names(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__CreateKeyRequest mint = CROWNEST__V1__CREATE_KEY_REQUEST__INIT;
    Crownest__V1__CreateKeyResponse *minted;
    char id[STEP_ID_SIZE];

    create_operator(service->operator_client, "ada");
    struct crownest_client *client = session(service, "ada", SERVICE_OTHER_PROJECT);
    Crownest__V1__WhoAmIResponse *me = who_am_i(client);
    Crownest__V1__WhoAmIResponse *other = who_am_i(service->other);

    assert_true(me->operator_);
    assert_string_equal(me->operator_name, "ada");
    assert_non_null(me->session_expire_time);
    assert_string_equal(me->project_id, other->project_id);
    assert_done(crownest_key_create(client, &mint, NULL, &minted, &error), &error);
    /* It works as a key of that project does. */
    step_create(client, "base", id);
    step_kill(service->other, id);
    crownest__v1__create_key_response__free_unpacked(minted, NULL);
    crownest__v1__who_am_iresponse__free_unpacked(me, NULL);
    crownest__v1__who_am_iresponse__free_unpacked(other, NULL);
    crownest_client_free(client);
}

static void a_key_makes_no_operator(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__CreateOperatorRequest request = CROWNEST__V1__CREATE_OPERATOR_REQUEST__INIT;
    Crownest__V1__CreateOperatorResponse *response;

    request.name = STEP_TEXT("mallory");
    request.password = STEP_TEXT(PASSWORD);
    assert_refused(crownest_operator_create(service->client, &request, NULL, &response, &error),
                   &error, PERMISSION_DENIED, "OPERATOR_ONLY", "");
}

static void a_wrong_password_and_a_wrong_name_are_answered_alike(void **state)
{
    struct service *service = service_of(state);
    char token[SERVICE_SECRET_SIZE];
    struct crownest_error password;

    assert_refused(login(service, "ada", "wrong password", token), &error, UNAUTHENTICATED,
                   "LOGIN_FAILED", "");
    password = error;
    assert_refused(login(service, "nobody", PASSWORD, token), &error, UNAUTHENTICATED,
                   "LOGIN_FAILED", "");
    assert_string_equal(error.message, password.message);
}

/* Follows a command that says nothing. */
static struct crownest_command_stream_logs_reader *follow(struct crownest_client *client,
                                                          char *command_id)
{
    Crownest__V1__StreamLogsRequest request = CROWNEST__V1__STREAM_LOGS_REQUEST__INIT;
    Crownest__V1__StreamLogsResponse *message;
    struct crownest_command_stream_logs_reader *reader;

    request.command_id = command_id;
    request.follow = true;
    assert_done(crownest_command_stream_logs_open(client, &request, NULL, &reader, &error), &error);
    assert_int_equal(crownest_command_stream_logs_next(reader, &message, &error), 1);
    crownest__v1__stream_logs_response__free_unpacked(message, NULL);
    return reader;
}

static void assert_cut(struct crownest_command_stream_logs_reader *reader)
{
    Crownest__V1__StreamLogsResponse *message;

    assert_refused(crownest_command_stream_logs_next(reader, &message, &error), &error,
                   UNAUTHENTICATED, "SESSION_INVALID", "");
    crownest_command_stream_logs_free(reader);
}

static void log_out(struct crownest_client *client, bool everywhere)
{
    Crownest__V1__LogoutRequest request = CROWNEST__V1__LOGOUT_REQUEST__INIT;
    Crownest__V1__LogoutResponse *response;

    request.everywhere = everywhere;
    assert_done(crownest_operator_logout(client, &request, NULL, &response, &error), &error);
    crownest__v1__logout_response__free_unpacked(response, NULL);
}

static void set_password(const struct service *service, const char *name)
{
    Crownest__V1__SetPasswordRequest request = CROWNEST__V1__SET_PASSWORD_REQUEST__INIT;
    Crownest__V1__SetPasswordResponse *response;

    request.name = STEP_TEXT(name);
    request.password = STEP_TEXT(PASSWORD);
    assert_done(
        crownest_operator_set_password(service->operator_client, &request, NULL, &response, &error),
        &error);
    crownest__v1__set_password_response__free_unpacked(response, NULL);
}

static void delete_operator(const struct service *service, const char *name)
{
    Crownest__V1__DeleteOperatorRequest request = CROWNEST__V1__DELETE_OPERATOR_REQUEST__INIT;
    Crownest__V1__DeleteOperatorResponse *response;

    request.name = STEP_TEXT(name);
    assert_done(
        crownest_operator_delete(service->operator_client, &request, NULL, &response, &error),
        &error);
    crownest__v1__delete_operator_response__free_unpacked(response, NULL);
}

static void what_ends_a_session_ends_its_streams(void **state)
{
    struct service *service = service_of(state);
    struct crownest_command_stream_logs_reader *readers[2];
    char sandbox[STEP_ID_SIZE];
    char command[STEP_ID_SIZE];

    step_create(service->client, "base", sandbox);
    step_start(service->client, sandbox, "echo one; exec sleep 1000", command);
    struct crownest_client *one = session(service, "ada", NULL);
    struct crownest_client *two = session(service, "ada", NULL);

    readers[0] = follow(one, command);
    readers[1] = follow(two, command);
    log_out(one, false);
    assert_cut(readers[0]);
    assert_shut_out(one);
    crownest__v1__who_am_iresponse__free_unpacked(who_am_i(two), NULL);
    crownest_client_free(one);

    one = session(service, "ada", NULL);
    readers[0] = follow(one, command);
    log_out(one, true);
    assert_cut(readers[0]);
    assert_cut(readers[1]);
    assert_shut_out(two);
    crownest_client_free(one);
    crownest_client_free(two);

    one = session(service, "ada", NULL);
    readers[0] = follow(one, command);
    set_password(service, "ada");
    assert_cut(readers[0]);
    assert_shut_out(one);
    crownest_client_free(one);

    one = session(service, "ada", NULL);
    readers[0] = follow(one, command);
    delete_operator(service, "ada");
    assert_cut(readers[0]);
    assert_shut_out(one);
    crownest_client_free(one);
    step_kill(service->client, sandbox);
}

static void who_did_not_log_in_cannot_log_out(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__LogoutRequest request = CROWNEST__V1__LOGOUT_REQUEST__INIT;
    Crownest__V1__LogoutResponse *response;

    assert_refused(
        crownest_operator_logout(service->operator_client, &request, NULL, &response, &error),
        &error, 9, "SESSION_MISSING", "");
}

static bool is_audited(const struct service *service, char *action,
                       Crownest__V1__AuditOutcome outcome, const char *actor)
{
    Crownest__V1__ListAuditRequest request = CROWNEST__V1__LIST_AUDIT_REQUEST__INIT;
    Crownest__V1__ListAuditResponse *response;
    bool found = false;

    request.resource_id = STEP_TEXT("ada");
    request.action = action;
    request.outcome = outcome;
    request.all_projects = true;
    assert_done(crownest_audit_list(service->operator_client, &request, NULL, &response, &error),
                &error);
    for (size_t i = 0; i < response->n_entries; i++)
        found |= strcmp(response->entries[i]->actor, actor) == 0 &&
                 response->entries[i]->request_id[0] != '\0';
    crownest__v1__list_audit_response__free_unpacked(response, NULL);
    return found;
}

static void what_was_done_stands_in_the_audit(void **state)
{
    struct service *service = service_of(state);
    static const struct {
        const char *action;
        Crownest__V1__AuditOutcome outcome;
        const char *actor;
    } entries[] = {
        {"operator.create", CROWNEST__V1__AUDIT_OUTCOME__AUDIT_OUTCOME_OK, "operator:local"},
        {"operator.login", CROWNEST__V1__AUDIT_OUTCOME__AUDIT_OUTCOME_OK, "operator:ada"},
        {"operator.login", CROWNEST__V1__AUDIT_OUTCOME__AUDIT_OUTCOME_DENIED, "anonymous"},
        {"operator.logout", CROWNEST__V1__AUDIT_OUTCOME__AUDIT_OUTCOME_OK, "operator:ada"},
        {"operator.set_password", CROWNEST__V1__AUDIT_OUTCOME__AUDIT_OUTCOME_OK, "operator:local"},
        {"operator.delete", CROWNEST__V1__AUDIT_OUTCOME__AUDIT_OUTCOME_OK, "operator:local"},
    };

    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        if (!is_audited(service, STEP_TEXT(entries[i].action), entries[i].outcome,
                        entries[i].actor))
            fail_msg("no entry says %s by %s", entries[i].action, entries[i].actor);
    }
}

/* Runs a line with `c`, the command line without a key, and a home of its own. */
static int cli(const struct service *service, const char *line)
{
    char script[LINE_SIZE];
    int size = snprintf(script, sizeof(script),
                        "c() { env -i HOME=%s/home CROWNEST_URL=127.0.0.1:%u tools/cli/crownest "
                        "\"$@\"; }; local=unix:%s/server/c.sock; home=%s/home; mkdir -p $home; %s",
                        service->dir, (unsigned)service->port, service->dir, service->dir, line);

    assert_in_range(size, 0, sizeof(script) - 1);
    return system(script);
}

static void the_command_line_logs_in_and_out(void **state)
{
    struct service *service = service_of(state);

    assert_int_equal(cli(service, "printf 'correct horse\\n' | "
                                  "c operators create grace --password-stdin --url $local"),
                     0);
    assert_int_not_equal(cli(service, "c whoami"), 0);
    assert_int_not_equal(cli(service, "echo wrong password | c login grace --password-stdin"), 0);
    assert_int_equal(cli(service, "echo correct horse | c login grace --password-stdin"), 0);
    assert_int_equal(cli(service, "c whoami | grep -q grace"), 0);
    assert_int_equal(cli(service, "c operators list | grep -q '^grace .* 1$'"), 0);
    assert_int_equal(cli(service, "c keys create >/dev/null"), 0);
    assert_int_equal(cli(service, "test $(stat -c %a $home/.config/crownest/sessions.json) = 600"),
                     0);
    /* One that others can read is not used. */
    assert_int_equal(cli(service, "chmod 644 $home/.config/crownest/sessions.json"), 0);
    assert_int_not_equal(cli(service, "c whoami"), 0);
    assert_int_equal(cli(service, "chmod 600 $home/.config/crownest/sessions.json"), 0);
    assert_int_equal(cli(service, "c logout"), 0);
    assert_int_not_equal(cli(service, "c whoami"), 0);
    assert_int_not_equal(cli(service, "c logout"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_is_an_operator_in_the_project_that_it_names),
        cmocka_unit_test(a_key_makes_no_operator),
        cmocka_unit_test(a_wrong_password_and_a_wrong_name_are_answered_alike),
        cmocka_unit_test(what_ends_a_session_ends_its_streams),
        cmocka_unit_test(who_did_not_log_in_cannot_log_out),
        cmocka_unit_test(what_was_done_stands_in_the_audit),
        cmocka_unit_test(the_command_line_logs_in_and_out),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
