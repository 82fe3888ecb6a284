/*
 * What the parts of nest-init share. It is single-threaded; children that it forks for commands and
 * file operations call nothing but async-signal-safe functions.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "sandboxd/init/wire.h"

#define NEST_REQUEST_FDS 1
#define NEST_REPLY_FDS 3

struct nest_message {
    union {
        struct nest_request request;
        uint8_t bytes[NEST_INPUT_SIZE(NEST_INPUT_MAX)];
    };
    size_t size; /* as received */
    int fd;      /* that came with it, or -1; whoever keeps it sets -1 */
};

/* Ids of a nest_user. Returns 0 or -EINVAL. */
int nest_user_ids(uint32_t user, uid_t *ret_uid);

/*
 * Sends without waiting. -EAGAIN = the peer does not read now; what must arrive is kept and sent
 * again when it does. Descriptors stay the caller's.
 */
int nest_send(const struct nest_reply *reply, const int *fds, size_t fd_count);

/* In a worker: waits until there is room or a signal comes (-EINTR). */
int nest_send_waiting(const struct nest_reply *reply, const int *fds, size_t fd_count);

/* A reply to this request, with nothing but an error in it. */
int nest_send_error(const struct nest_request *request, int error);

/* In a child that works for nest-init: from here on it has no more rights than its id. 0, -errno.
 */
int nest_drop_capabilities(void);

void nest_close(int *fd);
#define nest_cleanup_fd __attribute__((cleanup(nest_close)))

/* Watches a descriptor; the number comes back through command_on_event. */
int nest_watch(int fd, uint32_t events, uint64_t number);
void nest_unwatch(int fd);
