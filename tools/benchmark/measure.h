/*
 * What the two measuring programs share: a request is a line of words between tabs on stdin, its
 * answer one line on stdout. Single-threaded.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define MEASURE_WORDS 64

/* One measurement; times in nanoseconds from its start. */
struct measure {
    uint64_t total;  /* until everything was cleaned up */
    uint64_t exited; /* until the exit of the command was known */
    uint64_t first;  /* until the first byte of output; 0: there was none */
    uint64_t bytes;  /* of output */
};

uint64_t measure_now(void);

/*
 * Waits for a request and splits it. The words end with NULL and last until the next call. Returns
 * their number, or 0 at the end of the input. Exits on a line that is too long.
 */
size_t measure_next(char *ret_words[MEASURE_WORDS + 1]);

/* Answers a request. */
void measure_reply(const struct measure *measure);
