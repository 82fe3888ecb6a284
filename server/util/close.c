#include "server/util/close.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_NS 1000000

static pthread_once_t handled = PTHREAD_ONCE_INIT;

static void on_alarm(int signo)
{
    (void)signo;
}

/* A signal that is ignored would break nothing off. */
static void handle(void)
{
    struct sigaction action = {.sa_handler = on_alarm};

    (void)sigaction(SIGALRM, &action, NULL);
}

static bool is_socket(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

/* One signal may come before the wait begins, so they come until it has ended. */
static void close_with(timer_t timer, int fd)
{
    const struct itimerspec soon = {.it_interval.tv_nsec = PATIENCE_NS,
                                    .it_value.tv_nsec = PATIENCE_NS};

    (void)timer_settime(timer, 0, &soon, NULL);
    (void)close(fd);
    (void)timer_delete(timer);
}

void close_promptly(int fd)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM};
    int error = errno;
    sigset_t alarm, before;
    timer_t timer;

    if (!is_socket(fd)) {
        (void)close(fd);
        errno = error;
        return;
    }
    (void)pthread_once(&handled, handle);
    (void)sigemptyset(&alarm);
    (void)sigaddset(&alarm, SIGALRM);
    (void)pthread_sigmask(SIG_UNBLOCK, &alarm, &before);
    event._sigev_un._tid = gettid();
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) == 0)
        close_with(timer, fd);
    else
        (void)close(fd);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
}
