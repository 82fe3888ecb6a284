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
#include "server/sandbox/loop.h"
#include "server/sandbox/sandbox.h"
#include "server/store/store.h"
#include "server/util/arena.h"
#include "server/util/status.h"

struct commands;
struct command;

struct commands_options {
    struct store *store;
    struct loop *loop;
    struct blob_store *blobs;
    const char *log_directory;
};

struct commands *commands_new(const struct commands_options *options);
/* After the sandboxes were freed. */
void commands_free(struct commands *commands);

/* For sandboxes_new. */
struct sandbox_hooks commands_hooks(struct commands *commands);

/* Records commands of an earlier process as HOST_LOST. */
int commands_reconcile(struct commands *commands, struct err *err);

/* Adds to the batch that announces a command, so that both are on disk or neither. */
struct command_commit {
    void (*add)(void *arg, struct store_batch *batch, const Crownest__V1__Command *command);
    /* The command did not start after all: takes back what add has put. */
    void (*take_back)(void *arg, struct store_batch *batch);
    void *arg;
};

/* What to run, checked; in memory that lives during the call. */
struct command_spec {
    Crownest__Records__CommandRecord *record; /* argv, cwd, user, collect, timeout */
    const char *const *env; /* NAME=value, besides the sandbox's own, which it replaces */
    size_t env_count;
};

/* Starts it: on success record holds the command as it was recorded. */
struct status commands_start(struct commands *commands, struct sandbox *sandbox,
                             const struct command_spec *spec, const struct command_commit *commit,
                             struct arena *arena);

/* The command as it stands; NOT_FOUND. For one that runs, log_bytes is of this moment. */
struct status commands_get(struct commands *commands, const char *project_id,
                           const char *command_id, struct arena *arena,
                           Crownest__Records__CommandRecord **ret_record);

/* The log of a command, running or ended, referenced. DATA_LOSS when it is gone. */
struct status commands_log(struct commands *commands, const char *command_id, struct log **ret_log);

/* Kills every process of it, and returns when its end is recorded. */
struct status commands_cancel(struct commands *commands, const char *project_id,
                              const char *command_id);
