/* The one epoll set of sandboxd, whose events carry a kind and a number. */
#pragma once

#include <stdint.h>

#include "sandboxd/err.h"

enum loop_kind {
    LOOP_LISTENER = 1,
    LOOP_SIGNALS,
    LOOP_CONNECTION, /* number: of the connection */
    LOOP_WORK,       /* number: slot whose builder or remover has answered */
    LOOP_INIT,       /* number: slot whose nest-init has ended */
};

struct loop_event {
    enum loop_kind kind;
    uint32_t number;
};

int loop_init(struct sd_err *err);
int loop_add(int fd, enum loop_kind kind, uint32_t number, struct sd_err *err);

/* Before the descriptor is closed, since a duplicate elsewhere would keep it in the set. */
void loop_remove(int fd);

/* Waits for the next events; timeout as for epoll_wait. Returns their number or -errno. */
int loop_wait(struct loop_event *ret_events, int max, int timeout_ms);

int64_t loop_now_ms(void);
