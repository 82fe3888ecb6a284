/* The audit of a whole service: who did what, for whom it can be read, and that it can be proven.
 */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bindings/c/crownest_audit.h"
#include "bindings/c/crownest_key.h"
#include "bindings/c/crownest_preview.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"
#include "tests/rpc/visitor.h"

#define INVALID_ARGUMENT 3
#define PERMISSION_DENIED 7
#define UNAUTHENTICATED 16
#define CLI "tools/cli/crownest"

#define OK CROWNEST__V1__AUDIT_OUTCOME__AUDIT_OUTCOME_OK
#define DENIED CROWNEST__V1__AUDIT_OUTCOME__AUDIT_OUTCOME_DENIED
#define BEGUN CROWNEST__V1__AUDIT_OUTCOME__AUDIT_OUTCOME_BEGUN
#define FAILED CROWNEST__V1__AUDIT_OUTCOME__AUDIT_OUTCOME_FAILED

static struct crownest_error error;

typedef Crownest__V1__AuditEntry Entry;

/* The entries about a resource, newest first. */
static Crownest__V1__ListAuditResponse *list(struct crownest_client *client, const char *resource,
                                             const char *actor, const char *action)
{
    Crownest__V1__ListAuditRequest request = CROWNEST__V1__LIST_AUDIT_REQUEST__INIT;
    Crownest__V1__ListAuditResponse *response;

    request.page_size = 500;
    request.resource_id = STEP_TEXT(resource);
    request.actor = STEP_TEXT(actor);
    request.action = STEP_TEXT(action);
    assert_done(crownest_audit_list(client, &request, NULL, &response, &error), &error);
    return response;
}

static void list_free(Crownest__V1__ListAuditResponse *response)
{
    crownest__v1__list_audit_response__free_unpacked(response, NULL);
}

static void my_key_id(struct crownest_client *client, char ret_id[STEP_ID_SIZE])
{
    Crownest__V1__WhoAmIRequest request = CROWNEST__V1__WHO_AM_IREQUEST__INIT;
    Crownest__V1__WhoAmIResponse *response;

    assert_done(crownest_key_who_am_i(client, &request, NULL, &response, &error), &error);
    (void)snprintf(ret_id, STEP_ID_SIZE, "%s", response->key->key_id);
    crownest__v1__who_am_iresponse__free_unpacked(response, NULL);
}

/* Whether the oldest entries are these, each "action outcome actor"; the rest does not matter. */
static void assert_tells(const Crownest__V1__ListAuditResponse *entries,
                         const char *const expected[], const char *key_id)
{
    size_t at = entries->n_entries;

    for (size_t i = 0; expected[i]; i++) {
        char text[160];
        char wanted[160];

        assert_true(at > 0);
        const Entry *entry = entries->entries[--at];

        (void)snprintf(text, sizeof(text), "%s %d %s", entry->action, (int)entry->outcome,
                       strcmp(entry->actor, key_id) == 0 ? "key" : entry->actor);
        (void)snprintf(wanted, sizeof(wanted), "%s", expected[i]);
        assert_string_equal(text, wanted);
        assert_int_equal(entry->request_id[0] != '\0', strcmp(entry->actor, "system") != 0);
    }
    assert_int_equal(at, 0);
}

static void a_life_is_told_in_full(void **state)
{
    static const char *const expected[] = {
        "sandbox.create 4 key",   "sandbox.create 1 key",
        "command.start 1 key",    "command.end 1 system",
        "artifact.collect 1 key", "sandbox.pause 1 key",
        "sandbox.resume 4 key",   "sandbox.resume 1 key",
        "command.start 1 key",    "command.cancel 4 key",
        "command.end 1 system",   "sandbox.kill 4 key",
        "sandbox.end 1 key",      NULL,
    };
    struct service *service = service_of(state);
    Crownest__V1__PauseSandboxRequest pause = CROWNEST__V1__PAUSE_SANDBOX_REQUEST__INIT;
    Crownest__V1__PauseSandboxResponse *paused;
    Crownest__V1__ResumeSandboxRequest resume = CROWNEST__V1__RESUME_SANDBOX_REQUEST__INIT;
    Crownest__V1__ResumeSandboxResponse *resumed;
    Crownest__V1__CancelCommandRequest cancel = CROWNEST__V1__CANCEL_COMMAND_REQUEST__INIT;
    Crownest__V1__CancelCommandResponse *cancelled;
    char sandbox[STEP_ID_SIZE];
    char artifact[STEP_ID_SIZE];
    char command[STEP_ID_SIZE];
    char key_id[STEP_ID_SIZE];

    my_key_id(service->client, key_id);
    step_create(service->client, "base", sandbox);
    step_do(service->client, sandbox, "echo kept >/workspace/kept");
    assert_done(step_try_collect(service->client, "", sandbox, "/workspace/kept", artifact, &error),
                &error);
    pause.sandbox_id = sandbox;
    assert_done(crownest_sandbox_pause(service->client, &pause, NULL, &paused, &error), &error);
    crownest__v1__pause_sandbox_response__free_unpacked(paused, NULL);
    resume.sandbox_id = sandbox;
    assert_done(crownest_sandbox_resume(service->client, &resume, NULL, &resumed, &error), &error);
    crownest__v1__resume_sandbox_response__free_unpacked(resumed, NULL);
    step_start(service->client, sandbox, "sleep 1000", command);
    cancel.command_id = command;
    assert_done(crownest_command_cancel(service->client, &cancel, NULL, &cancelled, &error),
                &error);
    crownest__v1__cancel_command_response__free_unpacked(cancelled, NULL);
    step_kill(service->client, sandbox);

    Crownest__V1__ListAuditResponse *entries = list(service->client, sandbox, "", "");

    assert_tells(entries, expected, key_id);
    assert_string_equal(entries->entries[0]->reason, "KILLED");
    assert_string_equal(entries->entries[2]->reason, "CANCELLED");
    list_free(entries);
    Crownest__V1__Sandbox *tombstone = step_sandbox(service->client, sandbox);

    assert_string_equal(tombstone->created_by, key_id);
    assert_string_equal(tombstone->ended_by, key_id);
    crownest__v1__sandbox__free_unpacked(tombstone, NULL);
    entries = list(service->client, artifact, "", "");
    assert_int_equal(entries->n_entries, 1);
    assert_string_equal(entries->entries[0]->sandbox_id, sandbox);
    list_free(entries);
}

/* A command that cannot be started leaves no record, but it was asked for. */
static void what_could_not_be_done_is_told(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__StartCommandRequest start = CROWNEST__V1__START_COMMAND_REQUEST__INIT;
    Crownest__V1__StartCommandResponse *started;
    char *argv[] = {STEP_TEXT("/no/such/program")};
    Crownest__V1__CommandSpec spec = CROWNEST__V1__COMMAND_SPEC__INIT;
    char sandbox[STEP_ID_SIZE];

    step_create(service->client, "base", sandbox);
    spec.sandbox_id = sandbox;
    spec.argv = argv;
    spec.n_argv = 1;
    start.command = &spec;
    assert_true(crownest_command_start(service->client, &start, NULL, &started, &error) < 0);
    Crownest__V1__ListAuditResponse *entries = list(service->client, sandbox, "", "command.start");

    assert_int_equal(entries->n_entries, 2);
    assert_int_equal(entries->entries[0]->outcome, FAILED);
    assert_string_equal(entries->entries[0]->reason, "EXEC_FAILED");
    list_free(entries);
    step_kill(service->client, sandbox);
}

static void keys_are_told_of(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__CreateKeyRequest create = CROWNEST__V1__CREATE_KEY_REQUEST__INIT;
    Crownest__V1__CreateKeyResponse *created;
    Crownest__V1__RevokeKeyRequest revoke = CROWNEST__V1__REVOKE_KEY_REQUEST__INIT;
    Crownest__V1__RevokeKeyResponse *revoked;

    create.label = STEP_TEXT("for the audit");
    assert_done(crownest_key_create(service->operator_client, &create, NULL, &created, &error),
                &error);
    revoke.key_id = created->key->key_id;
    assert_done(crownest_key_revoke(service->operator_client, &revoke, NULL, &revoked, &error),
                &error);
    Crownest__V1__ListAuditResponse *entries =
        list(service->operator_client, created->key->key_id, "", "");

    assert_int_equal(entries->n_entries, 2);
    assert_string_equal(entries->entries[0]->action, "key.revoke");
    assert_string_equal(entries->entries[1]->action, "key.create");
    assert_string_equal(entries->entries[1]->actor, "operator:local");
    assert_string_equal(entries->entries[1]->detail, "for the audit");
    list_free(entries);
    crownest__v1__revoke_key_response__free_unpacked(revoked, NULL);
    crownest__v1__create_key_response__free_unpacked(created, NULL);
}

static int try_create(struct crownest_client *client)
{
    char id[STEP_ID_SIZE];

    return step_try_create(client, "", "base", id, &error);
}

static void refusals_are_told(void **state)
{
    struct service *service = service_of(state);
    static const char *const scopes[] = {"audit:read", NULL};
    char secret[SERVICE_SECRET_SIZE];
    char key_id[STEP_ID_SIZE];

    service_mint(service, "", scopes, secret);
    struct crownest_client *reader = service_client(service, secret);
    struct crownest_client *nobody = service_client(service, "");

    my_key_id(reader, key_id);
    assert_refused(try_create(reader), &error, PERMISSION_DENIED, "SCOPE_MISSING", "");
    assert_refused(try_create(nobody), &error, UNAUTHENTICATED, "KEY_MISSING", "");
    Crownest__V1__ListAuditResponse *mine = list(reader, "", key_id, "");
    Crownest__V1__ListAuditRequest all = CROWNEST__V1__LIST_AUDIT_REQUEST__INIT;
    Crownest__V1__ListAuditResponse *anonymous;

    assert_int_equal(mine->n_entries, 1);
    assert_string_equal(mine->entries[0]->action, "sandbox.create");
    assert_int_equal(mine->entries[0]->outcome, DENIED);
    assert_string_equal(mine->entries[0]->reason, "SCOPE_MISSING");
    all.actor = STEP_TEXT("anonymous");
    all.outcome = DENIED;
    all.all_projects = true;
    assert_done(crownest_audit_list(service->operator_client, &all, NULL, &anonymous, &error),
                &error);
    assert_true(anonymous->n_entries > 0);
    assert_string_equal(anonymous->entries[0]->reason, "KEY_MISSING");
    list_free(anonymous);
    list_free(mine);
    crownest_client_free(nobody);
    crownest_client_free(reader);
}

static void a_key_reads_its_own_project_alone(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__ListAuditRequest all = CROWNEST__V1__LIST_AUDIT_REQUEST__INIT;
    Crownest__V1__ListAuditResponse *response;
    char sandbox[STEP_ID_SIZE];

    step_create(service->client, "base", sandbox);
    step_kill(service->client, sandbox);
    response = list(service->other, sandbox, "", "");
    assert_int_equal(response->n_entries, 0);
    list_free(response);
    all.all_projects = true;
    assert_refused(crownest_audit_list(service->other, &all, NULL, &response, &error), &error,
                   PERMISSION_DENIED, "OPERATOR_ONLY", "all_projects");
    all.resource_id = sandbox;
    assert_done(crownest_audit_list(service->operator_client, &all, NULL, &response, &error),
                &error);
    assert_true(response->n_entries >= 4);
    list_free(response);
}

static void wrong_filters_are_refused(void **state)
{
    struct service *service = service_of(state);
    static const struct {
        const char *actor;
        const char *action;
        const char *token;
        uint32_t size;
        const char *reason;
        const char *field;
    } wrong[] = {
        {"key_/../", "", "", 0, "FILTER_INVALID", "actor"},
        {"", "sandbox create", "", 0, "FILTER_INVALID", "action"},
        {"", "", "nonsense", 0, "PAGE_TOKEN_INVALID", "page_token"},
        {"", "", "", 501, "PAGE_SIZE_INVALID", "page_size"},
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        Crownest__V1__ListAuditRequest request = CROWNEST__V1__LIST_AUDIT_REQUEST__INIT;
        Crownest__V1__ListAuditResponse *response;

        request.actor = STEP_TEXT(wrong[i].actor);
        request.action = STEP_TEXT(wrong[i].action);
        request.page_token = STEP_TEXT(wrong[i].token);
        request.page_size = wrong[i].size;
        assert_refused(crownest_audit_list(service->client, &request, NULL, &response, &error),
                       &error, INVALID_ARGUMENT, wrong[i].reason, wrong[i].field);
    }
}

/* Pages hold each entry once, whatever their size. */
static void pages_are_complete(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__ListAuditResponse *whole = list(service->client, "", "", "");
    Crownest__V1__ListAuditRequest request = CROWNEST__V1__LIST_AUDIT_REQUEST__INIT;
    char token[64] = "";
    size_t seen = 0;

    request.page_size = 7;
    do {
        Crownest__V1__ListAuditResponse *page;

        request.page_token = token;
        assert_done(crownest_audit_list(service->client, &request, NULL, &page, &error), &error);
        for (size_t i = 0; i < page->n_entries; i++, seen++)
            assert_true(seen < whole->n_entries &&
                        page->entries[i]->sequence == whole->entries[seen]->sequence);
        (void)snprintf(token, sizeof(token), "%s", page->next_page_token);
        list_free(page);
    } while (token[0]);
    assert_int_equal(seen, whole->n_entries);
    list_free(whole);
}

/* Following */

struct follower {
    struct crownest_audit_watch_reader *reader;
    uint64_t after;
};

static void follow(struct follower *follower, struct crownest_client *client, uint64_t after,
                   const char *action)
{
    Crownest__V1__WatchAuditRequest request = CROWNEST__V1__WATCH_AUDIT_REQUEST__INIT;
    char *actions[] = {STEP_TEXT(action)};

    request.after_sequence = after;
    request.live_only = after == 0;
    request.actions = actions;
    request.n_actions = 1;
    assert_done(crownest_audit_watch_open(client, &request, NULL, &follower->reader, &error),
                &error);
    follower->after = after;
}

/* The next entry's resource. */
static void await_entry(struct follower *follower, char ret_resource[STEP_ID_SIZE])
{
    ret_resource[0] = '\0';
    while (!ret_resource[0]) {
        Crownest__V1__WatchAuditResponse *response;
        int r = crownest_audit_watch_next(follower->reader, &response, &error);

        if (r <= 0)
            fail_msg("the watch ended: %s", r < 0 ? error.message : "");
        assert_true(response->sequence >= follower->after);
        follower->after = response->sequence;
        if (response->entry)
            (void)snprintf(ret_resource, STEP_ID_SIZE, "%s", response->entry->resource_id);
        crownest__v1__watch_audit_response__free_unpacked(response, NULL);
    }
}

/* Each end once, in order, across a death of the service and of the connection. */
static void a_watch_goes_on_where_it_was(void **state)
{
    struct service *service = service_of(state);
    struct follower follower;
    char sandboxes[3][STEP_ID_SIZE];
    char heard[STEP_ID_SIZE];
    Crownest__V1__WatchAuditResponse *first;

    follow(&follower, service->client, 0, "sandbox.end");
    /* It has begun: nothing from here on is missed. */
    assert_int_equal(crownest_audit_watch_next(follower.reader, &first, &error), 1);
    assert_null(first->entry);
    follower.after = first->sequence;
    crownest__v1__watch_audit_response__free_unpacked(first, NULL);
    for (size_t i = 0; i < 3; i++)
        step_create(service->client, "base", sandboxes[i]);
    step_kill(service->client, sandboxes[0]);
    /* Begun, and done. */
    await_entry(&follower, heard);
    assert_string_equal(heard, sandboxes[0]);
    step_kill(service->client, sandboxes[1]);
    service_crash_crownestd(service);
    crownest_audit_watch_free(follower.reader);
    service_come_back(service);
    step_kill(service->client, sandboxes[2]);
    follow(&follower, service->client, follower.after, "sandbox.end");
    await_entry(&follower, heard);
    assert_string_equal(heard, sandboxes[1]);
    await_entry(&follower, heard);
    assert_string_equal(heard, sandboxes[2]);
    crownest_audit_watch_free(follower.reader);
}

/* Previews */

struct preview {
    char id[STEP_ID_SIZE];
    char host[256];
    char token[128];
};

static void open_preview(struct service *service, const char *sandbox, struct preview *ret_preview)
{
    Crownest__V1__CreatePreviewRequest request = CROWNEST__V1__CREATE_PREVIEW_REQUEST__INIT;
    Crownest__V1__CreatePreviewResponse *response;

    request.sandbox_id = STEP_TEXT(sandbox);
    request.port = 8080;
    assert_done(crownest_preview_create(service->client, &request, NULL, &response, &error),
                &error);
    (void)snprintf(ret_preview->id, sizeof(ret_preview->id), "%s", response->preview->preview_id);
    (void)snprintf(ret_preview->token, sizeof(ret_preview->token), "%s", response->token);
    assert_int_equal(sscanf(response->preview->url, "http://%255[^/]/", ret_preview->host), 1);
    crownest__v1__create_preview_response__free_unpacked(response, NULL);
}

static unsigned visit(const struct service *service, const struct preview *preview,
                      const char *path, const char *header)
{
    int fd = visitor_connect(service->port);

    visitor_sendf(fd, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", path, preview->host, header);
    struct answer answer = visitor_answer(fd);
    unsigned status = answer.status;

    answer_done(&answer);
    (void)close(fd);
    return status;
}

static void visitors_are_told_of_once(void **state)
{
    struct service *service = service_of(state);
    struct follower follower;
    struct preview preview;
    char sandbox[STEP_ID_SIZE];
    char heard[STEP_ID_SIZE];
    char path[256];
    char header[256];

    step_create(service->client, "base", sandbox);
    open_preview(service, sandbox, &preview);
    follow(&follower, service->client, 1, "preview.visit");
    (void)snprintf(path, sizeof(path), "/?crownest_token=%s", preview.token);
    assert_int_equal(visit(service, &preview, path, ""), 303);
    await_entry(&follower, heard);
    assert_string_equal(heard, preview.id);
    (void)snprintf(header, sizeof(header), "X-CrowNest-Preview-Token: %s\r\n", preview.token);
    /* Nothing listens there. */
    assert_int_equal(visit(service, &preview, "/", header), 502);
    assert_int_equal(visit(service, &preview, "/", header), 502);
    await_entry(&follower, heard);
    assert_int_equal(visit(service, &preview, "/", ""), 401);
    await_entry(&follower, heard);
    Crownest__V1__ListAuditResponse *visits =
        list(service->client, preview.id, "", "preview.visit");

    assert_int_equal(visits->n_entries, 3);
    assert_string_equal(visits->entries[0]->reason, "TOKEN_WRONG");
    assert_int_equal(visits->entries[0]->outcome, DENIED);
    assert_string_equal(visits->entries[1]->reason, "TOKEN_IN_HEADER");
    assert_string_equal(visits->entries[2]->reason, "TOKEN_IN_URL");
    assert_string_equal(visits->entries[2]->actor, "visitor");
    list_free(visits);
    crownest_audit_watch_free(follower.reader);
    step_kill(service->client, sandbox);
}

/* Proof */

static int cli(const char *const args[], const char *output)
{
    char *argv[8] = {STEP_TEXT(CLI)};
    char *environment[] = {NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status;

    for (size_t i = 0; args[i]; i++)
        argv[i + 1] = STEP_TEXT(args[i]);
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_addopen(&actions, 1, output, 01 | 0100 | 01000, 0600);
    assert_int_equal(posix_spawn(&pid, CLI, &actions, NULL, argv, environment), 0);
    (void)posix_spawn_file_actions_destroy(&actions);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void flip(const char *path, long at)
{
    FILE *file = fopen(path, "r+e");

    assert_non_null(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    int c = getc(file);

    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    assert_int_equal(putc(c ^ 1, file), c ^ 1);
    (void)fclose(file);
}

static void an_export_verifies_after_a_crash(void **state)
{
    struct service *service = service_of(state);
    char url[256];
    char path[256];
    char verdict[256];
    char key_file[256];
    char key[80] = "";

    service_crash_crownestd(service);
    service_come_back(service);
    (void)snprintf(url, sizeof(url), "unix:%s/server/c.sock", service->dir);
    (void)snprintf(path, sizeof(path), "%s/export", service->dir);
    (void)snprintf(verdict, sizeof(verdict), "%s/verdict", service->dir);
    (void)snprintf(key_file, sizeof(key_file), "%s/key", service->dir);
    assert_int_equal(cli((const char *const[]){"audit", "export", "--url", url, NULL}, path), 0);
    assert_int_equal(cli((const char *const[]){"audit", "key", "--url", url, NULL}, key_file), 0);
    FILE *in = fopen(key_file, "re");

    assert_non_null(in);
    assert_int_equal(fscanf(in, "%79s", key), 1);
    (void)fclose(in);
    assert_int_equal(
        cli((const char *const[]){"audit", "verify", "--key", key, path, NULL}, verdict), 0);
    flip(path, 200);
    assert_int_equal(
        cli((const char *const[]){"audit", "verify", "--key", key, path, NULL}, verdict), 1);
    (void)unlink(path);
    (void)unlink(verdict);
    (void)unlink(key_file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_life_is_told_in_full),
        cmocka_unit_test(what_could_not_be_done_is_told),
        cmocka_unit_test(keys_are_told_of),
        cmocka_unit_test(refusals_are_told),
        cmocka_unit_test(a_key_reads_its_own_project_alone),
        cmocka_unit_test(wrong_filters_are_refused),
        cmocka_unit_test(pages_are_complete),
        cmocka_unit_test(visitors_are_told_of_once),
        cmocka_unit_test(a_watch_goes_on_where_it_was),
        cmocka_unit_test(an_export_verifies_after_a_crash),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
