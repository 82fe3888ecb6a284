#include "server/gateway/passage.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "server/gateway/limits.h"
#include "server/util/clock.h"

#define NAP_MS 10

struct way {
    int from;
    int to;
    bool over;                         /* nothing follows, and nothing waits */
    size_t at, size;                   /* of what was read and not yet written */
    const struct passage_meter *meter; /* NULL: this way is not counted */
    uint8_t bytes[GATEWAY_PASSAGE_BYTES];
};

struct passage {
    struct way up;   /* to the app */
    struct way down; /* from the app */
    bool closed;     /* by the gateway: what it had sent is read without waiting */
    uint64_t end_ms; /* then: how long the app may take for it */
};

static bool is_wait(void)
{
    return errno == EAGAIN || errno == EINTR;
}

/* Returns whether there was something to read, be it the end. */
static bool fill(struct way *way)
{
    ssize_t got = recv(way->from, way->bytes, sizeof(way->bytes), MSG_DONTWAIT);

    if (got < 0 && is_wait())
        return false;
    if (got <= 0) {
        way->over = true;
        (void)shutdown(way->to, SHUT_WR);
        return true;
    }
    way->at = 0;
    way->size = (size_t)got;
    return true;
}

/* Returns whether something was written, or never will be. */
static bool drain(struct way *way)
{
    ssize_t sent = send(way->to, way->bytes + way->at, way->size, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (sent < 0 && is_wait())
        return false;
    if (sent < 0) {
        way->size = 0;
        way->over = true;
        (void)shutdown(way->from, SHUT_RD);
        return true;
    }
    if (way->meter)
        way->meter->sent(way->meter->arg, (size_t)sent);
    way->at += (size_t)sent;
    way->size -= (size_t)sent;
    return true;
}

static bool move(struct way *way, bool readable)
{
    bool filled = way->size == 0 && !way->over && readable && fill(way);
    bool drained = way->size > 0 && drain(way);

    return filled || drained;
}

/* What to wait for at the side that one way reads from and the other writes to. */
static short wanted(const struct way *reader, const struct way *writer)
{
    bool reads = reader->size == 0 && !reader->over;

    return (short)((reads ? POLLIN : 0) | (writer->size > 0 ? POLLOUT : 0));
}

static void on_closed(struct passage *passage, uint32_t linger_ms)
{
    passage->closed = true;
    passage->end_ms = clock_monotonic_ms() + linger_ms;
    passage->down.over = true;
    passage->down.size = 0;
}

/* -1: without end. */
static int patience_ms(const struct passage *passage)
{
    uint64_t now = clock_monotonic_ms();

    if (!passage->closed)
        return -1;
    return passage->up.size > 0 && now < passage->end_ms ? (int)(passage->end_ms - now) : 0;
}

/* Waits, and moves what can be moved; false when there is no use in going on. */
static bool step(struct passage *passage, uint32_t linger_ms)
{
    const short broken = POLLERR | POLLHUP | POLLNVAL;
    struct way *up = &passage->up, *down = &passage->down;
    struct pollfd sides[] = {{.fd = up->to, .events = wanted(down, up)},
                             {.fd = up->from, .events = wanted(up, down)}};
    struct pollfd *app = &sides[0], *gateway = &sides[1];

    /* What is known of a side already, such as its end, would be told without end. */
    if (!app->events)
        app->fd = -1;
    if (passage->closed)
        gateway->fd = -1;
    if (poll(sides, 2, patience_ms(passage)) < 0)
        return errno == EINTR;
    bool moved = (gateway->revents & broken) != 0;

    if (moved)
        on_closed(passage, linger_ms);
    moved |= move(up, passage->closed || (gateway->revents & POLLIN));
    moved |= move(down, app->revents != 0);
    if (moved)
        return true;
    if ((app->revents & broken) || (passage->closed && patience_ms(passage) == 0))
        return false;
    /* Something was ready and was not: whoever shares the socket must not keep us busy with it. */
    (void)poll(NULL, 0, NAP_MS);
    return true;
}

void passage_run(int app, int gateway, uint32_t linger_ms, const struct passage_meter *meter)
{
    struct passage passage = {
        .up = {.from = gateway, .to = app},
        .down = {.from = app, .to = gateway, .meter = meter},
    };
    int on = 1;

    (void)setsockopt(app, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    while (!(passage.up.over && passage.down.over) && step(&passage, linger_ms))
        ;
}
