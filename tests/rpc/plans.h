/* Plans in tests: put by the operator, given to the fixture's other project. */
#pragma once

#include "bindings/c/crownest_plan.h"
#include "bindings/c/crownest_project.h"
#include "tests/rpc/service_fixture.h"

/* A plan without bounds and with every feature, in two messages that must not be moved. */
struct test_plan {
    Crownest__V1__Plan plan;
    Crownest__V1__PlanFeatures features;
};

void test_plan_init(struct test_plan *plan, const char *name);
/* Puts it as the operator, and gives it to SERVICE_OTHER_PROJECT. */
void test_plan_use(const struct service *service, struct test_plan *plan);
/* Puts it; what the call did. */
int test_plan_put(const struct service *service, Crownest__V1__Plan *const *plans, size_t count,
                  struct crownest_error *ret_error);
/* Gives the other project a plan by its name. */
int test_plan_give(const struct service *service, const char *name,
                   struct crownest_error *ret_error);

/* That a call was refused at a bound, as QuotaFailure says: of the other project's. */
void assert_quota_at(int result, const struct crownest_error *error, const char *reason,
                     const char *metric, uint64_t limit, uint64_t used, const char *what);
#define assert_quota(result, error, reason, metric, limit, used)                                   \
    assert_quota_at(result, error, reason, metric, limit, used, #result)

/* What the server told beside its answers: for crownest_call_options. */
struct told {
    char names[8][64];
    char values[8][32];
    size_t count;
};

struct crownest_call_options told_options(struct told *told);
/* NULL when it was not told. */
const char *told_value(const struct told *told, const char *name);
