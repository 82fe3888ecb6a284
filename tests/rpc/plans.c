#include "tests/rpc/plans.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/rpc/steps.h"

#define RESOURCE_EXHAUSTED 8
#define FAILED_PRECONDITION 9

void test_plan_init(struct test_plan *plan, const char *name)
{
    crownest__v1__plan__init(&plan->plan);
    crownest__v1__plan_features__init(&plan->features);
    plan->features.artifacts = true;
    plan->features.previews = true;
    plan->plan.features = &plan->features;
    plan->plan.name = STEP_TEXT(name);
}

int test_plan_put(const struct service *service, Crownest__V1__Plan *const *plans, size_t count,
                  struct crownest_error *ret_error)
{
    Crownest__V1__PutPlansRequest request = CROWNEST__V1__PUT_PLANS_REQUEST__INIT;
    Crownest__V1__PutPlansResponse *response;

    request.plans = (Crownest__V1__Plan **)(uintptr_t)plans;
    request.n_plans = count;
    int result = crownest_plan_put(service->operator_client, &request, NULL, &response, ret_error);

    if (result == 0)
        crownest__v1__put_plans_response__free_unpacked(response, NULL);
    return result;
}

int test_plan_give(const struct service *service, const char *name,
                   struct crownest_error *ret_error)
{
    Crownest__V1__UpdateProjectRequest request = CROWNEST__V1__UPDATE_PROJECT_REQUEST__INIT;
    Crownest__V1__UpdateProjectResponse *response;

    request.project = STEP_TEXT(SERVICE_OTHER_PROJECT);
    request.plan = STEP_TEXT(name);
    int result =
        crownest_project_update(service->operator_client, &request, NULL, &response, ret_error);

    if (result == 0)
        crownest__v1__update_project_response__free_unpacked(response, NULL);
    return result;
}

void test_plan_use(const struct service *service, struct test_plan *plan)
{
    Crownest__V1__Plan *plans[] = {&plan->plan};
    struct crownest_error error;

    assert_done(test_plan_put(service, plans, 1, &error), &error);
    assert_done(test_plan_give(service, plan->plan.name, &error), &error);
}

void assert_quota_at(int result, const struct crownest_error *error, const char *reason,
                     const char *metric, uint64_t limit, uint64_t used, const char *what)
{
    bool feature = strcmp(reason, "FEATURE_NOT_IN_PLAN") == 0;

    if (result != -EREMOTEIO || strcmp(error->reason, reason) != 0)
        fail_msg("%s: %d %s %s", what, result, error->reason, error->message);
    assert_int_equal(error->code, feature ? FAILED_PRECONDITION : RESOURCE_EXHAUSTED);
    assert_string_equal(error->quota_metric, metric);
    assert_int_equal(strncmp(error->quota_subject, "project:prj_", 12), 0);
    assert_int_equal(error->quota_limit, limit);
    assert_int_equal(error->quota_used, used);
    assert_string_equal(error->admitted, "no");
    /* Who can raise it. */
    assert_non_null(strstr(error->message, "operator"));
    assert_non_null(strstr(error->message, "crownest projects update --plan"));
}

static void tell(void *arg, const char *name, const char *value)
{
    struct told *told = arg;

    if (told->count == sizeof(told->names) / sizeof(told->names[0]))
        return;
    (void)snprintf(told->names[told->count], sizeof(told->names[0]), "%s", name);
    (void)snprintf(told->values[told->count++], sizeof(told->values[0]), "%s", value);
}

struct crownest_call_options told_options(struct told *told)
{
    *told = (struct told){0};
    return (struct crownest_call_options){.metadata = tell, .metadata_arg = told};
}

const char *told_value(const struct told *told, const char *name)
{
    for (size_t i = 0; i < told->count; i++) {
        if (strcmp(told->names[i], name) == 0)
            return told->values[i];
    }
    return NULL;
}
