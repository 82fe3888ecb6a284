/* Plans are put all or none, through the service and from files, and stay while a project has them.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/rpc/plans.h"
#include "tests/rpc/steps.h"

#define CLI "tools/cli/crownest"
#define SHIPPED "tools/plans/plans.json"
#define INVALID_ARGUMENT 3
#define NOT_FOUND 5
#define PERMISSION_DENIED 7
#define RESOURCE_EXHAUSTED 8
#define FAILED_PRECONDITION 9
#define OUTPUT_SIZE 4096

static struct crownest_error error;

static size_t count_plans(const struct service *service)
{
    Crownest__V1__ListPlansRequest request = CROWNEST__V1__LIST_PLANS_REQUEST__INIT;
    Crownest__V1__ListPlansResponse *response;

    assert_done(crownest_plan_list(service->operator_client, &request, NULL, &response, &error),
                &error);
    size_t count = response->n_plans;

    for (size_t i = 1; i < count; i++)
        assert_true(strcmp(response->plans[i - 1]->name, response->plans[i]->name) < 0);
    crownest__v1__list_plans_response__free_unpacked(response, NULL);
    return count;
}

/* The command line with a file of plans; its stdout and stderr together. */
static int apply(const struct service *service, const char *path, char output[OUTPUT_SIZE])
{
    char url[SERVICE_PATH_SIZE];
    char *argv[] = {(char *)CLI,
                    (char *)"plans",
                    (char *)"apply",
                    (char *)"--url",
                    url,
                    (char *)(uintptr_t)path,
                    NULL};
    char *environment[] = {NULL};
    posix_spawn_file_actions_t actions;
    int pipe_fds[2];
    int status;
    pid_t pid;
    size_t size = 0;
    ssize_t got;

    (void)snprintf(url, sizeof(url), "unix:%s/server/c.sock", service->dir);
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], 1);
    (void)posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], 2);
    assert_int_equal(posix_spawn(&pid, CLI, &actions, NULL, argv, environment), 0);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(pipe_fds[1]);
    while ((got = read(pipe_fds[0], output + size, OUTPUT_SIZE - 1 - size)) > 0)
        size += (size_t)got;
    output[size] = '\0';
    (void)close(pipe_fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int apply_text(const struct service *service, const char *text, char output[OUTPUT_SIZE])
{
    char path[SERVICE_PATH_SIZE];

    (void)snprintf(path, sizeof(path), "%s/plans.json", service->dir);
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    int code = apply(service, path, output);

    (void)unlink(path);
    return code;
}

#define GOOD "{\"name\": \"good\", \"maxSandboxes\": 3}"

static void a_wrong_file_changes_nothing_and_is_told_where(void **state)
{
    static const struct {
        const char *text;
        const char *says[2];
    } wrong[] = {
        {"[" GOOD ", {\"name\": \"bad\", \"maxSandbox\": 2}]", {"plan `bad`", "maxSandbox"}},
        {"[" GOOD ", {\"name\": \"bad\", \"maxSandboxes\": -2}]", {"plan `bad`", "maxSandboxes"}},
        {"[" GOOD ", {\"name\": \"bad\", \"maxSandboxes\": 1025}]",
         {"plan `bad`", "max_sandboxes is from 1 to 1024"}},
        {"[" GOOD ", {\"name\": \"bad\", \"maxTtl\": \"0s\"}]",
         {"plan `bad`", "max_ttl is from 1 to 86400 seconds"}},
        {"[" GOOD ", {\"name\": \"bad\", \"maxTtl\": \"25h\"}]",
         {"plan `bad`", "max_ttl is from 1 to 86400 seconds"}},
        {"[" GOOD ", {\"name\": \"bad\", \"maxLogRetention\": \"3651d\"}]",
         {"plan `bad`", "max_log_retention is from 1 to 315360000 seconds"}},
        {"[" GOOD ", {\"name\": \"bad\", \"maxMemoryBytes\": 1}]",
         {"plan `bad`", "max_memory_bytes is from"}},
        {"[" GOOD ", {\"name\": \"bad\", \"features\": {\"artifacts\": \"yes\"}}]",
         {"plan `bad`", "features.artifacts"}},
        {"[" GOOD ", {\"name\": \"Bad\"}]", {"plan `Bad`", "name is [a-z]"}},
        {"[" GOOD ", {\"maxSandboxes\": 2}]", {"plan 2", "name is [a-z]"}},
        {"[" GOOD ", " GOOD "]", {"plan `good`", "two plans `good`"}},
        {"[" GOOD ", {\"name\": \"self-hosted\"}]", {"plan `self-hosted`", "built in"}},
        {"[]", {"the file", "from 1 to 200 plans"}},
        {"[" GOOD "", {"line 1", "Nothing was applied"}},
    };
    struct service *service = service_of(state);
    char output[OUTPUT_SIZE];
    size_t before = count_plans(service);

    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        int code = apply_text(service, wrong[i].text, output);

        if (code != 1 || !strstr(output, "plans.json: ") || !strstr(output, wrong[i].says[0]) ||
            !strstr(output, wrong[i].says[1]) || !strstr(output, "Nothing was applied"))
            fail_msg("%s: %d: %s", wrong[i].text, code, output);
        assert_int_equal(count_plans(service), before);
    }
    assert_int_equal(apply(service, "/nowhere/plans.json", output), 1);
    assert_non_null(strstr(output, "/nowhere/plans.json"));
}

static void the_plans_that_are_shipped_are_taken_twice(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__GetPlanRequest request = CROWNEST__V1__GET_PLAN_REQUEST__INIT;
    Crownest__V1__GetPlanResponse *response;
    char output[OUTPUT_SIZE];
    size_t before = count_plans(service);

    for (int i = 0; i < 2; i++) {
        if (apply(service, SHIPPED, output) != 0)
            fail_msg("%s", output);
        assert_string_equal(output, "starter\nteam\nscale\n");
        assert_int_equal(count_plans(service), before + 3);
    }
    request.name = STEP_TEXT("starter");
    assert_done(crownest_plan_get(service->operator_client, &request, NULL, &response, &error),
                &error);
    assert_int_equal(response->plan->max_sandboxes, 2);
    assert_int_equal(response->plan->max_ttl->seconds, 3600);
    assert_false(response->plan->features->artifacts);
    crownest__v1__get_plan_response__free_unpacked(response, NULL);
    request.name = STEP_TEXT("");
    assert_done(crownest_plan_get(service->operator_client, &request, NULL, &response, &error),
                &error);
    assert_string_equal(response->plan->name, "self-hosted");
    assert_true(response->plan->features->artifacts);
    crownest__v1__get_plan_response__free_unpacked(response, NULL);
}

static int delete (const struct service *service, const char *name)
{
    Crownest__V1__DeletePlanRequest request = CROWNEST__V1__DELETE_PLAN_REQUEST__INIT;
    Crownest__V1__DeletePlanResponse *response;

    request.name = STEP_TEXT(name);
    int result = crownest_plan_delete(service->operator_client, &request, NULL, &response, &error);

    if (result == 0)
        crownest__v1__delete_plan_response__free_unpacked(response, NULL);
    return result;
}

static void a_plan_that_a_project_has_stays(void **state)
{
    struct service *service = service_of(state);
    struct test_plan plan;

    test_plan_init(&plan, "used");
    test_plan_use(service, &plan);
    assert_refused(delete (service, "used"), &error, FAILED_PRECONDITION, "PLAN_IN_USE", "name");
    assert_done(test_plan_give(service, "self-hosted", &error), &error);
    assert_done(delete (service, "used"), &error);
    assert_refused(delete (service, "used"), &error, NOT_FOUND, "PLAN_NOT_FOUND", "name");
    assert_refused(delete (service, "self-hosted"), &error, INVALID_ARGUMENT, "PLANS_INVALID",
                   "name");
    assert_refused(test_plan_give(service, "used", &error), &error, NOT_FOUND, "PLAN_NOT_FOUND",
                   "plan");
    assert_refused(test_plan_give(service, "a/b", &error), &error, NOT_FOUND, "PLAN_NOT_FOUND",
                   "plan");
}

static void there_are_so_many_plans_and_no_more(void **state)
{
    static char names[200][16];
    static struct test_plan many[200];
    struct service *service = service_of(state);
    Crownest__V1__Plan *plans[200];
    size_t room = 200 - count_plans(service);

    for (size_t i = 0; i < 200; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "many-%zu", i);
        test_plan_init(&many[i], names[i]);
        plans[i] = &many[i].plan;
    }
    assert_refused(test_plan_put(service, plans, room + 1, &error), &error, RESOURCE_EXHAUSTED,
                   "PLAN_LIMIT", "");
    assert_done(test_plan_put(service, plans, room, &error), &error);
    /* Putting one that is there is no more than there are. */
    assert_done(test_plan_put(service, plans, 1, &error), &error);
    assert_refused(test_plan_put(service, &plans[room], 1, &error), &error, RESOURCE_EXHAUSTED,
                   "PLAN_LIMIT", "");
    for (size_t i = 0; i < room; i++)
        assert_done(delete (service, names[i]), &error);
}

static void plans_are_for_operators(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__ListPlansRequest list = CROWNEST__V1__LIST_PLANS_REQUEST__INIT;
    Crownest__V1__ListPlansResponse *listed;
    Crownest__V1__DeletePlanRequest remove = CROWNEST__V1__DELETE_PLAN_REQUEST__INIT;
    Crownest__V1__DeletePlanResponse *removed;

    assert_refused(crownest_plan_list(service->client, &list, NULL, &listed, &error), &error,
                   PERMISSION_DENIED, "OPERATOR_ONLY", "");
    assert_refused(crownest_plan_delete(service->client, &remove, NULL, &removed, &error), &error,
                   PERMISSION_DENIED, "OPERATOR_ONLY", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_file_changes_nothing_and_is_told_where),
        cmocka_unit_test(the_plans_that_are_shipped_are_taken_twice),
        cmocka_unit_test(a_plan_that_a_project_has_stays),
        cmocka_unit_test(there_are_so_many_plans_and_no_more),
        cmocka_unit_test(plans_are_for_operators),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
