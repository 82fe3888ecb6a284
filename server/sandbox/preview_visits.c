#include "server/sandbox/preview_visits.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/sandbox/preview.h"
#include "server/store/record.h"
#include "server/util/cleanup.h"
#include "server/util/clock.h"

#define PLACES 256
#define RECENT 64
#define RECENT_MS 60000
#define ARENA_BYTES (64U << 10)

struct told {
    char preview_id[ID_SIZE];
    enum preview_visit visit;
    uint64_t time_ms;
};

struct preview_visits {
    struct store *store;
    struct audit *audit;
    pthread_t thread;
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t changed;
    bool stopping;
    struct told places[PLACES];
    size_t first;
    size_t count;
    unsigned unlisted;
    /* The thread's own: previews whose tokens came in a header. */
    struct told recent[RECENT];
    size_t next_recent;
};

static bool is_recent(struct preview_visits *visits, const struct told *told)
{
    for (size_t i = 0; i < RECENT; i++) {
        struct told *recent = &visits->recent[i];

        if (recent->time_ms > 0 && told->time_ms - recent->time_ms < RECENT_MS &&
            strcmp(recent->preview_id, told->preview_id) == 0)
            return true;
    }
    visits->recent[visits->next_recent] = *told;
    visits->next_recent = (visits->next_recent + 1) % RECENT;
    return false;
}

static int find(struct preview_visits *visits, const struct told *told, struct arena *arena,
                Crownest__V1__Preview **ret_preview)
{
    struct schema_key owner = schema_key("pi", told->preview_id, NULL, NULL);
    Crownest__Records__PreviewRecord *record;
    char project_id[ID_SIZE];
    int r = record_get_string(visits->store, &owner, project_id, sizeof(project_id));

    if (r < 0)
        return r;
    struct schema_key key = schema_key("p", project_id, told->preview_id, NULL);

    r = record_get(visits->store, &key, &crownest__records__preview_record__descriptor, arena,
                   &record);
    if (r == 0)
        *ret_preview = record->preview;
    return r;
}

static void write_visit(struct preview_visits *visits, const struct told *told, unsigned unlisted)
{
    static const struct audit_actor visitor = {.id = "visitor"};
    struct arena *arena = arena_new(ARENA_BYTES);
    Crownest__V1__Preview *preview;
    char detail[64] = "";

    if (find(visits, told, arena, &preview) == 0) {
        struct audit_entry entry = preview_entry(preview, "preview.visit", &visitor);

        if (unlisted > 0)
            (void)snprintf(detail, sizeof(detail), "%u more visits are not listed", unlisted);
        entry.detail = detail;
        entry.reason = told->visit == PREVIEW_VISIT_URL      ? "TOKEN_IN_URL"
                       : told->visit == PREVIEW_VISIT_HEADER ? "TOKEN_IN_HEADER"
                                                             : "TOKEN_WRONG";
        if (told->visit == PREVIEW_VISIT_REFUSED) {
            entry.outcome = AUDIT_DENIED;
            audit_denied(visits->audit, &entry);
        } else {
            struct store_batch *batch = store_batch_new();

            audit_add(batch, &entry);
            (void)store_commit(visits->store, batch, STORE_UNSYNCED);
        }
    }
    arena_free(arena);
}

static void *visits_thread(void *arg)
{
    struct preview_visits *visits = arg;

    (void)pthread_mutex_lock(&visits->mutex);
    for (;;) {
        while (visits->count == 0 && !visits->stopping)
            (void)pthread_cond_wait(&visits->changed, &visits->mutex);
        if (visits->count == 0)
            break;
        struct told told = visits->places[visits->first];
        unsigned unlisted = visits->unlisted;

        visits->first = (visits->first + 1) % PLACES;
        visits->count--;
        visits->unlisted = 0;
        (void)pthread_mutex_unlock(&visits->mutex);
        if (told.visit != PREVIEW_VISIT_HEADER || !is_recent(visits, &told))
            write_visit(visits, &told, unlisted);
        (void)pthread_mutex_lock(&visits->mutex);
    }
    (void)pthread_mutex_unlock(&visits->mutex);
    return NULL;
}

void preview_visits_tell(struct preview_visits *visits, const char *preview_id,
                         enum preview_visit visit)
{
    lock_scope(&visits->mutex);
    if (visits->count == PLACES) {
        visits->unlisted++;
        return;
    }
    struct told *told = &visits->places[(visits->first + visits->count++) % PLACES];

    *told = (struct told){.visit = visit, .time_ms = clock_monotonic_ms()};
    (void)snprintf(told->preview_id, sizeof(told->preview_id), "%s", preview_id);
    (void)pthread_cond_signal(&visits->changed);
}

struct preview_visits *preview_visits_new(struct store *store, struct audit *audit)
{
    struct preview_visits *visits = calloc(1, sizeof(*visits));

    if (!visits)
        abort();
    visits->store = store;
    visits->audit = audit;
    (void)pthread_mutex_init(&visits->mutex, NULL);
    (void)pthread_cond_init(&visits->changed, NULL);
    if (pthread_create(&visits->thread, NULL, visits_thread, visits) != 0)
        abort();
    (void)pthread_setname_np(visits->thread, "visits");
    return visits;
}

void preview_visits_free(struct preview_visits *visits)
{
    if (!visits)
        return;
    (void)pthread_mutex_lock(&visits->mutex);
    visits->stopping = true;
    (void)pthread_cond_signal(&visits->changed);
    (void)pthread_mutex_unlock(&visits->mutex);
    (void)pthread_join(visits->thread, NULL);
    (void)pthread_cond_destroy(&visits->changed);
    (void)pthread_mutex_destroy(&visits->mutex);
    free(visits);
}
