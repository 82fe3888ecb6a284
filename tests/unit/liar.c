#include "tests/unit/liar.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_exited(void *arg, const struct nest_reply *reply)
{
    (void)reply;
    atomic_fetch_add(&((struct liar *)arg)->exits, 1);
}

static void on_closed(void *arg)
{
    atomic_store(&((struct liar *)arg)->closed, true);
}

int liar_count_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    while (readdir(dir))
        count++;
    (void)closedir(dir);
    return count;
}

static void *play(void *arg)
{
    struct liar *l = arg;

    for (unsigned i = 0; i < l->requests; i++) {
        union {
            struct nest_request request;
            char bytes[NEST_INPUT_SIZE(NEST_INPUT_MAX)];
        } message;
        int fds[FDPASS_MAX] = {-1};
        unsigned count = 0;
        struct pollfd ready = {.fd = l->fd, .events = POLLIN};

        (void)poll(&ready, 1, -1);
        if (fdpass_receive(l->fd, &message, sizeof(message), fds, &count) <= 0)
            break;
        l->lie(l, &message.request, count > 0 ? fds[0] : -1);
        fdpass_close(fds, count);
    }
    return NULL;
}

void liar_begin(struct liar *liar, lie_fn *lie, unsigned requests)
{
    struct nest_hooks hooks = {.exited = on_exited, .closed = on_closed, .arg = liar};
    int ends[2];

    (void)signal(SIGPIPE, SIG_IGN);
    *liar = (struct liar){.lie = lie, .requests = requests};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0 ||
        loop_new(&liar->loop) < 0)
        abort();
    liar->fd = ends[1];
    nest_new(liar->loop, ends[0], &hooks, &liar->nest);
    if (pthread_create(&liar->thread, NULL, play, liar) != 0)
        abort();
}

void liar_end(struct liar *liar)
{
    (void)pthread_join(liar->thread, NULL);
    (void)close(liar->fd);
    while (!atomic_load(&liar->closed))
        (void)poll(NULL, 0, 1);
    loop_stop(liar->loop);
    nest_unref(liar->nest);
    loop_free(liar->loop);
}

struct nest_reply liar_truth(const struct nest_request *request)
{
    return (struct nest_reply){.version = NEST_WIRE_VERSION,
                               .op = request->op,
                               .serial = request->serial,
                               .command = request->command};
}

void liar_say(struct liar *liar, const struct nest_reply *reply, size_t size, const int *fds,
              unsigned count)
{
    (void)fdpass_send(liar->fd, reply, size, fds, count);
}
