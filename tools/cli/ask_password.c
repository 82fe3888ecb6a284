#include "tools/cli/ask_password.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "server/util/cleanup.h"

static volatile sig_atomic_t caught;

static void on_signal(int number)
{
    caught = number;
}

/* Signals are let through only while it waits, so that none comes just before that and is missed.
 */
static ssize_t read_byte(int fd, const sigset_t *while_waiting, char *ret_byte)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};

    if (while_waiting && ppoll(&ready, 1, NULL, while_waiting) < 0)
        return -1;
    return read(fd, ret_byte, 1);
}

/* A line without its end; what does not fit is read and left out, so that it is too long. */
static int read_line(int fd, const sigset_t *while_waiting, char ret_line[ASK_PASSWORD_SIZE])
{
    size_t size = 0;
    char c = '\0';
    ssize_t got;

    while ((got = read_byte(fd, while_waiting, &c)) == 1 && c != '\n' && c != '\r')
        if (size < ASK_PASSWORD_SIZE - 1)
            ret_line[size++] = c;
    ret_line[size] = '\0';
    c = '\0';
    if (got < 0)
        return -errno;
    return got == 0 && size == 0 ? -ENODATA : 0;
}

static int ask_hidden(int tty, const char *prompt, const sigset_t *while_waiting,
                      char ret_line[ASK_PASSWORD_SIZE])
{
    struct termios shown, hidden;

    if (tcgetattr(tty, &shown) < 0)
        return -errno;
    hidden = shown;
    hidden.c_lflag &= (tcflag_t) ~(ECHO | ECHONL);
    int r = tcsetattr(tty, TCSAFLUSH, &hidden) < 0 ? -errno : 0;

    (void)!write(tty, prompt, strlen(prompt));
    if (r == 0)
        r = read_line(tty, while_waiting, ret_line);
    (void)!write(tty, "\n", 1);
    (void)tcsetattr(tty, TCSAFLUSH, &shown);
    return r;
}

/* While the echo is off a signal must not end us: it is turned on again first. */
static int ask_once(int tty, const char *prompt, char ret_line[ASK_PASSWORD_SIZE])
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
    struct sigaction action = {.sa_handler = on_signal};
    struct sigaction before[sizeof(signals) / sizeof(signals[0])];
    sigset_t blocked, outside;

    (void)sigemptyset(&blocked);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        (void)sigaddset(&blocked, signals[i]);
    (void)sigprocmask(SIG_BLOCK, &blocked, &outside);
    caught = 0;
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        (void)sigaction(signals[i], &action, &before[i]);
    int r = ask_hidden(tty, prompt, &outside, ret_line);

    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        (void)sigaction(signals[i], &before[i], NULL);
    (void)sigprocmask(SIG_SETMASK, &outside, NULL);
    if (caught)
        (void)raise(caught);
    return r;
}

static int ask(bool twice, char ret_password[ASK_PASSWORD_SIZE])
{
    cleanup_fd int tty = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    char again[ASK_PASSWORD_SIZE];

    if (tty < 0)
        return -ENOTTY;
    int r = ask_once(tty, "Password: ", ret_password);

    if (r < 0 || !twice)
        return r;
    r = ask_once(tty, "Again: ", again);
    if (r == 0 && strcmp(again, ret_password) != 0)
        r = -EKEYREJECTED;
    explicit_bzero(again, sizeof(again));
    return r;
}

int ask_password(const struct command *command, bool from_stdin, bool twice,
                 char ret_password[ASK_PASSWORD_SIZE])
{
    int r = from_stdin ? read_line(STDIN_FILENO, NULL, ret_password) : ask(twice, ret_password);

    if (r < 0)
        fprintf(stderr, "crownest %s: %s\n", command->name,
                r == -ENOTTY         ? "there is no terminal to ask on; give --password-stdin"
                : r == -EKEYREJECTED ? "these were two different passwords"
                : r == -ENODATA      ? "there was no password"
                                     : strerror(-r));
    return r;
}
