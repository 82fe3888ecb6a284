/*
 * Bytes both ways between a sandbox's socket and one of the gateway's own, by a thread that does
 * nothing else.
 *
 * The sandbox's socket was made inside the sandbox and may have been kept there as well. Whoever
 * keeps it can take its flags away, set its options and be in the middle of a call on it, and no
 * flag of our calls helps against all of that: even a call that must not block waits for the
 * socket's lock, and whoever holds that may be passed by by the scheduler, or be reading memory
 * that is slow to come. So whoever touches the socket must expect to wait, for as long as the
 * sandbox lives, and must be somebody whom nobody else waits for.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Told of what the app sends, as it goes to the gateway. */
struct passage_meter {
    void (*sent)(void *arg, size_t bytes);
    void *arg;
};

/*
 * Returns when both ways have ended, or when the gateway has closed its end and the app has taken
 * the rest or has not for linger_ms. The end of one way is handed on as a shutdown. Any stream
 * sockets, whatever their flags; the caller closes them. meter: NULL, nobody counts.
 */
void passage_run(int app, int gateway, uint32_t linger_ms, const struct passage_meter *meter);
