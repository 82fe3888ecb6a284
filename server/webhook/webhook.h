/*
 * Webhooks: the entries of the audit, posted to URLs in their order, each at least once. A thread
 * sees what is due; a few threads deliver, one delivery of a webhook at a time, so that one that is
 * slow or away holds up no other. How far each has come is written after each delivery.
 *
 * Functions may be called from any thread.
 */
#pragma once

#include "crownest/v1/webhook.pb-c.h"
#include "server/audit/audit.h"
#include "server/util/secret.h"
#include "server/util/status.h"

struct webhooks;

struct webhooks_options {
    struct store *store; /* both outlive it */
    struct audit *audit;
    const char *key_file; /* made if missing */
};

/* Goes on where an earlier process has come to. Returns 0 or -errno. */
int webhooks_new(const struct webhooks_options *options, struct webhooks **ret_webhooks,
                 struct err *err);
/* Gives up the deliveries under way. NULL is fine. */
void webhooks_free(struct webhooks *webhooks);

/* URL_INVALID at `url`. */
struct status webhook_check_url(const char *url);

/* Gives it an id and a create_time. */
void webhook_init(Crownest__V1__Webhook *webhook, struct arena *arena);
/*
 * Adds record and entry to the batch, commits it, in any case frees it, and begins to deliver.
 * Fills in how far it has come. RESOURCE_EXHAUSTED WEBHOOK_LIMIT.
 */
struct status webhooks_add(struct webhooks *webhooks, struct store_batch *batch,
                           Crownest__V1__Webhook *webhook, const struct audit_actor *by);
/* NOT_FOUND WEBHOOK_NOT_FOUND. */
struct status webhooks_get(struct webhooks *webhooks, const char *webhook_id, struct arena *arena,
                           Crownest__V1__Webhook **ret_webhook);
/* The same; ret_webhook is as it was. No delivery begins after this. */
struct status webhooks_delete(struct webhooks *webhooks, const char *webhook_id,
                              const struct audit_actor *by, struct arena *arena,
                              Crownest__V1__Webhook **ret_webhook);
/* Fills in how far it has come; false: it was deleted. Does not use the store. */
bool webhooks_fill(struct webhooks *webhooks, Crownest__V1__Webhook *webhook, struct arena *arena);
/* What its deliveries are signed with. */
void webhooks_secret(const struct webhooks *webhooks, const char *webhook_id,
                     char ret_secret[SECRET_SIZE]);
