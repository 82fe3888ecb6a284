/* What the files of commands share: command.c, command_end.c, command_input.c, command_adopt.c. */
#pragma once

#include "server/sandbox/command.h"

#include <uthash.h>

#define COMMAND_ARENA_BYTES (8U << 20)

struct output {
    struct loop_source source;
    struct command *command;
    enum log_stream stream;
    bool open;
};

struct command {
    atomic_uint refs;
    struct commands *owner;
    struct sandbox *sandbox;
    char id[ID_SIZE];
    char project_id[ID_SIZE];
    uint64_t number; /* its name towards nest-init */
    struct log *log;
    struct output outputs[2];
    struct loop_task attach;
    struct loop_timer timeout;
    struct loop_timer finish_again; /* has the loop's reference while it is armed */
    struct job kill_job;
    struct job finish_job;
    uint64_t start_us;
    /* Of the loop's thread, and of finish_job after it was submitted. */
    bool attached;
    bool over; /* heard to have ended, perhaps before it was attached */
    bool ended;
    bool lost;                       /* it has no exit of its own … */
    Crownest__V1__ExitCause lost_as; /* … but ended so; unspecified: with its sandbox */
    struct nest_reply exit;
    uint64_t end_us;
    /* Writers of input come one after the other. */
    pthread_mutex_t input_mutex;
    int input; /* to wait for room; -1: closed, or never open */
    /* Whoever changes its record. */
    pthread_mutex_t record_mutex;
    bool recorded;                 /* its end is in the store: the record is final */
    Crownest__V1__ExitCause asked; /* as in the record, also when that could not be written */
    /* Under the owner's mutex. */
    bool unrecorded; /* it has ended, and that could not be written yet */
    bool detached;   /* its sandbox was adopted while it was paused */
    UT_hash_handle by_id;
    UT_hash_handle by_number;
};

struct commands {
    struct commands_options options;
    char *log_directory;
    struct workers *workers;
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t done;
    struct command *ids;
    struct command *numbers;
};

/* command.c */

struct command *command_ref(struct command *command);
void command_unref(struct command *command);
/* Called with the mutex held. */
struct command *command_find(struct commands *commands, const char *id);
/* One of the project that runs, referenced, or NULL. */
struct command *command_running(struct commands *commands, const char *project_id, const char *id);
/* Why there is none that runs: NOT_FOUND or FAILED_PRECONDITION COMMAND_NOT_RUNNING. */
struct status command_not_running(struct commands *commands, const char *project_id,
                                  const char *id);
/* One reference for the tables, and one for the loop, which hands it to finish_job. */
struct command *command_new(struct commands *commands, struct sandbox *sandbox,
                            const Crownest__Records__CommandRecord *record);
/*
 * Puts it into the tables, and counts it, unless the sandbox has too many. taken: it is counted in
 * its project already.
 */
struct status command_admit(struct command *command, bool taken);
/* Takes it out of the tables: from here on only the store knows it. */
void command_forget(struct command *command);
/* Starts what the record says. On success the loop has it. */
struct status command_spawn(struct command *command,
                            const Crownest__Records__CommandRecord *record);
/* Gives its pipes to the loop; NULL: it has none yet. timeout_ms: what is left, 0: none. */
void command_attach(struct command *command, const int *fds, uint64_t timeout_ms);

/* command_adopt.c */

/* Finds an adopted command in its sandbox, or starts it there; one that can be neither has ended.
 */
void command_reach(struct command *command);

/* command_output.c */

void command_output_ready(struct loop_source *source, uint32_t events);
void command_attach_run(struct loop_task *task);
/* On the loop's thread: it has ended, as command->exit says, or with its sandbox. */
void command_end(struct command *command);

/* command_end.c: what the timer, and the jobs, of command_new do */

void command_timeout_fire(struct loop_timer *timer);
void command_finish_again(struct loop_timer *timer);
void command_kill_run(struct job *job);
void command_finish_run(struct job *job);
