/* Removing answers that have expired. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "server/policy/answer_private.h"
#include "server/store/record.h"
#include "server/util/cleanup.h"
#include "server/util/clock.h"
#include "server/util/cond.h"

#define TIME_DIGITS 16
#define PAUSE_MS 30000      /* when nothing more has expired */
#define PAUSE_BETWEEN_MS 50 /* so that the database is there for others */
#define NICE 10

/* One entry of the index. */
struct entry {
    struct schema_key key;
    struct answer answer;
};

struct sweep {
    uint64_t now_ms;
    struct entry *entries;
    size_t count;
};

struct schema_key answer_time_key(const struct answer *answer, uint64_t time_ms)
{
    char time[TIME_DIGITS + 1];

    (void)snprintf(time, sizeof(time), "%016llx", (unsigned long long)time_ms);
    return schema_key("ra", time, answer->project_id, answer->request_id);
}

/* `ra/<time>/<project>/<request id>`. False for what is no such key. */
static bool parse(struct bytes key, struct entry *ret_entry, uint64_t *ret_time_ms)
{
    struct schema_key *text = &ret_entry->key;
    struct answer *answer = &ret_entry->answer;

    if (key.size >= sizeof(text->text))
        return false;
    memcpy(text->text, key.data, key.size);
    text->text[key.size] = '\0';
    text->size = key.size;
    const char *time = text->text + strlen("ra/");
    char *end;

    *ret_time_ms = strtoull(time, &end, 16);
    const char *slash = end == time + TIME_DIGITS && *end == '/' ? strchr(end + 1, '/') : NULL;

    if (!slash || (size_t)(slash - end - 1) >= sizeof(answer->project_id) ||
        strlen(slash + 1) >= sizeof(answer->request_id))
        return false;
    memcpy(answer->project_id, end + 1, (size_t)(slash - end - 1));
    memcpy(answer->request_id, slash + 1, strlen(slash + 1) + 1);
    return true;
}

static bool note_expired(void *arg, struct bytes key, struct bytes value)
{
    struct sweep *sweep = arg;
    struct entry *entry = &sweep->entries[sweep->count];
    uint64_t time_ms;

    (void)value;
    if (!parse(key, entry, &time_ms))
        return true;
    if (!answer_expired(time_ms, sweep->now_ms))
        return false;
    return ++sweep->count < ANSWERS_SWEPT_AT_ONCE;
}

/*
 * The same request_id may have been used again after its answer had expired. One that cannot be
 * read is worth nothing to anybody.
 */
static void remove_expired(struct answers *answers, const struct entry *entry, uint64_t now_ms,
                           struct store_batch *batch)
{
    struct arena *arena = arena_new(LIMIT_CALL_ARENA);
    struct schema_key key = answer_key(&entry->answer);
    Crownest__Records__AnswerRecord *record;
    int r = record_get(answers->admission.store, &key,
                       &crownest__records__answer_record__descriptor, arena, &record);

    if (r == -EUCLEAN || (r == 0 && answer_expired(record->time_ms, now_ms)))
        record_delete(batch, &key);
    if (r != -EIO)
        record_delete(batch, &entry->key);
    arena_free(arena);
}

/* While an answer is being removed, nobody looks for it or writes another under its name. */
int answers_sweep(struct answers *answers, uint64_t now_ms)
{
    struct sweep sweep = {.now_ms = now_ms,
                          .entries = calloc(ANSWERS_SWEPT_AT_ONCE, sizeof(struct entry))};
    bool *entered = calloc(ANSWERS_SWEPT_AT_ONCE, sizeof(*entered));

    if (!sweep.entries || !entered)
        abort();
    int r = store_scan(answers->admission.store, bytes_of_string("ra/"), bytes_of(NULL, 0),
                       STORE_ASCENDING, note_expired, &sweep);
    struct store_batch *batch = store_batch_new();

    for (size_t i = 0; r == 0 && i < sweep.count; i++) {
        struct answer *answer = &sweep.entries[i].answer;

        answer->owner = answers;
        entered[i] = answer_try_enter(answers, answer);
        if (entered[i])
            remove_expired(answers, &sweep.entries[i], now_ms, batch);
    }
    if (r == 0 && sweep.count > 0)
        r = store_commit(answers->admission.store, batch, STORE_UNSYNCED);
    else
        store_batch_free(batch);
    for (size_t i = 0; i < sweep.count; i++) {
        if (entered[i])
            answer_end(&sweep.entries[i].answer);
    }
    free(entered);
    free(sweep.entries);
    return r < 0 ? r : (int)sweep.count;
}

static bool wait_stopping(struct answers *answers, unsigned ms)
{
    struct timespec end = cond_deadline(ms);

    lock_scope(&answers->mutex);
    while (!answers->stopping &&
           pthread_cond_timedwait(&answers->stop, &answers->mutex, &end) != ETIMEDOUT)
        ;
    return answers->stopping;
}

static void *sweeper_main(void *arg)
{
    struct answers *answers = arg;
    int swept;

    /* Of this thread alone, which is Linux's way. */
    (void)setpriority(PRIO_PROCESS, 0, NICE);
    do
        swept = answers_sweep(answers, clock_wall_ms());
    while (!wait_stopping(answers, swept == ANSWERS_SWEPT_AT_ONCE ? PAUSE_BETWEEN_MS : PAUSE_MS));
    return NULL;
}

struct answers *answers_new(const struct admission *admission)
{
    struct answers *answers = calloc(1, sizeof(*answers));

    if (!answers)
        abort();
    answers->admission = *admission;
    (void)pthread_mutex_init(&answers->mutex, NULL);
    (void)pthread_cond_init(&answers->ended, NULL);
    cond_init(&answers->stop);
    if (pthread_create(&answers->sweeper, NULL, sweeper_main, answers) != 0)
        abort();
    (void)pthread_setname_np(answers->sweeper, "answers");
    return answers;
}

void answers_free(struct answers *answers)
{
    if (!answers)
        return;
    (void)pthread_mutex_lock(&answers->mutex);
    answers->stopping = true;
    (void)pthread_cond_signal(&answers->stop);
    (void)pthread_mutex_unlock(&answers->mutex);
    (void)pthread_join(answers->sweeper, NULL);
    (void)pthread_cond_destroy(&answers->stop);
    (void)pthread_cond_destroy(&answers->ended);
    (void)pthread_mutex_destroy(&answers->mutex);
    free(answers);
}
