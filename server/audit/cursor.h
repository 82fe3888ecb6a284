/* Reading entries: those that fit a filter, in either direction, a few at a time. */
#pragma once

#include <stdbool.h>

#include "server/audit/audit.h"

#define AUDIT_ACTIONS_MAX 16
#define CURSOR_NUMBERS 128

/* Strings live as long as the cursor; empty ones mean any. */
struct audit_filter {
    const char *project_id;
    const char *actor;
    const char *resource_id;
    const char *actions[AUDIT_ACTIONS_MAX]; /* each an action, or a noun for all of its actions */
    size_t action_count;
    Crownest__V1__AuditOutcome outcome; /* unspecified: any */
};

/* One thread at a time. */
struct audit_cursor {
    struct store *store;
    struct audit_filter filter;
    enum store_order order;
    char prefix[AUDIT_ACTOR_SIZE + 16];
    uint64_t numbers[CURSOR_NUMBERS]; /* that the index gave, and are still to be read */
    size_t count;
    size_t at;
    uint64_t next; /* to ask the index for */
};

/* from: the first entry that may be returned; UINT64_MAX with STORE_DESCENDING is the newest. */
void audit_cursor_init(struct audit_cursor *cursor, struct store *store,
                       const struct audit_filter *filter, enum store_order order, uint64_t from);

/*
 * The next entry, in the arena: 1; 0 when there is none (a cursor that ascends may be asked again
 * later); -EAGAIN when `visited` entries did not fit; or -EIO, -EUCLEAN.
 */
int audit_cursor_next(struct audit_cursor *cursor, size_t visited, struct arena *arena,
                      Crownest__V1__AuditEntry **ret_entry);

/* The number to begin with for what comes next; 0 when there is no more. */
uint64_t audit_cursor_position(struct audit_cursor *cursor);
