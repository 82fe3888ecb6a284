#include "tools/cli/interrupt.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "tools/cli/local_terminal.h"

static void take_signal(struct interrupt *interrupt)
{
    struct signalfd_siginfo info;

    if (read(interrupt->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    int number = (int)info.ssi_signo;
    if (atomic_load(&interrupt->received)) {
        local_terminal_restore();
        _exit(128 + number);
    }
    atomic_store(&interrupt->received, number);
}

/* The handler may take its time: it runs on a thread of its own so that a second signal is seen. */
static void *run_handler(void *argument)
{
    struct interrupt *interrupt = argument;

    interrupt->handler(interrupt->context);
    return NULL;
}

static void *listen_for_signals(void *argument)
{
    struct interrupt *interrupt = argument;
    struct pollfd polls[2] = {{.fd = interrupt->signals, .events = POLLIN},
                              {.fd = interrupt->stop, .events = POLLIN}};
    pthread_t handler;
    int handling = 0;

    for (;;) {
        if (poll(polls, 2, -1) < 0)
            continue;
        if (polls[1].revents)
            break;
        take_signal(interrupt);
        if (atomic_load(&interrupt->received) && !handling)
            handling = !pthread_create(&handler, NULL, run_handler, interrupt);
    }
    if (handling)
        (void)pthread_join(handler, NULL);
    return NULL;
}

int interrupt_init(struct interrupt *interrupt, void (*handler)(void *context), void *context)
{
    sigset_t set;

    *interrupt = (struct interrupt){.handler = handler, .context = context};
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGHUP);
    int result = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (result)
        return -result;
    interrupt->signals = signalfd(-1, &set, SFD_CLOEXEC);
    if (interrupt->signals < 0)
        return -errno;
    interrupt->stop = eventfd(0, EFD_CLOEXEC);
    result = interrupt->stop < 0 ? errno : 0;
    if (!result)
        result = pthread_create(&interrupt->thread, NULL, listen_for_signals, interrupt);
    if (!result)
        return 0;
    (void)close(interrupt->signals);
    if (interrupt->stop >= 0)
        (void)close(interrupt->stop);
    return -result;
}

void interrupt_done(struct interrupt *interrupt)
{
    uint64_t one = 1;

    (void)!write(interrupt->stop, &one, sizeof(one));
    (void)pthread_join(interrupt->thread, NULL);
    (void)close(interrupt->signals);
    (void)close(interrupt->stop);
}
