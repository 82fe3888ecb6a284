/*
 * Follows a command: writes its output to our stdout and stderr as it comes and remembers how it
 * ended. When the connection is cut it resumes at the offset it had reached, so that nothing is
 * lost and nothing comes twice.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bindings/c/crownest_command.h"
#include "tools/cli/command.h"
#include "tools/cli/text.h"

#define FOLLOW_ID_SIZE 64
#define FOLLOW_TAIL_MAX 10000 /* lines: the contract's */

struct follow {
    struct crownest_client *client;
    char command_id[FOLLOW_ID_SIZE]; /* empty until it is known */
    uint64_t offset;                 /* of the next byte to write; unless there is a tail */
    Crownest__V1__LogStream stream;  /* one of them alone; unspecified: both */
    uint64_t tail_lines;             /* not 0: begin with the last so many, instead of at offset */
    bool until_exit;                 /* false: until the end of what is there now */
    bool discard;                    /* write nothing; with until_exit, begin at the end */
    bool escape[2];                  /* escape control characters, in stdout and in stderr */
    bool quiet;                      /* say nothing about artifacts */
    struct text_escaper escapers[2]; /* of stdout and stderr */
    bool positioned;                 /* the tail has begun: offset counts from now on */
    bool heard;                      /* the service is there, or was */

    bool exited;
    Crownest__V1__ExitCause exit_cause;
    int exit_code;
    int exit_signal;
    int write_errno; /* our stdout or stderr failed with this; nothing is followed any more */
};

/* Escapes what goes to a terminal of ours, unless `raw`. */
void follow_escape(struct follow *follow, bool raw);

/* Takes one event of a stream. 0, or -errno when the output cannot be written. */
int follow_event(struct follow *follow, const Crownest__V1__CommandEvent *event);

/*
 * Reads the command's log with StreamLogs until its end, and reconnects as long as the service can
 * be expected to come back (RETRY_WINDOW_MS). Returns 0, or -errno with ret_error filled; with
 * write_errno set ret_error is not.
 */
int follow_logs(struct follow *follow, struct crownest_error *ret_error);

/*
 * The exit code that stands for how the command ended: its own, 124 for its timeout, 128 and the
 * number of a signal; for all else, which is said on stderr in the name of `command`, 125.
 */
int follow_exit_code(const struct follow *follow, const struct command *command);
