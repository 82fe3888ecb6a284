#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "server/util/cleanup.h"
#include "tools/cli/flags.h"
#include "tools/cli/instance.h"
#include "tools/cli/layout.h"

/* Longer than `up` itself waits for its daemons. */
#define STOP_TIMEOUT_MS 330000

static int fail(const char *what, int error)
{
    fprintf(stderr, "crownest down: %s: %s\n", what, strerror(error));
    return EXIT_FAILED;
}

static int down(const char *run_dir)
{
    pid_t pid;
    cleanup_fd int pidfd = -1;
    int result = instance_open(run_dir, &pid, &pidfd);

    if (result == -ENOENT) {
        fprintf(stderr, "crownest down: nothing runs in %s\n", run_dir);
        return EXIT_FAILED;
    }
    if (result)
        return fail(result == -ESRCH ? "it is stopping already" : run_dir, -result);
    if (pidfd_send_signal(pidfd, SIGTERM, NULL, 0))
        return fail("cannot stop it", errno);
    struct pollfd end = {.fd = pidfd, .events = POLLIN};
    if (poll(&end, 1, STOP_TIMEOUT_MS) == 1)
        return EXIT_OK;
    fprintf(stderr, "crownest down: it still runs after %d s (pid %d)\n", STOP_TIMEOUT_MS / 1000,
            (int)pid);
    return EXIT_FAILED;
}

static int down_run(const struct command *command, int argc, char **argv)
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
    return down(run_dir);
}

const struct command command_down = {
    .name = "down",
    .operands = "",
    .summary = "stop the service that `up` started, and wait for its end",
    .manual = "What runs in sandboxes is killed. Exit code 1 when nothing was running.\n",
    .run = down_run,
};
