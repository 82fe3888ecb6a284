/*
 * An entry as it is kept, and as a line of an export. What is hashed is the line, so that anybody
 * can check an export with nothing but SHA-256.
 */
#pragma once

#include "crownest/v1/audit.pb-c.h"
#include "server/store/store.h"
#include "server/util/arena.h"
#include "server/util/buf.h"

#define ENTRY_CHECKPOINT "audit.checkpoint"
#define ENTRY_HASH_MEMBER ",\"hash\":\""

/* Appends the line up to ENTRY_HASH_MEMBER: the text that the hash is of. */
void entry_text(const Crownest__V1__AuditEntry *entry, struct buf *ret_text);
/* Appends the whole line, which ends in a newline. */
void entry_line(const Crownest__V1__AuditEntry *entry, struct buf *ret_line);

/* In the arena. Returns 0, -ENOENT, -EIO, or -EUCLEAN. */
int entry_read(struct store *store, uint64_t sequence, struct arena *arena,
               Crownest__V1__AuditEntry **ret_entry);
