/* Lists: pages that meet without gap or repetition, filters, and page requests that are refused. */
#include <stdio.h>
#include <string.h>

#include "bindings/c/crownest_key.h"
#include "bindings/c/crownest_preview.h"
#include "bindings/c/crownest_project.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define COMMANDS 7

/* One page of each list: the token and size are what is looked at. */
#define PAGE_OF(name, method, type, request_init)                                                  \
    static int name(struct crownest_client *client, char *page_token, uint32_t page_size,          \
                    struct crownest_error *error)                                                  \
    {                                                                                              \
        Crownest__V1__##type##Request request = request_init;                                      \
        Crownest__V1__##type##Response *response;                                                  \
                                                                                                   \
        request.page_token = page_token;                                                           \
        request.page_size = page_size;                                                             \
        int result = method(client, &request, NULL, &response, error);                             \
                                                                                                   \
        if (result == 0)                                                                           \
            protobuf_c_message_free_unpacked(&response->base, NULL);                               \
        return result;                                                                             \
    }

PAGE_OF(sandboxes, crownest_sandbox_list, ListSandboxes, CROWNEST__V1__LIST_SANDBOXES_REQUEST__INIT)
PAGE_OF(artifacts, crownest_artifact_list, ListArtifacts,
        CROWNEST__V1__LIST_ARTIFACTS_REQUEST__INIT)
PAGE_OF(previews, crownest_preview_list, ListPreviews, CROWNEST__V1__LIST_PREVIEWS_REQUEST__INIT)
PAGE_OF(keys, crownest_key_list, ListKeys, CROWNEST__V1__LIST_KEYS_REQUEST__INIT)
PAGE_OF(projects, crownest_project_list, ListProjects, CROWNEST__V1__LIST_PROJECTS_REQUEST__INIT)

static void a_bad_page_is_refused(void **state)
{
    struct service *service = service_of(state);
    int (*const lists[])(struct crownest_client *, char *, uint32_t, struct crownest_error *) = {
        sandboxes, artifacts, previews, keys, projects};
    char *const tokens[] = {STEP_TEXT("x"), STEP_TEXT("sbx_"), STEP_TEXT("../../x"),
                            STEP_TEXT("cmd_01h455vb4pex5vsknk084sn02q")};

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        struct crownest_error error = {0};

        assert_refused(lists[i](service->operator_client, STEP_TEXT(""), 501, &error), &error, 3,
                       "PAGE_SIZE_INVALID", "page_size");
        assert_refused(lists[i](service->operator_client, STEP_TEXT(""), UINT32_MAX, &error),
                       &error, 3, "PAGE_SIZE_INVALID", "page_size");
        for (size_t j = 0; j < sizeof(tokens) / sizeof(tokens[0]); j++)
            assert_refused(lists[i](service->operator_client, tokens[j], 0, &error), &error, 3,
                           "PAGE_TOKEN_INVALID", "page_token");
        assert_done(lists[i](service->operator_client, STEP_TEXT(""), 500, &error), &error);
    }
}

static void pages_meet_newest_first(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    char started[COMMANDS][STEP_ID_SIZE];
    char id[STEP_ID_SIZE];
    char token[STEP_ID_SIZE] = "";
    size_t seen = 0;

    step_create(client, "base", id);
    for (size_t i = 0; i < COMMANDS; i++)
        step_start(client, id, "true", started[i]);
    do {
        Crownest__V1__ListCommandsRequest request = CROWNEST__V1__LIST_COMMANDS_REQUEST__INIT;
        Crownest__V1__ListCommandsResponse *response;
        struct crownest_error error;

        request.sandbox_id = id;
        request.page_size = 3;
        request.page_token = token;
        assert_done(crownest_command_list(client, &request, NULL, &response, &error), &error);
        assert_true(response->n_commands <= 3);
        for (size_t i = 0; i < response->n_commands; i++, seen++)
            assert_string_equal(response->commands[i]->command_id, started[COMMANDS - 1 - seen]);
        (void)snprintf(token, sizeof(token), "%s", response->next_page_token);
        crownest__v1__list_commands_response__free_unpacked(response, NULL);
    } while (token[0] != '\0');
    assert_int_equal(seen, COMMANDS);
    step_kill(client, id);
}

static size_t in_state(struct crownest_client *client, Crownest__V1__SandboxState state)
{
    Crownest__V1__ListSandboxesRequest request = CROWNEST__V1__LIST_SANDBOXES_REQUEST__INIT;
    Crownest__V1__ListSandboxesResponse *response;
    struct crownest_error error;

    request.state = state;
    assert_done(crownest_sandbox_list(client, &request, NULL, &response, &error), &error);
    size_t count = response->n_sandboxes;

    crownest__v1__list_sandboxes_response__free_unpacked(response, NULL);
    return count;
}

static void sandboxes_are_listed_by_state_in_their_project(void **state)
{
    struct service *service = service_of(state);
    const Crownest__V1__SandboxState running = CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_RUNNING;
    const Crownest__V1__SandboxState killed = CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_KILLED;
    size_t killed_before = in_state(service->client, killed);
    char first[STEP_ID_SIZE];
    char second[STEP_ID_SIZE];

    step_create(service->client, "base", first);
    step_create(service->client, "base", second);
    assert_int_equal(in_state(service->client, running), 2);
    assert_int_equal(in_state(service->other, running), 0);
    step_kill(service->client, first);
    assert_int_equal(in_state(service->client, running), 1);
    assert_int_equal(in_state(service->client, killed), killed_before + 1);
    step_kill(service->client, second);
    assert_int_equal(in_state(service->client, running), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bad_page_is_refused),
        cmocka_unit_test(pages_meet_newest_first),
        cmocka_unit_test(sandboxes_are_listed_by_state_in_their_project),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
