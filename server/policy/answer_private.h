/* What the files of answer.h share. */
#pragma once

#include <pthread.h>

#include "server/policy/answer.h"
#include "server/store/schema.h"
#include "server/util/limits.h"

struct answers {
    struct admission admission;
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t ended;
    struct answer *under_way;
    pthread_t sweeper;
    pthread_cond_t stop;
    bool stopping;
};

static inline bool answer_expired(uint64_t time_ms, uint64_t now_ms)
{
    return time_ms + LIMIT_ANSWER_KEPT_MS < now_ms;
}

struct schema_key answer_key(const struct answer *answer);
/* Where it stands among all of them by the time at which it was stored. */
struct schema_key answer_time_key(const struct answer *answer, uint64_t time_ms);
/* As answer_begin takes the request_id, but false instead of a wait. answer_end must follow. */
bool answer_try_enter(struct answers *answers, struct answer *answer);
