#include "server/meter/day.h"
#include "server/meter/receipt.h"
#include "server/meter/usage.h"
#include "server/meter/verify.h"
#include "server/service/service.h"
#include "server/util/clock.h"
#include "server/util/prototime.h"

#define DEFAULT_DAYS 31
#define US_PER_MS 1000ULL
#define MS_MAX (253402300799ULL * 1000) /* the end of the year 9999 */

static struct status time_of(const char *field, const Google__Protobuf__Timestamp *asked,
                             uint64_t fallback_us, uint64_t *ret_us)
{
    *ret_us = fallback_us;
    if (!asked)
        return STATUS_OK_VALUE;
    if (asked->seconds < 0 || asked->nanos < 0 || prototime_ms(asked) > MS_MAX)
        return status_invalid(field, "TIME_RANGE_INVALID", "%s is from 1970 to 9999", field);
    *ret_us = prototime_ms(asked) * US_PER_MS;
    return STATUS_OK_VALUE;
}

static struct status check_days(const Crownest__V1__GetUsageRequest *request,
                                struct usage_query *query)
{
    uint64_t start_us = 0;
    uint64_t end_us = 0;
    struct status status = time_of("end_time", request->end_time, clock_wall_us(), &end_us);

    if (status_is_ok(&status))
        status =
            time_of("start_time", request->start_time,
                    end_us > DEFAULT_DAYS * DAY_US ? end_us - DEFAULT_DAYS * DAY_US : 0, &start_us);
    if (!status_is_ok(&status))
        return status;
    if (start_us > end_us)
        return status_invalid("start_time", "TIME_RANGE_INVALID",
                              "start_time lies behind end_time");
    if (day_start(end_us) - day_start(start_us) >= USAGE_DAYS_MAX * DAY_US)
        return status_invalid("start_time", "TIME_RANGE_INVALID", "at most %d days",
                              USAGE_DAYS_MAX);
    query->from_day = day_number(start_us);
    query->to_day = day_number(end_us);
    return status;
}

struct status service_usage_get(struct rpc_call *call, const Crownest__V1__GetUsageRequest *request,
                                Crownest__V1__GetUsageResponse *response)
{
    struct usage_query query = {.project_id = rpc_call_caller(call)->project_id,
                                .group_by = request->group_by,
                                .key_id = request->key_id,
                                .sandbox_id = request->sandbox_id};
    struct status status = check_days(request, &query);

    if (status_is_ok(&status) && request->group_by > CROWNEST__V1__USAGE_GROUP__USAGE_GROUP_SANDBOX)
        status = status_invalid("group_by", "GROUP_INVALID", "group by day, key or sandbox");
    if (status_is_ok(&status) && request->key_id[0] && !id_valid("key_", request->key_id))
        status = status_invalid("key_id", "ID_INVALID", "this is no key's id");
    if (status_is_ok(&status) && request->sandbox_id[0] && !id_valid("sbx_", request->sandbox_id))
        status = status_invalid("sandbox_id", "ID_INVALID", "this is no sandbox's id");
    return status_is_ok(&status)
               ? usage_get(service_of(call)->meter, &query, rpc_call_arena(call), response)
               : status;
}

struct status service_usage_get_receipt(struct rpc_call *call,
                                        const Crownest__V1__GetReceiptRequest *request,
                                        Crownest__V1__GetReceiptResponse *response)
{
    return receipt_get(service_of(call)->meter, rpc_call_caller(call)->project_id,
                       request->sandbox_id, rpc_call_arena(call), &response->receipt);
}

struct status service_usage_get_pricing(struct rpc_call *call,
                                        const Crownest__V1__GetPricingRequest *request,
                                        Crownest__V1__GetPricingResponse *response)
{
    struct arena *arena = rpc_call_arena(call);
    const struct pricing *versions = pricing_all(&response->n_versions);

    (void)request;
    response->versions = arena_alloc(arena, response->n_versions * sizeof(*response->versions));
    for (size_t i = 0; i < response->n_versions; i++)
        response->versions[i] = receipt_pricing(&versions[i], arena);
    return STATUS_OK_VALUE;
}

struct status service_usage_verify(struct rpc_call *call,
                                   const Crownest__V1__VerifyUsageRequest *request,
                                   Crownest__V1__VerifyUsageResponse *response)
{
    return verify_page(service_of(call)->meter, rpc_call_caller(call)->project_id,
                       request->page_token, rpc_call_arena(call), response);
}
