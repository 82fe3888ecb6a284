#include "server/policy/answer.h"

#include <errno.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "server/policy/answer_private.h"
#include "server/store/record.h"
#include "server/util/cleanup.h"
#include "server/util/clock.h"
#include "server/util/failpoint.h"
#include "server/util/limits.h"

#define REQUEST_ID_MAX 64

static bool request_id_valid(const char *id)
{
    size_t size = strlen(id);

    return size <= REQUEST_ID_MAX &&
           strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == size;
}

struct schema_key answer_key(const struct answer *answer)
{
    return schema_key("r", answer->project_id, answer->request_id, NULL);
}

static bool under_way(const struct answers *answers, const struct answer *answer)
{
    for (const struct answer *a = answers->under_way; a; a = a->next) {
        if (strcmp(a->request_id, answer->request_id) == 0 &&
            strcmp(a->project_id, answer->project_id) == 0)
            return true;
    }
    return false;
}

static void answer_enter(struct answers *answers, struct answer *answer)
{
    lock_scope(&answers->mutex);
    while (under_way(answers, answer))
        (void)pthread_cond_wait(&answers->ended, &answers->mutex);
    answer->next = answers->under_way;
    answers->under_way = answer;
}

bool answer_try_enter(struct answers *answers, struct answer *answer)
{
    lock_scope(&answers->mutex);
    if (under_way(answers, answer))
        return false;
    answer->next = answers->under_way;
    answers->under_way = answer;
    return true;
}

void answer_end(struct answer *answer)
{
    struct answers *answers = answer->owner;

    FAILPOINT("answer.end");
    if (answer->request_id[0] == '\0')
        return;
    lock_scope(&answers->mutex);
    struct answer **at = &answers->under_way;

    while (*at != answer)
        at = &(*at)->next;
    *at = answer->next;
    (void)pthread_cond_broadcast(&answers->ended);
}

/* Looks for an earlier answer to the same request. */
static struct status answer_look(struct answer *answer, struct rpc_call *call)
{
    struct arena *arena = rpc_call_arena(call);
    struct schema_key key = answer_key(answer);
    Crownest__Records__AnswerRecord *kept;
    int r = record_get(answer->owner->admission.store, &key,
                       &crownest__records__answer_record__descriptor, arena, &kept);

    if (r == -ENOENT || (r == 0 && answer_expired(kept->time_ms, clock_wall_ms())))
        return admission_check(&answer->owner->admission, rpc_call_method(call));
    if (r < 0)
        return status_error(STATUS_DATA_LOSS, "RECORD_DAMAGED",
                            "the answer that was kept for this request_id cannot be read");
    if (strcmp(kept->method, answer->method) != 0 || kept->request_hash.len != 32 ||
        memcmp(kept->request_hash.data, answer->hash, 32) != 0)
        return status_invalid("request_id", "REQUEST_ID_REUSED",
                              "this request_id was used for another request; make a new one");
    answer->kept = kept;
    return STATUS_OK_VALUE;
}

struct status answer_begin(struct answers *answers, struct rpc_call *call, const char *request_id,
                           struct answer *ret_answer)
{
    struct answer *answer = ret_answer;
    struct bytes request = rpc_call_request_bytes(call);

    if (!request_id_valid(request_id))
        return status_invalid("request_id", "REQUEST_ID_INVALID",
                              "a request_id has at most %d characters of [A-Za-z0-9_-]",
                              REQUEST_ID_MAX);
    *answer = (struct answer){.owner = answers, .method = rpc_call_method(call)->path};
    memcpy(answer->project_id, rpc_call_caller(call)->project_id, sizeof(answer->project_id));
    memcpy(answer->request_id, request_id, strlen(request_id) + 1);
    if (request_id[0] == '\0')
        return admission_check(&answers->admission, rpc_call_method(call));
    (void)SHA256(request.data, request.size, answer->hash);
    answer_enter(answers, answer);
    struct status status = answer_look(answer, call);

    if (!status_is_ok(&status))
        answer_end(answer);
    return status;
}

static void answer_put(const struct answer *answer, struct store_batch *batch,
                       Crownest__Records__AnswerRecord *record)
{
    struct schema_key key = answer_key(answer);

    if (FAILPOINT_SKIP("broken.answer"))
        return;
    record->method = (char *)(uintptr_t)answer->method;
    record->request_hash =
        (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)answer->hash, .len = 32};
    record->time_ms = clock_wall_ms();
    record_put(batch, &key, &record->base);
    struct schema_key by_time = answer_time_key(answer, record->time_ms);

    record_put_string(batch, &by_time, "");
}

void answer_keep(const struct answer *answer, struct store_batch *batch,
                 const ProtobufCMessage *response)
{
    Crownest__Records__AnswerRecord record = CROWNEST__RECORDS__ANSWER_RECORD__INIT;
    cleanup_buf struct buf packed = {0};

    if (answer->request_id[0] == '\0')
        return;
    buf_reserve(&packed, protobuf_c_message_get_packed_size(response) + 1);
    packed.size = protobuf_c_message_pack(response, packed.data);
    record.answer = (ProtobufCBinaryData){.data = packed.data, .len = packed.size};
    answer_put(answer, batch, &record);
}

struct status answer_write(const struct answer *answer, struct store *store,
                           const ProtobufCMessage *response, const struct audit_entry *entry)
{
    if (answer->request_id[0] == '\0' && !entry)
        return STATUS_OK_VALUE;
    struct store_batch *batch = store_batch_new();

    FAILPOINT("answer.done");
    if (entry)
        audit_add(batch, entry);
    answer_keep(answer, batch, response);
    return record_commit(store, batch);
}

void answer_keep_id(const struct answer *answer, struct store_batch *batch, const char *resource_id)
{
    Crownest__Records__AnswerRecord record = CROWNEST__RECORDS__ANSWER_RECORD__INIT;

    if (answer->request_id[0] == '\0')
        return;
    record.resource_id = (char *)(uintptr_t)resource_id;
    answer_put(answer, batch, &record);
}

void answer_forget(const struct answer *answer, struct store_batch *batch)
{
    struct schema_key key = answer_key(answer);

    if (answer->request_id[0] != '\0')
        record_delete(batch, &key);
}

uint64_t answer_token(const struct answer *answer)
{
    uint8_t hash[SHA256_DIGEST_LENGTH];
    uint64_t token;

    if (answer->request_id[0] == '\0')
        return 0;
    (void)SHA256((const uint8_t *)answer->request_id, strlen(answer->request_id), hash);
    memcpy(&token, hash, sizeof(token));
    return token;
}

struct status answer_again(const struct answer *answer, struct arena *arena, void *response)
{
    const ProtobufCMessageDescriptor *type = ((ProtobufCMessage *)response)->descriptor;
    const ProtobufCBinaryData *packed = &answer->kept->answer;
    void *message =
        protobuf_c_message_unpack(type, arena_allocator(arena), packed->len, packed->data);

    if (!message)
        return status_error(STATUS_DATA_LOSS, "RECORD_DAMAGED",
                            "the answer that was kept for this request_id cannot be read");
    memcpy(response, message, type->sizeof_message);
    return STATUS_OK_VALUE;
}
