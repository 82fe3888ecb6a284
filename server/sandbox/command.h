/*
 * Commands: started in a sandbox, their output kept in logs as it comes, their end recorded. A
 * struct command exists while one runs; the store and the log hold what is true of it afterwards.
 *
 * Functions may be called from any thread but the loop's, and block until what they do is on disk.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "private/records.pb-c.h"
#include "server/artifact/blob.h"
#include "server/log/log.h"
#include "server/plan/quota.h"
#include "server/sandbox/loop.h"
#include "server/sandbox/sandbox.h"
#include "server/store/store.h"
#include "server/util/arena.h"
#include "server/util/status.h"

struct commands;
struct command;

struct commands_options {
    struct sandboxes *sandboxes; /* set by commands_reconcile */
    struct store *store;
    struct quotas *quotas; /* may be NULL */
    struct loop *loop;
    struct blob_store *blobs;
    const char *log_directory;
};

struct commands *commands_new(const struct commands_options *options);
/* After the sandboxes were freed. */
void commands_free(struct commands *commands);

/* For sandboxes_new. */
struct sandbox_hooks commands_hooks(struct commands *commands);

/*
 * Takes over the commands of an earlier process, after the sandboxes were, and before
 * sandboxes_greet: those in adopted sandboxes go on, others have ended with theirs.
 */
int commands_reconcile(struct commands *commands, struct sandboxes *sandboxes, struct err *err);

/* An entry about it, to be completed. by: NULL for the service itself. */
struct audit_entry command_entry(const Crownest__V1__Command *command, const char *action,
                                 const struct audit_actor *by);

/* Adds to the batch that announces a command, so that both are on disk or neither. */
struct command_commit {
    const struct audit_actor *by; /* who starts it */
    void (*add)(void *arg, struct store_batch *batch, const Crownest__V1__Command *command);
    /* The command did not start after all: takes back what add has put. */
    void (*take_back)(void *arg, struct store_batch *batch);
    void *arg;
};

/*
 * Starts what the record says (argv, env, cwd, user, terminal, input, collect, timeout), checked;
 * on success it is the command as it was recorded. Its memory lives during the call.
 * RESOURCE_EXHAUSTED COMMAND_LIMIT, or those of quota_take.
 */
struct status commands_start(struct commands *commands, struct sandbox *sandbox,
                             Crownest__Records__CommandRecord *record,
                             const struct command_commit *commit, struct arena *arena);

/* The command as it stands; NOT_FOUND. For one that runs, log_bytes is of this moment. */
struct status commands_get(struct commands *commands, const char *project_id,
                           const char *command_id, struct arena *arena,
                           Crownest__Records__CommandRecord **ret_record);

/*
 * The log of a command, running or ended, referenced. NOT_FOUND LOG_EXPIRED when its retention has
 * passed, DATA_LOSS when it is gone for another reason.
 */
struct status commands_log(struct commands *commands, const char *project_id,
                           const char *command_id, struct arena *arena, struct log **ret_log);

/* Kills every process of it, and returns when its end is recorded. */
struct status commands_cancel(struct commands *commands, const char *project_id,
                              const char *command_id, const struct audit_actor *by);

/* How many run in a sandbox. */
uint32_t commands_running(struct commands *commands, const char *sandbox_id);

/* Returns when its end is recorded, or timeout_ms have passed. */
void commands_wait(struct commands *commands, const char *command_id, unsigned timeout_ms);

/* See WriteStdinRequest. */
struct command_input {
    uint64_t offset;
    struct bytes data;
    bool close;
};

struct command_input_result {
    uint64_t taken; /* bytes of the whole input so far */
    bool closed;
};

/* Waits for room for a few seconds; what was taken is all, or what there was room for. */
struct status commands_input(struct commands *commands, const char *project_id,
                             const char *command_id, const struct command_input *input,
                             struct command_input_result *ret_result);
struct status commands_resize(struct commands *commands, const char *project_id,
                              const char *command_id, uint16_t rows, uint16_t columns);
/* token: see answer_token. */
struct status commands_signal(struct commands *commands, const char *project_id,
                              const char *command_id, int signal_number, uint64_t token);
