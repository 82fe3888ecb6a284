/* What the store holds of a command, and when it changes. For command.c. */
#pragma once

#include "private/records.pb-c.h"
#include "server/artifact/collect.h"
#include "server/sandbox/command.h"
#include "server/store/store.h"
#include "server/util/arena.h"

/* The record, in the arena. Returns 0, -ENOENT, -EIO or -EUCLEAN. */
int command_record_read(struct store *store, const char *project_id, const char *command_id,
                        struct arena *arena, Crownest__Records__CommandRecord **ret_record);

/* Synced: it is about to start. */
int command_record_start(struct store *store, const Crownest__Records__CommandRecord *record,
                         const struct command_commit *commit);

/* Synced: something else of it has changed. */
int command_record_write(struct store *store, const Crownest__Records__CommandRecord *record,
                         const struct audit_entry *entry);

/* Synced: it never ran, for this reason, and nothing of it is left but what the audit says. */
int command_record_take_back(struct store *store, const Crownest__V1__Command *command,
                             const struct command_commit *commit, const char *reason);

/* Synced: it has ended, and these became artifacts; its log is the sweeper's from now on. */
int command_record_exit(struct store *store, const Crownest__Records__CommandRecord *record,
                        const struct collect_result *collected);
