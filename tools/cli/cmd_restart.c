#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "server/util/cleanup.h"
#include "server/util/clock.h"
#include "tools/cli/flags.h"
#include "tools/cli/instance.h"
#include "tools/cli/layout.h"

/* The server drains its calls, and then has to take over what runs. */
#define RESTART_TIMEOUT_MS 100000

static int fail(const char *what, int error)
{
    fprintf(stderr, "crownest restart: %s: %s\n", what, strerror(error));
    return EXIT_FAILED;
}

/* Of the server that serves; 0: none does. */
static pid_t server_pid(const char *run_dir)
{
    char path[LAYOUT_PATH_SIZE];
    char text[32] = "";
    cleanup_fd int fd =
        open(layout_path(run_dir, "crownestd.pid", path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
        return 0;
    return (pid_t)strtol(text, NULL, 10);
}

/* Until another server than `old` serves. `up` writes its pid down when it does. */
static int await_other(const char *run_dir, pid_t old, int changes, int up_pidfd)
{
    uint64_t deadline = clock_monotonic_ms() + RESTART_TIMEOUT_MS;
    struct pollfd polls[2] = {{.fd = changes, .events = POLLIN},
                              {.fd = up_pidfd, .events = POLLIN}};
    char events[4096];

    for (;;) {
        pid_t now = server_pid(run_dir);
        uint64_t time = clock_monotonic_ms();

        if (now && now != old)
            return 0;
        if (polls[1].revents)
            return -ESRCH;
        if (time >= deadline)
            return -ETIMEDOUT;
        (void)poll(polls, 2, (int)(deadline - time));
        if (polls[0].revents)
            (void)!read(changes, events, sizeof(events));
    }
}

static int restart(const char *run_dir)
{
    pid_t pid;
    cleanup_fd int pidfd = -1;
    int result = instance_open(run_dir, &pid, &pidfd);

    if (result == -ENOENT) {
        fprintf(stderr, "crownest restart: nothing runs in %s; `crownest up` starts it\n", run_dir);
        return EXIT_FAILED;
    }
    if (result)
        return fail(result == -ESRCH ? "it is stopping" : run_dir, -result);
    cleanup_fd int changes = inotify_init1(IN_CLOEXEC);
    if (changes < 0 || inotify_add_watch(changes, run_dir, IN_MOVED_TO) < 0)
        return fail(run_dir, errno);
    pid_t old = server_pid(run_dir);

    if (pidfd_send_signal(pidfd, SIGUSR1, NULL, 0))
        return fail("cannot ask for it", errno);
    result = await_other(run_dir, old, changes, pidfd);
    if (!result)
        return EXIT_OK;
    if (result == -ETIMEDOUT)
        fprintf(stderr, "crownest restart: no server is ready after %d s; see DATA/log\n",
                RESTART_TIMEOUT_MS / 1000);
    else
        fprintf(stderr, "crownest restart: the service was stopped meanwhile; see DATA/log\n");
    return EXIT_FAILED;
}

static int restart_run(const struct command *command, int argc, char **argv)
{
    const char *run_dir = LAYOUT_DEFAULT_RUN;
    const struct flag flags[] = {
        {"run-dir", 0, FLAG_TEXT, &run_dir, "DIR", "as given to up (" LAYOUT_DEFAULT_RUN ")", 0},
    };
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc != first)
        return flags_mistake(command, "takes no operands");
    return restart(run_dir);
}

const struct command command_restart = {
    .name = "restart",
    .operands = "",
    .summary = "stop and start the server, as for an upgrade, and wait until it serves",
    .manual =
        "Sandboxes and their commands go on, and what they write is read afterwards. Requests\n"
        "that are under way have 5 seconds to end; streams are resumed by their clients.\n",
    .run = restart_run,
};
