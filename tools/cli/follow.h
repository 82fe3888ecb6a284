/*
 * Follows a command: writes its output to our stdout and stderr as it comes and remembers how it
 * ended. When the connection is cut it resumes at the offset it had reached, so that nothing is
 * lost and nothing comes twice.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bindings/c/crownest_command.h"
#include "tools/cli/text.h"

#define FOLLOW_ID_SIZE 64

struct follow {
    struct crownest_client *client;
    char command_id[FOLLOW_ID_SIZE]; /* empty until it is known */
    uint64_t offset;                 /* of the next byte to write */
    bool until_exit;                 /* false: until the end of what is there now */
    bool escape;                     /* escape control characters */
    bool quiet;                      /* say nothing about artifacts */
    struct text_escaper escapers[2]; /* of stdout and stderr */

    bool exited;
    Crownest__V1__ExitCause exit_cause;
    int exit_code;
    int exit_signal;
    int write_errno; /* our stdout or stderr failed with this; nothing is followed any more */
};

/* Takes one event of a stream. 0, or -errno when the output cannot be written. */
int follow_event(struct follow *follow, const Crownest__V1__CommandEvent *event);

/*
 * Reads the command's log from follow->offset with StreamLogs until its end, and reconnects as long
 * as the service can be expected to come back (about half a minute). Returns 0, or -errno with
 * ret_error filled; with write_errno set ret_error is not.
 */
int follow_logs(struct follow *follow, struct crownest_error *ret_error);
