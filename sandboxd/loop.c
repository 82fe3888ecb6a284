#include "sandboxd/loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <time.h>

#define MAX_EVENTS 64
#define KIND_SHIFT 32

static int set = -1;

int loop_init(struct sd_err *err)
{
    set = epoll_create1(EPOLL_CLOEXEC);
    return set < 0 ? sd_err_sys(err, "epoll") : 0;
}

int loop_add(int fd, enum loop_kind kind, uint32_t number, struct sd_err *err)
{
    struct epoll_event event = {.events = EPOLLIN,
                                .data.u64 = ((uint64_t)kind << KIND_SHIFT) | number};
    return epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0 ? sd_err_sys(err, "epoll_ctl") : 0;
}

void loop_remove(int fd)
{
    (void)epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL);
}

int loop_wait(struct loop_event *ret_events, int max, int timeout_ms)
{
    struct epoll_event events[MAX_EVENTS];
    int count = epoll_wait(set, events, max < MAX_EVENTS ? max : MAX_EVENTS, timeout_ms);
    if (count < 0) {
        return errno == EINTR ? 0 : -errno;
    }
    for (int i = 0; i < count; i++) {
        ret_events[i].kind = (enum loop_kind)(events[i].data.u64 >> KIND_SHIFT);
        ret_events[i].number = (uint32_t)events[i].data.u64;
    }
    return count;
}

int64_t loop_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
