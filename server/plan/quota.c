#include "server/plan/quota.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "server/plan/rate.h"
#include "server/util/cleanup.h"
#include "server/util/clock.h"
#include "server/util/id.h"

#define MINUTE_NS 60000000000ULL
#define SECOND_NS 1000000000ULL
#define MS_NS 1000000ULL

struct account {
    char project_id[ID_SIZE];
    struct plan plan;
    uint64_t plan_age; /* of the quotas, when the plan was read; 0: never */
    struct quota_amounts used;
    struct rate creates;
    struct rate calls;
    UT_hash_handle hh;
};

struct quotas {
    struct store *store;
    pthread_mutex_t mutex; /* of what follows */
    uint64_t age;          /* of what is known about plans */
    struct account *accounts;
};

struct quotas *quotas_new(struct store *store)
{
    struct quotas *quotas = calloc(1, sizeof(*quotas));

    if (!quotas)
        abort();
    quotas->store = store;
    quotas->age = 1;
    (void)pthread_mutex_init(&quotas->mutex, NULL);
    return quotas;
}

void quotas_free(struct quotas *quotas)
{
    struct account *account;
    struct account *next;

    if (!quotas)
        return;
    HASH_ITER(hh, quotas->accounts, account, next)
    {
        HASH_DEL(quotas->accounts, account);
        free(account);
    }
    (void)pthread_mutex_destroy(&quotas->mutex);
    free(quotas);
}

void quotas_renew(struct quotas *quotas)
{
    if (!quotas)
        return;
    lock_scope(&quotas->mutex);
    quotas->age++;
}

/* Called with the mutex held. */
static struct account *find(struct quotas *quotas, const char *project_id)
{
    struct account *account = NULL;

    HASH_FIND_STR(quotas->accounts, project_id, account);
    if (account)
        return account;
    account = calloc(1, sizeof(*account));
    if (!account)
        abort();
    (void)snprintf(account->project_id, sizeof(account->project_id), "%s", project_id);
    HASH_ADD_STR(quotas->accounts, project_id, account);
    return account;
}

/* Another rate begins anew: who was just given more need not wait as if for less. */
static void set_plan(struct account *account, const struct plan *plan)
{
    if (account->plan.creates_per_minute != plan->creates_per_minute)
        account->creates = (struct rate){0};
    if (account->plan.calls_per_second != plan->calls_per_second)
        account->calls = (struct rate){0};
    account->plan = *plan;
}

/*
 * Called with the mutex held, which is released while the database is read. A plan that was read
 * before a change became known is not kept as if it had been read after it.
 */
static struct status know_plan(struct quotas *quotas, struct account *account)
{
    struct plan plan;

    while (account->plan_age != quotas->age) {
        uint64_t age = quotas->age;

        (void)pthread_mutex_unlock(&quotas->mutex);
        struct status status = plan_of(quotas->store, account->project_id, &plan);

        (void)pthread_mutex_lock(&quotas->mutex);
        if (!status_is_ok(&status))
            return status;
        set_plan(account, &plan);
        account->plan_age = age;
    }
    return STATUS_OK_VALUE;
}

static const struct plan unbounded = {.name = PLAN_SELF_HOSTED,
                                      .artifacts = true,
                                      .metered_overage = true,
                                      .project_keys = true,
                                      .webhooks = true,
                                      .previews = true};

struct status quota_plan(struct quotas *quotas, const char *project_id, struct plan *ret_plan)
{
    if (!quotas) {
        *ret_plan = unbounded;
        return STATUS_OK_VALUE;
    }
    lock_scope(&quotas->mutex);
    struct account *account = find(quotas, project_id);
    struct status status = know_plan(quotas, account);

    if (status_is_ok(&status))
        *ret_plan = account->plan;
    return status;
}

/* Refusing */

static struct status_quota bound(const char *project_id, const char *metric, uint64_t limit,
                                 uint64_t used)
{
    struct status_quota quota = {.metric = metric, .limit = limit, .used = used};

    (void)snprintf(quota.subject, sizeof(quota.subject), "project:%s", project_id);
    return quota;
}

struct status quota_refusal(const char *project_id, const struct plan *plan, const char *reason,
                            const char *metric, uint64_t limit, uint64_t used)
{
    struct status_quota quota = bound(project_id, metric, limit, used);

    return status_quota(reason, &quota,
                        "the project's plan `%s` allows %" PRIu64 " %s, and %" PRIu64
                        " are used; an operator can raise it, with crownest projects update --plan",
                        plan->name, limit, metric, used);
}

struct status quota_no_feature(const char *project_id, const struct plan *plan, const char *feature)
{
    struct status status =
        status_error(STATUS_FAILED_PRECONDITION, "FEATURE_NOT_IN_PLAN",
                     "the project's plan `%s` is without %s; an operator can change that, with "
                     "crownest projects update --plan",
                     plan->name, feature);

    status.quota = bound(project_id, feature, 0, 0);
    return status;
}

/* Amounts */

static uint64_t limit_of(const struct plan *plan, enum quota_kind kind)
{
    const uint64_t limits[QUOTA_KINDS] = {
        [QUOTA_SANDBOXES] = plan->max_sandboxes,
        [QUOTA_MEMORY] = plan->max_total_memory_bytes,
        [QUOTA_CPU] = plan->max_total_cpu_millis,
        [QUOTA_COMMANDS] = plan->max_commands,
        [QUOTA_ARTIFACT_BYTES] = plan->max_artifact_bytes,
    };

    return limits[kind] ? limits[kind] : QUOTA_UNBOUNDED;
}

static const struct {
    const char *reason;
    const char *metric;
} kinds[QUOTA_KINDS] = {
    [QUOTA_SANDBOXES] = {"QUOTA_SANDBOXES", "sandboxes"},
    [QUOTA_MEMORY] = {"QUOTA_TOTAL_MEMORY", "memory_bytes of all sandboxes"},
    [QUOTA_CPU] = {"QUOTA_TOTAL_CPU", "cpu_millis of all sandboxes"},
    [QUOTA_COMMANDS] = {"QUOTA_COMMANDS", "commands"},
    [QUOTA_ARTIFACT_BYTES] = {"QUOTA_ARTIFACT_BYTES", "artifact bytes"},
};

/* Also of what is there although it is more than a plan that was changed allows. */
static uint64_t left(const struct account *account, enum quota_kind kind)
{
    uint64_t limit = limit_of(&account->plan, kind);
    uint64_t used = account->used.of[kind];

    if (limit == QUOTA_UNBOUNDED)
        return QUOTA_UNBOUNDED;
    return limit > used ? limit - used : 0;
}

static void add(struct account *account, const struct quota_amounts *amounts)
{
    for (int kind = 0; kind < QUOTA_KINDS; kind++)
        account->used.of[kind] += amounts->of[kind];
}

struct status quota_take(struct quotas *quotas, const char *project_id,
                         const struct quota_amounts *amounts)
{
    if (!quotas)
        return STATUS_OK_VALUE;
    lock_scope(&quotas->mutex);
    struct account *account = find(quotas, project_id);
    struct status status = know_plan(quotas, account);

    if (!status_is_ok(&status))
        return status;
    for (enum quota_kind kind = 0; kind < QUOTA_KINDS; kind++) {
        if (amounts->of[kind] > left(account, kind))
            return quota_refusal(project_id, &account->plan, kinds[kind].reason, kinds[kind].metric,
                                 limit_of(&account->plan, kind), account->used.of[kind]);
    }
    add(account, amounts);
    return status;
}

void quota_add(struct quotas *quotas, const char *project_id, const struct quota_amounts *amounts)
{
    if (!quotas)
        return;
    lock_scope(&quotas->mutex);
    add(find(quotas, project_id), amounts);
}

void quota_give(struct quotas *quotas, const char *project_id, const struct quota_amounts *amounts)
{
    if (!quotas)
        return;
    lock_scope(&quotas->mutex);
    struct account *account = find(quotas, project_id);

    for (int kind = 0; kind < QUOTA_KINDS; kind++)
        account->used.of[kind] -= amounts->of[kind];
}

uint64_t quota_left(struct quotas *quotas, const char *project_id, enum quota_kind kind)
{
    if (!quotas)
        return QUOTA_UNBOUNDED;
    lock_scope(&quotas->mutex);
    struct account *account = find(quotas, project_id);
    struct status status = know_plan(quotas, account);

    return status_is_ok(&status) ? left(account, kind) : QUOTA_UNBOUNDED;
}

/* Rates */

static struct status refuse_rate(const struct account *account, const char *reason,
                                 const char *metric, uint32_t limit, uint64_t wait_ns)
{
    struct status status =
        quota_refusal(account->project_id, &account->plan, reason, metric, limit, limit);

    status.retryable = true;
    status.retry_after_ms = (uint32_t)((wait_ns + MS_NS - 1) / MS_NS);
    return status;
}

struct status quota_take_create(struct quotas *quotas, const char *project_id)
{
    uint64_t wait_ns = 0;

    if (!quotas)
        return STATUS_OK_VALUE;
    lock_scope(&quotas->mutex);
    struct account *account = find(quotas, project_id);
    struct status status = know_plan(quotas, account);
    uint32_t limit = account->plan.creates_per_minute;

    if (status_is_ok(&status) && limit > 0 &&
        !rate_take(&account->creates, limit, MINUTE_NS, clock_monotonic_ms() * MS_NS, &wait_ns))
        status = refuse_rate(account, "QUOTA_CREATE_RATE", "creates a minute", limit, wait_ns);
    return status;
}

struct status quota_take_call(struct quotas *quotas, const char *project_id)
{
    uint64_t wait_ns = 0;

    if (!quotas)
        return STATUS_OK_VALUE;
    lock_scope(&quotas->mutex);
    struct account *account = find(quotas, project_id);
    struct status status = know_plan(quotas, account);
    uint32_t limit = account->plan.calls_per_second;

    if (status_is_ok(&status) && limit > 0 &&
        !rate_take(&account->calls, limit, SECOND_NS, clock_monotonic_ms() * MS_NS, &wait_ns))
        status = refuse_rate(account, "QUOTA_CALL_RATE", "calls a second", limit, wait_ns);
    return status;
}

void quota_give_create(struct quotas *quotas, const char *project_id)
{
    if (!quotas)
        return;
    lock_scope(&quotas->mutex);
    struct account *account = find(quotas, project_id);

    if (account->plan.creates_per_minute > 0)
        rate_give(&account->creates, account->plan.creates_per_minute, MINUTE_NS);
}

uint64_t quota_creates_left(struct quotas *quotas, const char *project_id)
{
    if (!quotas)
        return QUOTA_UNBOUNDED;
    lock_scope(&quotas->mutex);
    struct account *account = find(quotas, project_id);
    struct status status = know_plan(quotas, account);
    uint32_t limit = account->plan.creates_per_minute;

    if (!status_is_ok(&status) || limit == 0)
        return QUOTA_UNBOUNDED;
    return rate_left(&account->creates, limit, MINUTE_NS, clock_monotonic_ms() * MS_NS);
}
