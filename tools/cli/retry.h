/*
 * How long to go on trying what failed because the service could not be reached, as while it is
 * restarted. For requests that may be repeated: those that read, name the state they want, carry a
 * request_id or an offset.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bindings/c/client.h"

/* A service that was there comes back: this is longer than a restart takes. */
#define RETRY_WINDOW_MS 60000
/* Before it was heard of, it is more likely not there at all, and one wants to know soon. */
#define RETRY_FIRST_CONTACT_MS 1500

struct retry {
    uint64_t window_ms; /* from the first failure in a row to the last try */
    uint64_t since_ms;
    unsigned failures; /* in a row; 0: it works */
};

#define RETRY(window) ((struct retry){.window_ms = (window)})

/* Whether it was the connection's fault, so that the same request may get an answer later. */
bool retry_helps(const struct crownest_error *error);

/* Counts a failure. Milliseconds to wait before the next try; -1: give up. */
int retry_pause(struct retry *retry, const struct crownest_error *error);

/* As retry_pause, and waits. False: give up. */
bool retry_again(struct retry *retry, const struct crownest_error *error);

/* It works again: failures are counted anew. */
void retry_reset(struct retry *retry);
