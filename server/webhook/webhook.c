#include "server/webhook/webhook.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "private/records.pb-c.h"
#include "server/store/record.h"
#include "server/util/cleanup.h"
#include "server/util/clock.h"
#include "server/util/cond.h"
#include "server/util/container_of.h"
#include "server/util/limits.h"
#include "server/util/prototime.h"
#include "server/webhook/webhook_private.h"

#define IDLE_MS 60000
#define ARENA_BYTES (1U << 20)

struct status webhook_check_url(const char *url)
{
    char origin[POST_ORIGIN_SIZE];

    return post_check_url(url, origin);
}

void webhooks_secret(const struct webhooks *webhooks, const char *webhook_id,
                     char ret_secret[SECRET_SIZE])
{
    webhook_secret(webhooks->key, webhook_id, ret_secret);
}

/* Scheduling */

static void on_grown(struct audit_follower *follower)
{
    struct webhooks *webhooks = container_of(follower, struct webhooks, follower);

    lock_scope(&webhooks->mutex);
    (void)pthread_cond_signal(&webhooks->changed);
}

static unsigned count_slow(const struct webhooks *webhooks)
{
    unsigned count = 0;

    for (const struct webhook *w = webhooks->first; w; w = w->next)
        count += w->running && w->state.slow;
    return count;
}

/* Submits what is due; returns after how many milliseconds something else may be. */
static uint64_t submit_due(struct webhooks *webhooks)
{
    uint64_t last = store_last_entry(webhooks->store);
    uint64_t now = clock_monotonic_ms();
    uint64_t wait_ms = IDLE_MS;
    unsigned slow = count_slow(webhooks);

    for (struct webhook *w = webhooks->first; w; w = w->next) {
        if (w->running || w->state.delivered >= last)
            continue;
        if (w->state.next_ms > now) {
            if (w->state.next_ms - now < wait_ms)
                wait_ms = w->state.next_ms - now;
            continue;
        }
        /* Its turn comes when one of them has ended. */
        if (w->state.slow && slow >= LIMIT_WEBHOOK_SLOW_THREADS)
            continue;
        slow += w->state.slow;
        w->running = true;
        workers_submit(webhooks->workers, &w->job);
    }
    return wait_ms;
}

static void *schedule_thread(void *arg)
{
    struct webhooks *webhooks = arg;

    lock_scope(&webhooks->mutex);
    while (!atomic_load(&webhooks->stopping)) {
        struct timespec deadline = cond_deadline((unsigned)submit_due(webhooks));

        (void)pthread_cond_timedwait(&webhooks->changed, &webhooks->mutex, &deadline);
    }
    return NULL;
}

/* What is known of each */

/* A copy with a life of its own. */
static struct webhook *webhook_new(struct webhooks *webhooks, struct bytes packed)
{
    struct webhook *webhook = calloc(1, sizeof(*webhook));

    if (!webhook)
        abort();
    webhook->record = crownest__v1__webhook__unpack(NULL, packed.size, packed.data);
    if (!webhook->record || webhook->record->n_actions > AUDIT_ACTIONS_MAX) {
        webhook_free(webhook);
        return NULL;
    }
    webhook->owner = webhooks;
    webhook->job = (struct job){.run = webhook_deliver, .tenant = webhook->record->webhook_id};
    webhook->filter = (struct audit_filter){.project_id = webhook->record->project_id,
                                            .actor = "",
                                            .resource_id = "",
                                            .action_count = webhook->record->n_actions};
    for (size_t i = 0; i < webhook->record->n_actions; i++)
        webhook->filter.actions[i] = webhook->record->actions[i];
    return webhook;
}

void webhook_free(struct webhook *webhook)
{
    if (webhook->record)
        crownest__v1__webhook__free_unpacked(webhook->record, NULL);
    free(webhook);
}

/* Called with the mutex held, as what follows. */
static struct webhook **find(struct webhooks *webhooks, const char *webhook_id)
{
    struct webhook **at = &webhooks->first;

    while (*at && strcmp((*at)->record->webhook_id, webhook_id) != 0)
        at = &(*at)->next;
    return at;
}

static void fill_progress(const struct webhook_state *state, struct arena *arena,
                          Crownest__V1__Webhook *webhook)
{
    uint64_t now = clock_monotonic_ms();

    webhook->delivered_sequence = state->delivered;
    if (state->failing_since_ms > 0) {
        webhook->failing_since = prototime_from_ms(arena, state->failing_since_ms);
        webhook->last_error = arena_strdup(arena, state->last_error);
        webhook->next_try_time = prototime_from_ms(
            arena, clock_wall_ms() + (state->next_ms > now ? state->next_ms - now : 0));
    }
}

bool webhooks_fill(struct webhooks *webhooks, Crownest__V1__Webhook *webhook, struct arena *arena)
{
    lock_scope(&webhooks->mutex);
    const struct webhook *found = *find(webhooks, webhook->webhook_id);

    if (found)
        fill_progress(&found->state, arena, webhook);
    return found != NULL;
}

static void enlist(struct webhooks *webhooks, struct webhook *webhook)
{
    lock_scope(&webhooks->mutex);
    webhook->next = webhooks->first;
    webhooks->first = webhook;
    webhooks->count++;
    (void)pthread_cond_signal(&webhooks->changed);
}

static void delist(struct webhooks *webhooks, const char *webhook_id)
{
    lock_scope(&webhooks->mutex);
    struct webhook **at = find(webhooks, webhook_id);
    struct webhook *webhook = *at;

    if (!webhook)
        return;
    *at = webhook->next;
    webhooks->count--;
    atomic_store(&webhook->deleted, true);
    if (!webhook->running)
        webhook_free(webhook);
}

/* Where it begins */

static bool note_sequence(void *arg, struct bytes key, struct bytes value)
{
    char text[STORE_SEQUENCE_SIZE] = "";

    (void)value;
    if (key.size >= sizeof(text) - 1)
        memcpy(text, key.data + key.size - (sizeof(text) - 1), sizeof(text) - 1);
    *(uint64_t *)arg = strtoull(text, NULL, 16);
    return false;
}

/* The first entry about it is that of its creation. */
static int read_creation(struct store *store, const char *webhook_id, uint64_t *ret_sequence)
{
    struct schema_key prefix = schema_key("er", webhook_id, "", NULL);
    uint64_t sequence = 0;
    int r = store_scan(store, schema_bytes(&prefix), bytes_of(NULL, 0), STORE_ASCENDING,
                       note_sequence, &sequence);

    if (r == 0 && sequence == 0)
        r = -EUCLEAN;
    if (r == 0)
        *ret_sequence = sequence;
    return r;
}

static int read_progress(struct webhook *webhook, struct arena *arena)
{
    struct schema_key key = schema_key("wc", webhook->record->webhook_id, NULL, NULL);
    struct webhook_state *state = &webhook->state;
    Crownest__Records__WebhookProgress *progress;
    int r = record_get(webhook->owner->store, &key,
                       &crownest__records__webhook_progress__descriptor, arena, &progress);

    if (r == -ENOENT)
        return read_creation(webhook->owner->store, webhook->record->webhook_id, &state->delivered);
    if (r < 0)
        return r;
    state->delivered = progress->delivered_sequence;
    state->written = progress->delivered_sequence;
    state->trying = progress->trying_sequence;
    state->failing_since_ms = progress->failing_since_ms;
    (void)snprintf(state->last_error, sizeof(state->last_error), "%s", progress->last_error);
    return 0;
}

/* Creating and deleting */

void webhook_init(Crownest__V1__Webhook *webhook, struct arena *arena)
{
    char id[ID_SIZE];

    crownest__v1__webhook__init(webhook);
    id_make("whk_", id);
    webhook->webhook_id = arena_strdup(arena, id);
    webhook->create_time = prototime_from_us(arena, clock_wall_us());
}

static void add_entry(struct store_batch *batch, const Crownest__V1__Webhook *webhook,
                      const struct audit_actor *by, const char *action)
{
    char origin[POST_ORIGIN_SIZE] = "";

    /* The rest of a URL may be what lets a sender in, and keys read the audit. */
    (void)post_check_url(webhook->url, origin);
    audit_add(batch, &(struct audit_entry){.actor = by,
                                           .action = action,
                                           .resource_id = webhook->webhook_id,
                                           .project_id = webhook->project_id,
                                           .detail = origin});
}

/* Called with `changing` held. */
static struct status check_count(struct webhooks *webhooks)
{
    lock_scope(&webhooks->mutex);
    if (webhooks->count >= LIMIT_WEBHOOKS)
        return status_error(STATUS_RESOURCE_EXHAUSTED, "WEBHOOK_LIMIT",
                            "there are %d webhooks already; delete one", LIMIT_WEBHOOKS);
    return STATUS_OK_VALUE;
}

struct status webhooks_add(struct webhooks *webhooks, struct store_batch *batch,
                           Crownest__V1__Webhook *webhook, const struct audit_actor *by)
{
    struct schema_key key = schema_key("w", webhook->webhook_id, NULL, NULL);
    cleanup_buf struct buf packed = {0};

    lock_scope(&webhooks->changing);
    struct status status = check_count(webhooks);

    if (!status_is_ok(&status)) {
        store_batch_free(batch);
        return status;
    }
    uint64_t before = store_last_entry(webhooks->store);

    buf_reserve(&packed, crownest__v1__webhook__get_packed_size(webhook));
    packed.size = crownest__v1__webhook__pack(webhook, packed.data);
    store_batch_put(batch, schema_bytes(&key), buf_bytes(&packed));
    add_entry(batch, webhook, by, "webhook.create");
    status = record_commit(webhooks->store, batch);
    if (!status_is_ok(&status))
        return status;
    struct webhook *made = webhook_new(webhooks, buf_bytes(&packed));

    if (!made)
        abort();
    /* What cannot be read now is told rather twice than never. */
    if (read_creation(webhooks->store, webhook->webhook_id, &made->state.delivered) < 0)
        made->state.delivered = before;
    webhook->delivered_sequence = made->state.delivered;
    enlist(webhooks, made);
    return STATUS_OK_VALUE;
}

struct status webhooks_get(struct webhooks *webhooks, const char *webhook_id, struct arena *arena,
                           Crownest__V1__Webhook **ret_webhook)
{
    struct schema_key key = schema_key("w", webhook_id, NULL, NULL);
    Crownest__V1__Webhook *webhook;

    if (!id_valid("whk_", webhook_id) ||
        record_get(webhooks->store, &key, &crownest__v1__webhook__descriptor, arena, &webhook) <
            0 ||
        !webhooks_fill(webhooks, webhook, arena))
        return status_at(
            status_error(STATUS_NOT_FOUND, "WEBHOOK_NOT_FOUND", "no webhook has this id"),
            "webhook_id");
    *ret_webhook = webhook;
    return STATUS_OK_VALUE;
}

struct status webhooks_delete(struct webhooks *webhooks, const char *webhook_id,
                              const struct audit_actor *by, struct arena *arena,
                              Crownest__V1__Webhook **ret_webhook)
{
    lock_scope(&webhooks->changing);
    struct schema_key key = schema_key("w", webhook_id, NULL, NULL);
    struct schema_key progress = schema_key("wc", webhook_id, NULL, NULL);
    struct status status = webhooks_get(webhooks, webhook_id, arena, ret_webhook);

    if (!status_is_ok(&status))
        return status;
    struct store_batch *batch = store_batch_new();

    add_entry(batch, *ret_webhook, by, "webhook.delete");
    record_delete(batch, &key);
    record_delete(batch, &progress);
    status = record_commit(webhooks->store, batch);
    if (status_is_ok(&status))
        delist(webhooks, webhook_id);
    return status;
}

/* Beginning and ending */

struct loading {
    struct webhooks *webhooks;
    bool damaged;
};

static bool load_visit(void *arg, struct bytes key, struct bytes value)
{
    struct loading *loading = arg;
    struct webhook *webhook = webhook_new(loading->webhooks, value);

    (void)key;
    loading->damaged = webhook == NULL;
    if (webhook)
        enlist(loading->webhooks, webhook);
    return webhook != NULL;
}

static int load(struct webhooks *webhooks, struct err *err)
{
    struct schema_key prefix = schema_key("w", "", NULL, NULL);
    struct arena *arena = arena_new(ARENA_BYTES);
    struct loading loading = {.webhooks = webhooks};
    int r = store_scan(webhooks->store, schema_bytes(&prefix), bytes_of(NULL, 0), STORE_ASCENDING,
                       load_visit, &loading);

    if (r == 0 && loading.damaged)
        r = -EUCLEAN;
    for (struct webhook *w = webhooks->first; w && r == 0; w = w->next)
        r = read_progress(w, arena);
    arena_free(arena);
    return r < 0 ? err_set(err, -r, "the webhooks cannot be read: %s", strerror(-r)) : 0;
}

static void start(struct webhooks *webhooks)
{
    webhooks->workers = workers_new("webhook", LIMIT_WEBHOOK_THREADS, 1);
    if (pthread_create(&webhooks->thread, NULL, schedule_thread, webhooks) != 0)
        abort();
    (void)pthread_setname_np(webhooks->thread, "webhooks");
    webhooks->follower.grown = on_grown;
    audit_follow(webhooks->audit, &webhooks->follower);
}

int webhooks_new(const struct webhooks_options *options, struct webhooks **ret_webhooks,
                 struct err *err)
{
    struct webhooks *webhooks = calloc(1, sizeof(*webhooks));

    if (!webhooks)
        abort();
    post_init();
    webhooks->store = options->store;
    webhooks->audit = options->audit;
    (void)pthread_mutex_init(&webhooks->changing, NULL);
    (void)pthread_mutex_init(&webhooks->mutex, NULL);
    cond_init(&webhooks->changed);
    int r = webhook_key_open(options->key_file, webhooks->key, err);

    if (r == 0)
        r = load(webhooks, err);
    if (r < 0) {
        webhooks_free(webhooks);
        return r;
    }
    start(webhooks);
    *ret_webhooks = webhooks;
    return 0;
}

static void stop(struct webhooks *webhooks)
{
    if (!webhooks->workers)
        return;
    audit_unfollow(webhooks->audit, &webhooks->follower);
    (void)pthread_mutex_lock(&webhooks->mutex);
    atomic_store(&webhooks->stopping, true);
    (void)pthread_cond_signal(&webhooks->changed);
    (void)pthread_mutex_unlock(&webhooks->mutex);
    (void)pthread_join(webhooks->thread, NULL);
    workers_free(webhooks->workers);
}

void webhooks_free(struct webhooks *webhooks)
{
    if (!webhooks)
        return;
    stop(webhooks);
    while (webhooks->first) {
        struct webhook *webhook = webhooks->first;

        webhooks->first = webhook->next;
        webhook_free(webhook);
    }
    secret_wipe(webhooks->key, sizeof(webhooks->key));
    (void)pthread_cond_destroy(&webhooks->changed);
    (void)pthread_mutex_destroy(&webhooks->mutex);
    (void)pthread_mutex_destroy(&webhooks->changing);
    free(webhooks);
}
