#include "tools/cli/ask_password.h"

#include <errno.h>
#include <fcntl.h>
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

/* A line without its end; what does not fit is read and left out, so that it is too long. */
static int read_line(int fd, char ret_line[ASK_PASSWORD_SIZE])
{
    size_t size = 0;
    char c = '\0';
    ssize_t got;

    while ((got = read(fd, &c, 1)) == 1 && c != '\n' && c != '\r')
        if (size < ASK_PASSWORD_SIZE - 1)
            ret_line[size++] = c;
    ret_line[size] = '\0';
    c = '\0';
    if (got < 0)
        return -errno;
    return got == 0 && size == 0 ? -ENODATA : 0;
}

/* While the echo is off a signal must not end us: it is turned on again first. */
static int ask_once(int tty, const char *prompt, char ret_line[ASK_PASSWORD_SIZE])
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
    struct sigaction action = {.sa_handler = on_signal};
    struct sigaction before[sizeof(signals) / sizeof(signals[0])];
    struct termios shown, hidden;

    if (tcgetattr(tty, &shown) < 0)
        return -errno;
    caught = 0;
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        (void)sigaction(signals[i], &action, &before[i]);
    hidden = shown;
    hidden.c_lflag &= (tcflag_t) ~(ECHO | ECHONL);
    int r = tcsetattr(tty, TCSAFLUSH, &hidden) < 0 ? -errno : 0;

    (void)!write(tty, prompt, strlen(prompt));
    if (r == 0)
        r = read_line(tty, ret_line);
    (void)!write(tty, "\n", 1);
    (void)tcsetattr(tty, TCSAFLUSH, &shown);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        (void)sigaction(signals[i], &before[i], NULL);
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
    int r = from_stdin ? read_line(STDIN_FILENO, ret_password) : ask(twice, ret_password);

    if (r < 0)
        fprintf(stderr, "crownest %s: %s\n", command->name,
                r == -ENOTTY         ? "there is no terminal to ask on; give --password-stdin"
                : r == -EKEYREJECTED ? "these were two different passwords"
                : r == -ENODATA      ? "there was no password"
                                     : strerror(-r));
    return r;
}
