#include "server/meter/bucket.h"
#include "server/service/once.h"
#include "server/service/page.h"

/* Every response of a change is a message that holds the bucket and nothing else. */
_Static_assert(sizeof(Crownest__V1__CreateBucketResponse) ==
                       sizeof(Crownest__V1__UpdateBucketResponse) &&
                   sizeof(Crownest__V1__CreateBucketResponse) ==
                       sizeof(Crownest__V1__DeleteBucketResponse),
               "answers are kept as one kind of message");

/* One change: who wants it, and the answer that is kept with it. */
struct change {
    const struct answer *answer;
    Crownest__V1__CreateBucketResponse response; /* of the type of the call */
    struct audit_actor by;
    struct bucket_commit commit;
};

static void keep(void *arg, struct store_batch *batch, const Crownest__V1__Bucket *bucket)
{
    struct change *change = arg;

    change->response.bucket = (Crownest__V1__Bucket *)(uintptr_t)bucket;
    answer_keep(change->answer, batch, &change->response.base);
}

static const struct bucket_commit *begin(struct change *change, const struct rpc_call *call,
                                         const struct answer *answer,
                                         const ProtobufCMessage *response)
{
    *change =
        (struct change){.answer = answer, .response.base = *response, .by = service_actor(call)};
    change->commit = (struct bucket_commit){.add = keep, .arg = change, .by = &change->by};
    return &change->commit;
}

static struct status create(struct rpc_call *call, const struct answer *answer, const void *asked,
                            void *ret_response)
{
    Crownest__V1__CreateBucketResponse *response = ret_response;
    struct change change;

    return bucket_create(service_of(call)->meter, rpc_call_caller(call)->project_id, asked,
                         begin(&change, call, answer, &response->base), rpc_call_arena(call),
                         &response->bucket);
}

struct status service_bucket_create(struct rpc_call *call,
                                    const Crownest__V1__CreateBucketRequest *request,
                                    Crownest__V1__CreateBucketResponse *response)
{
    return service_once(call, request->request_id, request, response, create);
}

static struct status update(struct rpc_call *call, const struct answer *answer, const void *asked,
                            void *ret_response)
{
    Crownest__V1__UpdateBucketResponse *response = ret_response;
    struct change change;

    return bucket_update(service_of(call)->meter, rpc_call_caller(call)->project_id, asked,
                         begin(&change, call, answer, &response->base), rpc_call_arena(call),
                         &response->bucket);
}

struct status service_bucket_update(struct rpc_call *call,
                                    const Crownest__V1__UpdateBucketRequest *request,
                                    Crownest__V1__UpdateBucketResponse *response)
{
    return service_once(call, request->request_id, request, response, update);
}

static struct status delete (struct rpc_call *call, const struct answer *answer, const void *asked,
                             void *ret_response)
{
    Crownest__V1__DeleteBucketResponse *response = ret_response;
    struct change change;

    return bucket_delete(service_of(call)->meter, rpc_call_caller(call)->project_id,
                         ((const Crownest__V1__DeleteBucketRequest *)asked)->bucket_id,
                         begin(&change, call, answer, &response->base), rpc_call_arena(call),
                         &response->bucket);
}

struct status service_bucket_delete(struct rpc_call *call,
                                    const Crownest__V1__DeleteBucketRequest *request,
                                    Crownest__V1__DeleteBucketResponse *response)
{
    return service_once(call, request->request_id, request, response, delete);
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
