#include "server/policy/key_quota.h"

#include <string.h>

#include "private/records.pb-c.h"
#include "server/store/schema.h"
#include "server/util/clock.h"
#include "server/util/prototime.h"

struct count {
    const char *project_id;
    uint64_t now_ms;
    uint64_t keys;
};

static bool count_visit(void *arg, struct bytes key, struct bytes value)
{
    struct count *count = arg;
    Crownest__Records__KeyRecord *record =
        crownest__records__key_record__unpack(NULL, value.size, value.data);
    const Crownest__V1__Key *found = record ? record->key : NULL;

    (void)key;
    if (found && strcmp(found->project_id, count->project_id) == 0 && !found->revoke_time &&
        (!found->expire_time || prototime_ms(found->expire_time) > count->now_ms))
        count->keys++;
    if (record)
        crownest__records__key_record__free_unpacked(record, NULL);
    return true;
}

struct status key_quota_check(struct store *store, struct quotas *quotas, const char *project_id,
                              uint64_t *ret_left)
{
    struct schema_key all = schema_key("k", "", NULL, NULL);
    struct count count = {.project_id = project_id, .now_ms = clock_wall_ms()};
    struct plan plan;
    struct status status = quota_plan(quotas, project_id, &plan);

    *ret_left = QUOTA_UNBOUNDED;
    if (!status_is_ok(&status) || plan.max_keys == 0)
        return status;
    if (store_scan(store, schema_bytes(&all), bytes_of(NULL, 0), STORE_ASCENDING, count_visit,
                   &count) < 0)
        return status_unavailable("STORE_FAILED", "the database cannot be read");
    if (count.keys < plan.max_keys) {
        *ret_left = plan.max_keys - count.keys - 1;
        return status;
    }
    *ret_left = 0;
    return quota_refusal(project_id, &plan, "QUOTA_KEYS", "keys", plan.max_keys, count.keys);
}
