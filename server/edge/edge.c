#include "server/edge/edge.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/edge/census.h"
#include "server/edge/listen.h"
#include "server/util/clock.h"
#include "server/util/limits.h"

#define EVENTS 64
#define ACCEPTS_A_TURN 64 /* then those that are being sniffed get theirs */
#define SWEEP_MS 1000
#define SWEEP_FULL_MS 100 /* when there is no room */

/* A connection whose protocol is not known yet. In the order of their deadlines. */
struct pending {
    int fd;
    uint64_t deadline_ms;
    struct pending *next, *previous;
};

struct edge {
    struct edge_hooks hooks;
    uid_t operator_uid;
    char *unix_path;
    int tcp, local;
    int epoll, stop;
    int spare; /* given up to refuse a connection when descriptors have run out */
    uint16_t port;
    struct census *census;
    uint64_t swept_ms;
    struct pending oldest; /* the list's head */
    atomic_bool stopping;
    bool started;
    pthread_t thread;
};

/* Pending connections */

static void forget(struct edge *edge, struct pending *pending)
{
    pending->previous->next = pending->next;
    pending->next->previous = pending->previous;
    (void)epoll_ctl(edge->epoll, EPOLL_CTL_DEL, pending->fd, NULL);
    free(pending);
}

static void refuse(struct edge *edge, int fd)
{
    census_remove(edge->census, fd);
    (void)close(fd);
}

static void await(struct edge *edge, int fd)
{
    struct pending *pending = calloc(1, sizeof(*pending));
    /* On edges only: bytes that are looked at and left would be reported without end. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = pending};

    if (!pending)
        abort();
    pending->fd = fd;
    pending->deadline_ms = clock_monotonic_ms() + LIMIT_SNIFF_MS;
    pending->next = &edge->oldest;
    pending->previous = edge->oldest.previous;
    pending->previous->next = pending;
    edge->oldest.previous = pending;
    if (epoll_ctl(edge->epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
        forget(edge, pending);
        refuse(edge, fd);
    }
}

enum protocol { PROTOCOL_UNKNOWN, PROTOCOL_HTTP2, PROTOCOL_HTTP1, PROTOCOL_GONE };

static enum protocol sniff(int fd)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const size_t whole = sizeof(preface) - 1;
    char seen[sizeof(preface)];
    ssize_t size = recv(fd, seen, whole, MSG_PEEK | MSG_DONTWAIT);

    if (size < 0)
        return errno == EAGAIN || errno == EINTR ? PROTOCOL_UNKNOWN : PROTOCOL_GONE;
    if (size == 0)
        return PROTOCOL_GONE;
    if (memcmp(seen, preface, (size_t)size) != 0)
        return PROTOCOL_HTTP1;
    return (size_t)size == whole ? PROTOCOL_HTTP2 : PROTOCOL_UNKNOWN;
}

static void look(struct edge *edge, struct pending *pending, uint32_t events)
{
    int fd = pending->fd;
    enum protocol protocol = sniff(fd);

    /* Half a preface and no more to come. */
    if (protocol == PROTOCOL_UNKNOWN && events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        protocol = PROTOCOL_GONE;
    if (protocol == PROTOCOL_UNKNOWN)
        return;
    forget(edge, pending);
    if (protocol == PROTOCOL_GONE)
        refuse(edge, fd);
    else if (protocol == PROTOCOL_HTTP2)
        edge->hooks.http2(edge->hooks.arg, fd);
    else
        edge->hooks.http1(edge->hooks.arg, fd);
}

static void end_overdue(struct edge *edge, uint64_t now)
{
    while (edge->oldest.next != &edge->oldest && edge->oldest.next->deadline_ms <= now) {
        int fd = edge->oldest.next->fd;

        forget(edge, edge->oldest.next);
        refuse(edge, fd);
    }
}

/* Accepting */

static void take_tcp(struct edge *edge, int fd)
{
    int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    await(edge, fd);
}

static void take_local(struct edge *edge, int fd)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 ||
        (peer.uid != 0 && peer.uid != edge->operator_uid))
        refuse(edge, fd);
    else
        edge->hooks.local(edge->hooks.arg, fd);
}

static void sweep(struct edge *edge, uint64_t now, uint64_t every_ms)
{
    if (now - edge->swept_ms < every_ms)
        return;
    census_sweep(edge->census);
    edge->swept_ms = now;
}

static bool admit(struct edge *edge, int fd, const struct sockaddr_storage *peer)
{
    if (census_add(edge->census, fd, peer))
        return true;
    sweep(edge, clock_monotonic_ms(), SWEEP_FULL_MS);
    return census_add(edge->census, fd, peer);
}

/* Without a descriptor the connection would wait in the backlog and wake us for ever. */
static bool refuse_without_descriptor(struct edge *edge, int listener)
{
    if (edge->spare < 0)
        return false;
    (void)close(edge->spare);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

    if (fd >= 0)
        (void)close(fd);
    edge->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return fd >= 0;
}

static bool accept_one(struct edge *edge, int listener)
{
    struct sockaddr_storage peer = {0};
    socklen_t size = sizeof(peer);
    int fd = accept4(listener, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0 && (errno == EMFILE || errno == ENFILE))
        return refuse_without_descriptor(edge, listener);
    if (fd < 0)
        return errno == ECONNABORTED || errno == EINTR;
    if (!admit(edge, fd, &peer))
        (void)close(fd);
    else if (listener == edge->tcp)
        take_tcp(edge, fd);
    else
        take_local(edge, fd);
    return true;
}

static void accept_some(struct edge *edge, int listener)
{
    for (int i = 0; i < ACCEPTS_A_TURN && accept_one(edge, listener); i++)
        ;
}

/* The thread */

static int wait_ms(const struct edge *edge, uint64_t now)
{
    uint64_t until = census_count(edge->census) ? now + SWEEP_MS : UINT64_MAX;

    if (edge->oldest.next != &edge->oldest && edge->oldest.next->deadline_ms < until)
        until = edge->oldest.next->deadline_ms;
    if (until == UINT64_MAX)
        return -1;
    return until > now ? (int)(until - now) : 0;
}

static void handle(struct edge *edge, const struct epoll_event *event)
{
    if (event->data.ptr == &edge->tcp)
        accept_some(edge, edge->tcp);
    else if (event->data.ptr == &edge->local)
        accept_some(edge, edge->local);
    else if (event->data.ptr != &edge->stop)
        look(edge, event->data.ptr, event->events);
}

static void *edge_main(void *arg)
{
    struct edge *edge = arg;
    struct epoll_event events[EVENTS];

    while (!atomic_load(&edge->stopping)) {
        uint64_t now = clock_monotonic_ms();

        sweep(edge, now, SWEEP_MS);
        int count = epoll_wait(edge->epoll, events, EVENTS, wait_ms(edge, now));

        for (int i = 0; i < count && !atomic_load(&edge->stopping); i++)
            handle(edge, &events[i]);
        /* After the events: what they point to must not be freed before. */
        end_overdue(edge, clock_monotonic_ms());
    }
    return NULL;
}

static int watch(struct edge *edge, int *fd, struct err *err)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = fd};

    if (epoll_ctl(edge->epoll, EPOLL_CTL_ADD, *fd, &event) < 0)
        return err_set(err, errno, "cannot wait for connections: %s", strerror(errno));
    return 0;
}

static int open_listeners(struct edge *edge, const struct edge_options *options, struct err *err)
{
    edge->tcp = listen_tcp(options->listen, &edge->port, err);
    if (edge->tcp < 0)
        return edge->tcp;
    if (options->unix_socket) {
        edge->local = listen_unix(options->unix_socket, err);
        if (edge->local < 0)
            return edge->local;
        edge->unix_path = strdup(options->unix_socket);
        if (!edge->unix_path)
            abort();
    }
    int code = watch(edge, &edge->tcp, err);

    return code < 0 || edge->local < 0 ? code : watch(edge, &edge->local, err);
}

int edge_new(const struct edge_options *options, struct edge **ret_edge, struct err *err)
{
    struct edge *edge = calloc(1, sizeof(*edge));

    if (!edge)
        abort();
    edge->hooks = options->hooks;
    edge->operator_uid = options->operator_uid;
    edge->tcp = edge->local = -1;
    edge->oldest.next = edge->oldest.previous = &edge->oldest;
    edge->census = census_new(LIMIT_CONNECTIONS, LIMIT_CONNECTIONS_PER_PEER);
    edge->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    edge->epoll = epoll_create1(EPOLL_CLOEXEC);
    edge->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int code = edge->epoll < 0 || edge->stop < 0 || edge->spare < 0
                   ? err_set(err, errno, "cannot wait for connections: %s", strerror(errno))
                   : watch(edge, &edge->stop, err);

    if (!code)
        code = open_listeners(edge, options, err);
    if (code) {
        edge_free(edge);
        return code;
    }
    *ret_edge = edge;
    return 0;
}

void edge_start(struct edge *edge)
{
    sigset_t all, before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&edge->thread, NULL, edge_main, edge) != 0)
        abort();
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    edge->started = true;
}

uint16_t edge_port(const struct edge *edge)
{
    return edge->port;
}

static void close_listener(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

void edge_stop(struct edge *edge)
{
    uint64_t one = 1;

    atomic_store(&edge->stopping, true);
    if (edge->started) {
        (void)!write(edge->stop, &one, sizeof(one));
        (void)pthread_join(edge->thread, NULL);
        edge->started = false;
    }
    end_overdue(edge, UINT64_MAX);
    close_listener(&edge->tcp);
    close_listener(&edge->local);
    if (edge->unix_path)
        (void)unlink(edge->unix_path);
    free(edge->unix_path);
    edge->unix_path = NULL;
}

void edge_free(struct edge *edge)
{
    if (!edge)
        return;
    edge_stop(edge);
    close_listener(&edge->stop);
    close_listener(&edge->epoll);
    close_listener(&edge->spare);
    census_free(edge->census);
    free(edge);
}
