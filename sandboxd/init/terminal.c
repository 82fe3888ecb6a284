#include "sandboxd/init/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandboxd/init/nest.h"
#include "sandboxd/init/start.h"

#define RELAY_TERMINAL 3
#define RELAY_INPUT 4
#define RELAY_OUTPUT 5
#define RELAY_FDS 6
#define BUFFER_SIZE 16384
#define END_OF_FILE 4 /* VEOF of a new terminal */

int terminal_resize(int ours, uint16_t rows, uint16_t columns)
{
    const struct winsize size = {.ws_row = rows, .ws_col = columns};
    return ioctl(ours, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}

int terminal_open(uid_t uid, uint16_t rows, uint16_t columns, int *ret_ours, int *ret_command)
{
    int unlock = 0;
    /* Whoever opens it owns the other end. */
    setfsgid(uid);
    setfsuid(uid);
    nest_cleanup_fd int ours = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    int error = ours < 0 ? -errno : 0;
    setfsuid(NEST_INIT_ID);
    setfsgid(NEST_INIT_ID);
    if (error < 0) {
        return error;
    }
    if (ioctl(ours, TIOCSPTLCK, &unlock) < 0) {
        return -errno;
    }
    error = terminal_resize(ours, rows, columns);
    int command = error < 0 ? -1 : ioctl(ours, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (command < 0) {
        return error < 0 ? error : -errno;
    }
    *ret_ours = ours;
    *ret_command = command;
    ours = -1;
    return 0;
}

/* Bytes on their way in one direction. */
struct way {
    int from;
    int to;
    char buffer[BUFFER_SIZE];
    size_t begin;
    size_t end;
    bool ended; /* nothing more comes */
};

static bool is_empty(const struct way *way)
{
    return way->begin == way->end;
}

static bool would_wait(void)
{
    return errno == EAGAIN || errno == EINTR;
}

/* As far as it goes without waiting. */
static void carry(struct way *way)
{
    if (is_empty(way) && !way->ended) {
        ssize_t got = read(way->from, way->buffer, sizeof(way->buffer));
        way->ended = got == 0 || (got < 0 && !would_wait());
        way->begin = 0;
        way->end = got > 0 ? (size_t)got : 0;
    }
    if (!is_empty(way)) {
        ssize_t written = write(way->to, way->buffer + way->begin, way->end - way->begin);
        way->begin += written > 0 ? (size_t)written : 0;
        if (written < 0 && !would_wait()) {
            way->begin = way->end;
            way->ended = true;
        }
    }
}

static _Noreturn void relay_main(void)
{
    static struct way in = {.from = RELAY_INPUT, .to = RELAY_TERMINAL};
    static struct way out = {.from = RELAY_TERMINAL, .to = RELAY_OUTPUT};
    bool told_end = false;
    while (!out.ended || !is_empty(&out)) {
        if (in.ended && is_empty(&in) && !told_end) {
            in.buffer[0] = END_OF_FILE;
            in.begin = 0;
            in.end = 1;
            told_end = true;
        }
        /* A terminal that has hung up is ready for ever: it is left out while output is due. */
        struct pollfd wait[] = {
            {.fd = is_empty(&out) ? RELAY_TERMINAL : -1, .events = POLLIN},
            {.fd = is_empty(&in) || out.ended ? -1 : RELAY_TERMINAL, .events = POLLOUT},
            {.fd = is_empty(&in) && !in.ended ? RELAY_INPUT : -1, .events = POLLIN},
            {.fd = is_empty(&out) ? -1 : RELAY_OUTPUT, .events = POLLOUT},
        };
        (void)poll(wait, sizeof(wait) / sizeof(wait[0]), -1);
        carry(&out);
        carry(&in);
    }
    _exit(0);
}

static int take_fds(const int fds[3])
{
    int high[3];
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    for (int i = 0; i < 3; i++) {
        high[i] = fcntl(fds[i], F_DUPFD, RELAY_FDS);
        if (high[i] < 0) {
            return -errno;
        }
    }
    for (int i = 0; i < 3; i++) {
        int to = RELAY_TERMINAL + i;
        if (dup2(high[i], to) < 0 || fcntl(to, F_SETFL, fcntl(to, F_GETFL) | O_NONBLOCK) < 0) {
            return -errno;
        }
    }
    /* Of all else nest-init holds the last copies. */
    return syscall(SYS_close_range, RELAY_FDS, ~0U, 0) < 0 ? -errno : 0;
}

pid_t terminal_relay(int ours, int input, int output)
{
    pid_t pid = fork();
    if (pid == 0) {
        const int fds[] = {ours, input, output};
        if (nest_drop_capabilities() < 0 || take_fds(fds) < 0) {
            _exit(1);
        }
        relay_main();
    }
    return pid < 0 ? -errno : pid;
}
