#include "server/meter/bucket.h"
#include "server/service/page.h"
#include "server/service/service.h"

/* Every response of a change is a message that holds the bucket and nothing else. */
_Static_assert(sizeof(Crownest__V1__CreateBucketResponse) ==
                       sizeof(Crownest__V1__UpdateBucketResponse) &&
                   sizeof(Crownest__V1__CreateBucketResponse) ==
                       sizeof(Crownest__V1__DeleteBucketResponse),
               "answers are kept as one kind of message");

struct change {
    struct answer answer;
    Crownest__V1__CreateBucketResponse response; /* of the type of the call */
};

static void keep(void *arg, struct store_batch *batch, const Crownest__V1__Bucket *bucket)
{
    struct change *change = arg;

    change->response.bucket = (Crownest__V1__Bucket *)(uintptr_t)bucket;
    answer_keep(&change->answer, batch, &change->response.base);
}

struct status service_bucket_create(struct rpc_call *call,
                                    const Crownest__V1__CreateBucketRequest *request,
                                    Crownest__V1__CreateBucketResponse *response)
{
    struct service *service = service_of(call);
    struct change change = {.response.base = response->base};
    struct audit_actor by = service_actor(call);
    struct bucket_commit commit = {.add = keep, .arg = &change, .by = &by};
    struct status status =
        answer_begin(service->answers, call, request->request_id, &change.answer);

    if (!status_is_ok(&status))
        return status;
    if (change.answer.kept)
        status = answer_again(&change.answer, rpc_call_arena(call), response);
    else
        status = bucket_create(service->meter, rpc_call_caller(call)->project_id, request, &commit,
                               rpc_call_arena(call), &response->bucket);
    answer_end(&change.answer);
    return status;
}

struct status service_bucket_update(struct rpc_call *call,
                                    const Crownest__V1__UpdateBucketRequest *request,
                                    Crownest__V1__UpdateBucketResponse *response)
{
    struct service *service = service_of(call);
    struct change change = {.response.base = response->base};
    struct audit_actor by = service_actor(call);
    struct bucket_commit commit = {.add = keep, .arg = &change, .by = &by};
    struct status status =
        answer_begin(service->answers, call, request->request_id, &change.answer);

    if (!status_is_ok(&status))
        return status;
    if (change.answer.kept)
        status = answer_again(&change.answer, rpc_call_arena(call), response);
    else
        status = bucket_update(service->meter, rpc_call_caller(call)->project_id, request, &commit,
                               rpc_call_arena(call), &response->bucket);
    answer_end(&change.answer);
    return status;
}

struct status service_bucket_delete(struct rpc_call *call,
                                    const Crownest__V1__DeleteBucketRequest *request,
                                    Crownest__V1__DeleteBucketResponse *response)
{
    struct service *service = service_of(call);
    struct change change = {.response.base = response->base};
    struct audit_actor by = service_actor(call);
    struct bucket_commit commit = {.add = keep, .arg = &change, .by = &by};
    struct status status =
        answer_begin(service->answers, call, request->request_id, &change.answer);

    if (!status_is_ok(&status))
        return status;
    if (change.answer.kept)
        status = answer_again(&change.answer, rpc_call_arena(call), response);
    else
        status =
            bucket_delete(service->meter, rpc_call_caller(call)->project_id, request->bucket_id,
                          &commit, rpc_call_arena(call), &response->bucket);
    answer_end(&change.answer);
    return status;
}

struct status service_bucket_get(struct rpc_call *call,
                                 const Crownest__V1__GetBucketRequest *request,
                                 Crownest__V1__GetBucketResponse *response)
{
    return bucket_get(service_of(call)->meter, rpc_call_caller(call)->project_id,
                      request->bucket_id, rpc_call_arena(call), &response->bucket);
}

struct status service_bucket_list(struct rpc_call *call,
                                  const Crownest__V1__ListBucketsRequest *request,
                                  Crownest__V1__ListBucketsResponse *response)
{
    struct service *service = service_of(call);
    const char *project_id = rpc_call_caller(call)->project_id;
    struct page page;
    struct status status = page_init(&page, call, request->page_size, request->page_token, "bkt_");

    if (!status_is_ok(&status))
        return status;
    page.range.prefix = schema_key("b", project_id, "", NULL);
    status = page_read(&page, service->store, &response->next_page_token);
    response->buckets = (Crownest__V1__Bucket **)page.items;
    for (size_t i = 0; i < page.count && status_is_ok(&status); i++) {
        Crownest__V1__Bucket *bucket;
        struct status found =
            bucket_get(service->meter, project_id, page.items[i], rpc_call_arena(call), &bucket);

        /* One that is just being made, or was just deleted, is not there. */
        if (status_is_ok(&found))
            response->buckets[response->n_buckets++] = bucket;
    }
    return status;
}
