/* The same request sent again makes one thing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/c/crownest_preview.h"
#include "tests/rpc/leftovers.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

static struct crownest_error error;

static int start(struct crownest_client *client, const char *request_id,
                 const Crownest__V1__CommandSpec *command, char ret_id[STEP_ID_SIZE])
{
    Crownest__V1__StartCommandRequest request = CROWNEST__V1__START_COMMAND_REQUEST__INIT;
    Crownest__V1__StartCommandResponse *response;

    request.request_id = STEP_TEXT(request_id);
    request.command = (Crownest__V1__CommandSpec *)(uintptr_t)command;
    int result = crownest_command_start(client, &request, NULL, &response, &error);

    if (result < 0)
        return result;
    (void)snprintf(ret_id, STEP_ID_SIZE, "%s", response->command->command_id);
    crownest__v1__start_command_response__free_unpacked(response, NULL);
    return 0;
}

static int open_preview(struct crownest_client *client, const char *request_id,
                        const char *sandbox_id, char ret_id[STEP_ID_SIZE],
                        char ret_token[STEP_ID_SIZE])
{
    Crownest__V1__CreatePreviewRequest request = CROWNEST__V1__CREATE_PREVIEW_REQUEST__INIT;
    Crownest__V1__CreatePreviewResponse *response;

    request.request_id = STEP_TEXT(request_id);
    request.sandbox_id = STEP_TEXT(sandbox_id);
    request.port = 8080;
    int result = crownest_preview_create(client, &request, NULL, &response, &error);

    if (result < 0)
        return result;
    (void)snprintf(ret_id, STEP_ID_SIZE, "%s", response->preview->preview_id);
    (void)snprintf(ret_token, STEP_ID_SIZE, "%s", response->token);
    crownest__v1__create_preview_response__free_unpacked(response, NULL);
    return 0;
}

static void a_request_sent_twice_makes_one_thing(void **state)
{
    struct service *service = service_of(state);
    struct crownest_client *client = service->client;
    char ids[2][STEP_ID_SIZE];
    char tokens[2][STEP_ID_SIZE];
    char sandbox_id[STEP_ID_SIZE];

    assert_done(step_try_create(client, "twice-1", "base", sandbox_id, &error), &error);
    struct leftovers before = leftovers_count(service, sandbox_id);

    assert_done(step_try_create(client, "twice-1", "base", ids[0], &error), &error);
    assert_string_equal(ids[0], sandbox_id);
    Crownest__V1__CommandSpec command = step_shell(sandbox_id, "echo once >> count");

    for (size_t i = 0; i < 2; i++)
        assert_done(start(client, "twice-2", &command, ids[i]), &error);
    assert_string_equal(ids[0], ids[1]);
    for (size_t i = 0; i < 2; i++)
        assert_done(step_try_collect(client, "twice-3", sandbox_id, "/etc/passwd", ids[i], &error),
                    &error);
    assert_string_equal(ids[0], ids[1]);
    for (size_t i = 0; i < 2; i++)
        assert_done(open_preview(client, "twice-4", sandbox_id, ids[i], tokens[i]), &error);
    assert_string_equal(ids[0], ids[1]);
    assert_string_not_equal(tokens[0], tokens[1]);
    struct leftovers after = leftovers_count(service, sandbox_id);

    assert_int_equal(after.sandboxes, before.sandboxes);
    assert_int_equal(after.commands, before.commands + 1);
    assert_int_equal(after.artifacts, before.artifacts + 1);
    assert_int_equal(after.previews, before.previews + 1);
    step_kill(client, sandbox_id);
}

/* The answer is the first one's, also when what it speaks of has ended since. */
static void an_answer_outlives_what_it_speaks_of(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    char ids[2][STEP_ID_SIZE];
    char previews[2][STEP_ID_SIZE];
    char token[STEP_ID_SIZE];
    char sandbox_id[STEP_ID_SIZE];
    char again[STEP_ID_SIZE];

    assert_done(step_try_create(client, "later-1", "base", sandbox_id, &error), &error);
    Crownest__V1__CommandSpec command = step_shell(sandbox_id, "true");

    assert_done(start(client, "later-2", &command, ids[0]), &error);
    assert_done(open_preview(client, "later-3", sandbox_id, previews[0], token), &error);
    step_kill(client, sandbox_id);
    assert_done(step_try_create(client, "later-1", "base", again, &error), &error);
    assert_string_equal(again, sandbox_id);
    assert_done(start(client, "later-2", &command, ids[1]), &error);
    assert_string_equal(ids[0], ids[1]);
    assert_done(open_preview(client, "later-3", sandbox_id, previews[1], token), &error);
    assert_string_equal(previews[0], previews[1]);
}

static void an_id_is_not_taken_for_another_request(void **state)
{
    struct service *service = service_of(state);
    char sandbox_id[STEP_ID_SIZE];
    char other_id[STEP_ID_SIZE];
    char unused[STEP_ID_SIZE];

    assert_done(step_try_create(service->client, "reused", "base", sandbox_id, &error), &error);
    struct leftovers before = leftovers_count(service, sandbox_id);

    assert_refused(step_try_create(service->client, "reused", "python", unused, &error), &error, 3,
                   "REQUEST_ID_REUSED", "request_id");
    Crownest__V1__CommandSpec command = step_shell(sandbox_id, "true");

    assert_refused(start(service->client, "reused", &command, unused), &error, 3,
                   "REQUEST_ID_REUSED", "request_id");
    assert_nothing_left(service, sandbox_id, &before, "a request id used for another request");
    assert_done(step_try_create(service->other, "reused", "base", other_id, &error), &error);
    assert_string_not_equal(other_id, sandbox_id);
    step_kill(service->other, other_id);
    step_kill(service->client, sandbox_id);
}

/* Nothing was done, so there is nothing to be done only once. */
static void a_refused_request_may_be_sent_again(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    char sandbox_id[STEP_ID_SIZE];
    char id[STEP_ID_SIZE];

    step_create(client, "base", sandbox_id);
    Crownest__V1__CommandSpec command = step_shell(sandbox_id, "true");

    command.cwd = STEP_TEXT("/workspace/later");
    assert_refused(start(client, "refused", &command, id), &error, 9, "CWD_NOT_A_DIRECTORY",
                   "command.cwd");
    step_do(client, sandbox_id, "mkdir later");
    assert_done(start(client, "refused", &command, id), &error);
    step_kill(client, sandbox_id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_sent_twice_makes_one_thing),
        cmocka_unit_test(an_answer_outlives_what_it_speaks_of),
        cmocka_unit_test(an_id_is_not_taken_for_another_request),
        cmocka_unit_test(a_refused_request_may_be_sent_again),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup_pooled, service_teardown);
}
