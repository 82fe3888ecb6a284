/*
 * Passes our standard input on to a command, and the size of our terminal when it has changed, on a
 * thread of its own. Input is written by offset: what is sent again after the service was away is
 * taken once.
 *
 * From a terminal in raw mode, `~.` at the beginning of a line raises SIGTERM in this process,
 * since Ctrl-C goes to the command; `~~` is one tilde.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "bindings/c/client.h"
#include "tools/cli/follow.h"

#define INPUT_PART_SIZE 65536

struct input {
    struct crownest_client *client;
    char command_id[FOLLOW_ID_SIZE];
    bool terminal; /* ours is raw, and the command has one */

    uint64_t offset; /* of the next byte */
    int stop;        /* an eventfd */
    int resizes;     /* a signalfd; -1: no terminal */
    unsigned char line_state;
    bool ended;   /* nothing more is read */
    bool escaped; /* because the escape was typed */
    size_t ahead_len;
    unsigned char ahead[INPUT_PART_SIZE + 1]; /* read, and not sent yet; a tilde may come to it */
    bool running;
    pthread_t thread;
};

/* Blocks SIGWINCH; before any other thread starts, so that all inherit it. */
void input_prepare(void);

/* How much input the command has taken, whoever wrote it. 0, or -errno with ret_error filled. */
int input_find_offset(struct crownest_client *client, char *command_id, uint64_t *ret_offset,
                      struct crownest_error *ret_error);

/* Whether the command has ended or closed its input: it wants no more, which is no mistake. */
bool input_is_unwanted(const struct crownest_error *error);

/* Begins at an offset of the command's input; `input` must stay where it is. 0, or -errno. */
int input_start(struct input *input, struct crownest_client *client, const char *command_id,
                uint64_t offset, bool terminal);

/* Ends, after a request that is under way. Fine if it was never started. */
void input_stop(struct input *input);

/*
 * For tests: what of `data` goes to the command, in place; returns how much that is, which is one
 * more when a tilde waited. *ret_end is set when the escape was typed.
 */
size_t input_filter(unsigned char *state, unsigned char *data, size_t len, bool *ret_end);
