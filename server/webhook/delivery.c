#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "private/records.pb-c.h"
#include "server/store/record.h"
#include "server/util/cleanup.h"
#include "server/util/clock.h"
#include "server/util/container_of.h"
#include "server/util/limits.h"
#include "server/webhook/backoff.h"
#include "server/webhook/batch.h"
#include "server/webhook/webhook_private.h"

#define WRITTEN_EVERY 1000 /* entries that do not fit */

static bool is_over(void *arg)
{
    const struct webhook *webhook = arg;

    return atomic_load(&webhook->deleted) || atomic_load(&webhook->owner->stopping);
}

/* Unsynced: what is lost with the host's power is delivered twice. */
static void write_progress(struct webhook *webhook, struct webhook_state *state)
{
    struct schema_key key = schema_key("wc", webhook->record->webhook_id, NULL, NULL);
    Crownest__Records__WebhookProgress progress = CROWNEST__RECORDS__WEBHOOK_PROGRESS__INIT;

    progress.delivered_sequence = state->delivered;
    progress.trying_sequence = state->trying;
    progress.failing_since_ms = state->failing_since_ms;
    progress.last_error = state->last_error;
    lock_scope(&webhook->owner->changing);
    /* Its record is gone, and nothing may be left behind. */
    if (atomic_load(&webhook->deleted))
        return;
    struct store_batch *batch = store_batch_new();

    record_put(batch, &key, &progress.base);
    if (store_commit(webhook->owner->store, batch, STORE_UNSYNCED) == 0)
        state->written = state->delivered;
}

static void failed(struct webhook *webhook, struct webhook_state *state, const char *error)
{
    uint64_t random = (uint64_t)arc4random() << 32 | arc4random();

    state->failures++;
    state->slow = true;
    state->next_ms = clock_monotonic_ms() + webhook_backoff_ms(state->failures, random);
    if (state->failing_since_ms == 0)
        state->failing_since_ms = clock_wall_ms();
    (void)snprintf(state->last_error, sizeof(state->last_error), "%s", error);
    write_progress(webhook, state);
}

static void arrived(struct webhook *webhook, struct webhook_state *state, uint64_t upto, bool slow)
{
    *state = (struct webhook_state){.delivered = upto, .written = state->written, .slow = slow};
    write_progress(webhook, state);
}

static int post(struct webhook *webhook, const struct batch *batch, char ret_error[POST_ERROR_SIZE])
{
    char secret[SECRET_SIZE];
    char signature[WEBHOOK_SIGNATURE_SIZE];
    char delivery[ID_SIZE + 24];
    const struct post request = {.url = webhook->record->url,
                                 .delivery = delivery,
                                 .signature = signature,
                                 .body = buf_bytes(&batch->body),
                                 .stop = is_over,
                                 .arg = webhook};

    webhook_secret(webhook->owner->key, webhook->record->webhook_id, secret);
    webhook_sign(secret, clock_wall_ms() / 1000, request.body, signature);
    secret_wipe(secret, sizeof(secret));
    (void)snprintf(delivery, sizeof(delivery), "%s.%" PRIu64, webhook->record->webhook_id,
                   batch->first);
    return post_send(&request, ret_error);
}

static void send_batch(struct webhook *webhook, struct webhook_state *state,
                       const struct batch *batch)
{
    char error[POST_ERROR_SIZE];

    /* The same delivery holds the same entries, whoever dies meanwhile. */
    if (state->trying != batch->last) {
        state->trying = batch->last;
        write_progress(webhook, state);
    }
    uint64_t begin_ms = clock_monotonic_ms();
    int r = post(webhook, batch, error);

    if (r == 0)
        arrived(webhook, state, batch->last,
                clock_monotonic_ms() - begin_ms >= LIMIT_WEBHOOK_SLOW_MS);
    else if (r != -ECANCELED)
        failed(webhook, state, error);
}

static void step(struct webhook *webhook, struct webhook_state *state)
{
    struct batch batch = {0};
    int r = batch_read(webhook->owner->store, &webhook->filter, webhook->record->webhook_id,
                       state->delivered, state->trying, &batch);

    if (r < 0) {
        failed(webhook, state, "an entry of the audit is missing or cannot be read");
    } else if (batch.count > 0) {
        send_batch(webhook, state, &batch);
    } else {
        state->delivered = state->trying ? state->trying : batch.looked;
        state->trying = 0;
        if (state->delivered - state->written >= WRITTEN_EVERY)
            write_progress(webhook, state);
    }
    batch_done(&batch);
}

void webhook_deliver(struct job *job)
{
    struct webhook *webhook = container_of(job, struct webhook, job);
    struct webhooks *webhooks = webhook->owner;

    (void)pthread_mutex_lock(&webhooks->mutex);
    struct webhook_state state = webhook->state;

    (void)pthread_mutex_unlock(&webhooks->mutex);
    if (!is_over(webhook))
        step(webhook, &state);
    lock_scope(&webhooks->mutex);
    webhook->state = state;
    webhook->running = false;
    (void)pthread_cond_signal(&webhooks->changed);
    if (atomic_load(&webhook->deleted))
        webhook_free(webhook);
}
