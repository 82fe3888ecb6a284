/*
 * The audit: what an entry is, and how it gets into the batch that makes the change it tells of.
 * The store numbers and chains the entries (see struct store_chain); this module says what they
 * look like, signs a checkpoint now and then, and wakes those who follow.
 *
 * Functions may be called from any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "crownest/v1/audit.pb-c.h"
#include "server/store/store.h"
#include "server/util/arena.h"
#include "server/util/err.h"
#include "server/util/id.h"

#define AUDIT_ACTOR_SIZE 64
#define AUDIT_DETAIL_MAX 256
#define AUDIT_KEY_SIZE 32 /* of a public Ed25519 key */

/* Who does something. */
struct audit_actor {
    char id[AUDIT_ACTOR_SIZE]; /* "key_…", "operator:<name>", "visitor", "anonymous" */
    char request_id[ID_SIZE];  /* of the call, or empty */
};

enum audit_outcome { AUDIT_OK, AUDIT_DENIED, AUDIT_FAILED, AUDIT_BEGUN };

/* Strings may be NULL for none, but for action. They are copied. */
struct audit_entry {
    const struct audit_actor *actor; /* NULL: the service itself */
    const char *action;              /* "sandbox.create" */
    const char *resource_id;
    const char *project_id;
    const char *sandbox_id; /* that the resource is in */
    enum audit_outcome outcome;
    const char *reason; /* a word */
    const char *detail; /* cut after AUDIT_DETAIL_MAX bytes */
};

void audit_add(struct store_batch *batch, const struct audit_entry *entry);

struct audit;

/*
 * Reads the key that signs checkpoints from the file, or makes both. Before the store is opened:
 * that needs audit_chain.
 */
int audit_new(const char *key_file, struct audit **ret_audit, struct err *err);
/* What store_open_with needs; lives as long as the audit. */
const struct store_chain *audit_chain(const struct audit *audit);
/* Begins to make checkpoints. store: opened with audit_chain. */
void audit_start(struct audit *audit, struct store *store);
/* Makes a last checkpoint if one is due. Before the store is closed. */
void audit_stop(struct audit *audit);
/* After the store was closed. NULL is fine. */
void audit_free(struct audit *audit);

void audit_public_key(const struct audit *audit, uint8_t ret_key[AUDIT_KEY_SIZE]);
/* Makes one now. Returns 0, -ENOSPC or -EIO. */
int audit_checkpoint(struct audit *audit);

/*
 * Writes the entry of a refusal, which no batch makes. Those that come faster than
 * LIMIT_DENIALS_PER_SECOND are counted only: the next one that is written says how many.
 */
void audit_denied(struct audit *audit, const struct audit_entry *entry);

/* Called from the store's thread when entries were written; must not block. */
struct audit_follower {
    void (*grown)(struct audit_follower *follower);
    struct audit_follower *next;
};

void audit_follow(struct audit *audit, struct audit_follower *follower);
/* It is not called any more when this returns. */
void audit_unfollow(struct audit *audit, struct audit_follower *follower);
