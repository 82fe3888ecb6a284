#include "tools/cli/local_terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct termios cooked;
static struct termios raw;
static atomic_bool is_raw;

bool local_terminal_exists(void)
{
    return isatty(STDIN_FILENO);
}

bool local_terminal_size(uint32_t *ret_rows, uint32_t *ret_columns)
{
    struct winsize size;

    /* One of them may be redirected. */
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (ioctl(fd, TIOCGWINSZ, &size) || !size.ws_row || !size.ws_col)
            continue;
        *ret_rows = size.ws_row;
        *ret_columns = size.ws_col;
        return true;
    }
    return false;
}

bool local_terminal_is_raw(void)
{
    return atomic_load(&is_raw);
}

void local_terminal_restore(void)
{
    int error = errno;

    if (atomic_exchange(&is_raw, false))
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &cooked);
    errno = error;
}

static void on_fatal(int number)
{
    local_terminal_restore();
    (void)raise(number); /* the handler is gone: SA_RESETHAND */
}

/* Another's stop, since the terminal's own is a key like any other. It is raw again afterwards. */
static void on_stop(int number)
{
    int error = errno;
    bool was_raw = atomic_load(&is_raw);

    (void)number;
    local_terminal_restore();
    (void)raise(SIGSTOP);
    if (was_raw && !tcsetattr(STDIN_FILENO, TCSANOW, &raw))
        atomic_store(&is_raw, true);
    errno = error;
}

static void handle_signals(void)
{
    static const int fatal[] = {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGQUIT, SIGSEGV, SIGSYS, SIGTRAP};
    struct sigaction end = {.sa_handler = on_fatal, .sa_flags = (int)SA_RESETHAND | SA_NODEFER};
    struct sigaction stop = {.sa_handler = on_stop, .sa_flags = SA_RESTART};

    for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
        (void)sigaction(fatal[i], &end, NULL);
    (void)sigaction(SIGTSTP, &stop, NULL);
}

int local_terminal_raw(void)
{
    static bool prepared;

    if (tcgetattr(STDIN_FILENO, &cooked))
        return -errno;
    raw = cooked;
    cfmakeraw(&raw);
    if (!prepared && atexit(local_terminal_restore))
        return -ENOMEM;
    if (!prepared)
        handle_signals();
    prepared = true;
    /* First, so that a signal in between puts back what was not changed yet rather than nothing. */
    atomic_store(&is_raw, true);
    if (!tcsetattr(STDIN_FILENO, TCSADRAIN, &raw))
        return 0;
    int error = errno;
    local_terminal_restore();
    return -error;
}
