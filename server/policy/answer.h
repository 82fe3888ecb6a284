/*
 * Exactly once: the answer to a mutation with a request_id is stored in the batch that makes the
 * change, and returned to whoever sends the same request again. Functions may be called from any
 * thread. What has expired is removed by a thread of low priority.
 */
#pragma once

#include "private/records.pb-c.h"
#include "server/audit/audit.h"
#include "server/policy/admission.h"
#include "server/rpc/rpc.h"
#include "server/store/store.h"

struct answers;

/* admission: copied; asked for what was not done before. */
struct answers *answers_new(const struct admission *admission);
/* Ends the thread. No answer may be under way. NULL is fine. */
void answers_free(struct answers *answers);

#define ANSWERS_SWEPT_AT_ONCE 256

/*
 * Removes answers that had expired by now_ms of the wall clock, the oldest first, at most
 * ANSWERS_SWEPT_AT_ONCE; one whose request is under way is left for another time. Returns how many
 * were looked at, or -ENOSPC or -EIO. What the thread does now and then.
 */
int answers_sweep(struct answers *answers, uint64_t now_ms);

/* One request under way. Begun and ended by the handler; no other thread uses it. */
struct answer {
    struct answers *owner;
    char project_id[ID_SIZE];
    char request_id[72]; /* empty: the client asked for no retry protection */
    const char *method;
    uint8_t hash[32];
    Crownest__Records__AnswerRecord *kept; /* not NULL: this was done before */
    struct answer *next;
};

/*
 * Waits while the same request_id is under way in the project. INVALID_ARGUMENT REQUEST_ID_INVALID,
 * REQUEST_ID_REUSED when it came with another request; those of admission_check when it was not
 * done before. On success answer_end must follow.
 */
struct status answer_begin(struct answers *answers, struct rpc_call *call, const char *request_id,
                           struct answer *ret_answer);
void answer_end(struct answer *answer);

/* Adds the answer to the batch that makes the change. */
void answer_keep(const struct answer *answer, struct store_batch *batch,
                 const ProtobufCMessage *response);
/* The same for an answer that is a stream or holds a secret: only what was made is kept. */
void answer_keep_id(const struct answer *answer, struct store_batch *batch,
                    const char *resource_id);
/*
 * Writes the answer to a change that the store knows nothing else of, and the entry that tells of
 * it, which may be NULL.
 */
struct status answer_write(const struct answer *answer, struct store *store,
                           const ProtobufCMessage *response, const struct audit_entry *entry);
/* Adds that nothing was done after all. */
void answer_forget(const struct answer *answer, struct store_batch *batch);

/*
 * A name for the change, for whoever makes it outside of the store and must not make it again when
 * the service died before answer_write. 0 without a request_id.
 */
uint64_t answer_token(const struct answer *answer);

/* Fills the response with what was answered before. */
struct status answer_again(const struct answer *answer, struct arena *arena, void *response);
