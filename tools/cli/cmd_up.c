#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/util/cleanup.h"
#include "tools/cli/daemon.h"
#include "tools/cli/flags.h"
#include "tools/cli/instance.h"
#include "tools/cli/layout.h"
#include "tools/cli/supervise.h"

#define READY_TIMEOUT_MS 60000
/* The server drains its calls, and on its last run kills every sandbox, as sandboxd does. */
#define SERVER_STOP_MS 40000
#define SANDBOXD_STOP_MS 60000

struct up_flags {
    const char *data;
    const char *run_dir;
    const char *listen;
    const char *preview_domain;
    const char *user;
    const char *bin_dir;
    const char *volume; /* NULL: none */
    const char *reserve_bytes;
    uint64_t give_up_after; /* failures in a row */
    bool accept_data_loss;
    bool detach;
};

/* In the order in which they are started. */
enum { SANDBOXD, SERVER, DAEMON_COUNT };

struct up {
    const struct up_flags *flags;
    struct layout layout;
    struct supervised daemons[DAEMON_COUNT];
    int signals;
};

static int fail(const struct err *err)
{
    fprintf(stderr, "crownest up: %s\n", err->message);
    return EXIT_FAILED;
}

static int find_bin_dir(const char *given, char ret_path[LAYOUT_PATH_SIZE])
{
    if (given)
        return snprintf(ret_path, LAYOUT_PATH_SIZE, "%s", given) < LAYOUT_PATH_SIZE ? 0
                                                                                    : -ENAMETOOLONG;
    ssize_t len = readlink("/proc/self/exe", ret_path, LAYOUT_PATH_SIZE - 1);
    if (len < 0)
        return -errno;
    ret_path[len] = '\0';
    *strrchr(ret_path, '/') = '\0';
    return 0;
}

/* -1: our own output. A log that cannot be opened stops the start, since it would be missed. */
static int open_log(const struct up *up, const char *name, int *ret_fd, struct err *err)
{
    char log_dir[LAYOUT_PATH_SIZE];
    char path[LAYOUT_PATH_SIZE];

    *ret_fd = -1;
    if (!up->flags->detach)
        return 0;
    (void)layout_path(up->layout.data, "log", log_dir);
    (void)layout_path(log_dir, name, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0)
        return err_set(err, errno, "%s: %s", path, strerror(errno));
    *ret_fd = fd;
    return 0;
}

/* For people and scripts: whole at any time, and there as long as the process serves. */
static void write_pid(const struct up *up, const char *name, pid_t pid)
{
    char path[LAYOUT_PATH_SIZE];
    char new_path[LAYOUT_PATH_SIZE];
    char file[64];

    (void)snprintf(file, sizeof(file), "%s.pid", name);
    (void)layout_path(up->layout.run, file, path);
    if (!pid) {
        (void)unlink(path);
        return;
    }
    (void)snprintf(file, sizeof(file), ".%s.pid", name);
    (void)layout_path(up->layout.run, file, new_path);
    FILE *out = fopen(new_path, "we");
    if (!out)
        return;
    fprintf(out, "%d\n", (int)pid);
    if (!fclose(out))
        (void)rename(new_path, path);
}

static void on_changed(void *context, const struct daemon *daemon)
{
    write_pid(context, daemon->name, daemon->pid);
}

static int launch(struct up *up, struct daemon_spec *spec, struct daemon *ret_daemon,
                  struct err *err)
{
    char bin_dir[LAYOUT_PATH_SIZE];
    char path[LAYOUT_PATH_SIZE];
    char log_name[64];
    int result = find_bin_dir(up->flags->bin_dir, bin_dir);

    if (result)
        return err_set(err, -result, "the directory of the daemons: %s", strerror(-result));
    spec->path = layout_path(bin_dir, spec->name, path);
    (void)snprintf(log_name, sizeof(log_name), "%s.log", spec->name);
    cleanup_fd int log_fd = -1;
    result = open_log(up, log_name, &log_fd, err);
    spec->log_fd = log_fd;
    return result ? result : daemon_start(spec, ret_daemon, err);
}

/* Ends sandboxes only when it is told to end: killed, it leaves them to the next one. */
static int launch_sandboxd(void *context, struct daemon *ret_daemon, struct err *ret_err)
{
    struct up *up = context;
    char socket[LAYOUT_PATH_SIZE];
    char run_dir[LAYOUT_PATH_SIZE];
    char templates[LAYOUT_PATH_SIZE];
    char uid[16];

    (void)snprintf(uid, sizeof(uid), "%u", (unsigned)up->layout.uid);
    struct daemon_spec spec = {
        .name = "sandboxd",
        .args = {"sandboxd", "--socket", layout_path(up->layout.run, "sandboxd.sock", socket),
                 "--run-dir", layout_path(up->layout.run, "sandboxd", run_dir), "--templates",
                 layout_path(up->layout.data, "templates", templates), "--client-uid", uid,
                 "--kill-on-exit", "--ready-fd", "3", up->flags->volume ? "--volume" : NULL,
                 up->flags->volume},
    };
    return launch(up, &spec, ret_daemon, ret_err);
}

/*
 * listen NULL: for its last run, in which it takes over what is left and ends it when it is told to
 * end; clients do not find it then. On all others it leaves sandboxes to the next one.
 */
static int launch_server_on(struct up *up, const char *listen, struct daemon *ret_daemon,
                            struct err *err)
{
    char data[LAYOUT_PATH_SIZE];
    char socket[LAYOUT_PATH_SIZE];
    char sandboxd[LAYOUT_PATH_SIZE];
    char templates[LAYOUT_PATH_SIZE];

    struct daemon_spec spec = {
        .name = "crownestd",
        .args = {"crownestd", "--data", layout_path(up->layout.data, "server", data), "--sandboxd",
                 layout_path(up->layout.run, "sandboxd.sock", sandboxd), "--templates",
                 layout_path(up->layout.data, "templates", templates), "--preview-domain",
                 up->flags->preview_domain, "--reserve-bytes", up->flags->reserve_bytes,
                 "--ready-fd", "3", up->flags->accept_data_loss ? "--accept-data-loss" : NULL},
        .uid = up->layout.uid,
        .gid = up->layout.gid,
    };
    const char *const serving[] = {"--listen", listen, "--socket",
                                   layout_path(up->layout.run, "server/crownest.sock", socket)};
    const char *const ending[] = {"--listen", "127.0.0.1:0", "--kill-on-exit", "--pool", "0"};
    size_t count = 0;

    while (spec.args[count])
        count++;
    if (listen)
        memcpy(&spec.args[count], serving, sizeof(serving));
    else
        memcpy(&spec.args[count], ending, sizeof(ending));
    return launch(up, &spec, ret_daemon, err);
}

static int launch_server(void *context, struct daemon *ret_daemon, struct err *ret_err)
{
    struct up *up = context;

    return launch_server_on(up, up->flags->listen, ret_daemon, ret_err);
}

/* signals: what may interrupt it; -1: nothing. */
static int start(struct up *up, struct supervised *item, int signals, struct err *err)
{
    int result = item->launch(up, &item->daemon, err);

    if (!result)
        result = daemon_await_ready(&item->daemon, signals, (int)item->ready_ms, err);
    if (result)
        return result;
    on_changed(up, &item->daemon);
    fprintf(stderr, "crownest up: %s is ready (pid %d)\n", item->daemon.name,
            (int)item->daemon.pid);
    return 0;
}

static bool stop(struct up *up, struct supervised *item)
{
    const char *name = item->daemon.name;
    bool clean = daemon_stop(&item->daemon, (int)item->stop_ms);

    write_pid(up, name, 0);
    return clean;
}

/*
 * Ends every sandbox with a tombstone that says why. A server that runs would do for that, but none
 * may run, and one that is to be restarted must not: so there is one which does nothing else.
 */
static int end_sandboxes(struct up *up, struct err *err)
{
    struct supervised *sandboxd = &up->daemons[SANDBOXD];
    struct daemon server = DAEMON_NONE("crownestd");
    int result = sandboxd->daemon.pid ? 0 : start(up, sandboxd, -1, err);

    if (!result)
        result = launch_server_on(up, NULL, &server, err);
    if (!result)
        result = daemon_await_ready(&server, -1, READY_TIMEOUT_MS, err);
    if (!daemon_stop(&server, SERVER_STOP_MS) && !result)
        result = err_set(err, ECHILD, "crownestd did not end sandboxes");
    return result;
}

/* Told to end, sandboxd ends all jails. For one that dies instead, another takes them over. */
static bool stop_sandboxd(struct up *up)
{
    struct supervised *sandboxd = &up->daemons[SANDBOXD];
    struct err err = {.message = "sandboxd did not stop well"};

    if (sandboxd->daemon.pid && stop(up, sandboxd))
        return true;
    if (!start(up, sandboxd, -1, &err) && stop(up, sandboxd))
        return true;
    (void)stop(up, sandboxd);
    fprintf(stderr, "crownest up: %s; sandboxes may be left, until the next `up` and `down`\n",
            err.message);
    return false;
}

/* The server first: it needs sandboxd to end what it has under way. No jail outlives this. */
static bool stop_all(struct up *up)
{
    struct err err = {0};
    bool clean = stop(up, &up->daemons[SERVER]);
    int result = end_sandboxes(up, &err);

    if (result)
        fprintf(stderr, "crownest up: %s; tombstones will not say that the service was stopped\n",
                err.message);
    clean = stop_sandboxd(up) && !result && clean;
    write_pid(up, "up", 0);
    return clean;
}

static int open_signals(void)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGHUP);
    (void)sigaddset(&set, SIGUSR1);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

/* Until a signal comes, or one of them cannot be kept running. */
static int look_after(struct up *up)
{
    struct supervise_limits limits = supervise_defaults;

    limits.failures_max = (unsigned)up->flags->give_up_after;
    bool asked = supervise(up->daemons, DAEMON_COUNT, up->signals, &limits) == SUPERVISE_ASKED;
    bool clean = stop_all(up);
    fprintf(stderr, "crownest up: stopped\n");
    return asked && clean ? EXIT_OK : EXIT_FAILED;
}

/* Tells the process that waits in detach(), and lets go of its terminal. */
static void announce(const struct up *up, int parent)
{
    struct err err;
    int log_fd;

    fprintf(stderr, "crownest up: serving %s and unix:%s/crownest.sock\n", up->flags->listen,
            up->layout.run);
    if (parent < 0)
        return;
    (void)!chdir("/");
    if (!open_log(up, "up.log", &log_fd, &err)) {
        int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

        (void)dup2(null, STDIN_FILENO);
        (void)dup2(log_fd, STDOUT_FILENO);
        (void)dup2(log_fd, STDERR_FILENO);
        (void)close(log_fd);
        (void)close(null);
    }
    (void)!write(parent, "R", 1);
    (void)close(parent);
}

/* parent: where to say that all is ready; -1 in the foreground. */
static int serve(struct up *up, int parent)
{
    struct err err = {0};

    up->signals = open_signals();
    if (up->signals < 0)
        return EXIT_FAILED;
    int result = instance_lock(up->layout.run, &err);
    if (result)
        return fail(&err);
    write_pid(up, "up", getpid());
    for (size_t i = 0; !result && i < DAEMON_COUNT; i++)
        result = start(up, &up->daemons[i], up->signals, &err);
    if (result) {
        (void)fail(&err);
        if (up->flags->detach)
            fprintf(stderr, "crownest up: see the logs in %s/log\n", up->layout.data);
        /* Without sandboxd nothing was taken over: what is left of an earlier `up` stays. */
        if (up->daemons[SANDBOXD].daemon.pid)
            (void)stop_all(up);
        write_pid(up, "up", 0);
        return EXIT_FAILED;
    }
    announce(up, parent);
    return look_after(up);
}

/* Serves in a child and returns when that is ready, or its exit code when it ended instead. */
static int detach(struct up *up)
{
    int pipe_fds[2];
    char byte;
    int status;

    /* What we inherited must not stay open as long as the service runs: a caller may wait for it.
     */
    (void)close_range(STDERR_FILENO + 1, ~0U, 0);
    if (pipe2(pipe_fds, O_CLOEXEC))
        return EXIT_FAILED;
    pid_t pid = fork();
    if (pid < 0)
        return EXIT_FAILED;
    if (!pid) {
        (void)close(pipe_fds[0]);
        (void)setsid();
        _exit(serve(up, pipe_fds[1]));
    }
    (void)close(pipe_fds[1]);
    ssize_t len;
    do
        len = read(pipe_fds[0], &byte, 1);
    while (len < 0 && errno == EINTR);
    (void)close(pipe_fds[0]);
    if (len == 1)
        return EXIT_OK;
    if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status))
        return WEXITSTATUS(status);
    return EXIT_FAILED;
}

static void describe_daemons(struct up *up)
{
    up->daemons[SANDBOXD] = (struct supervised){.daemon = DAEMON_NONE("sandboxd"),
                                                .launch = launch_sandboxd,
                                                .changed = on_changed,
                                                .context = up,
                                                .ready_ms = READY_TIMEOUT_MS,
                                                .stop_ms = SANDBOXD_STOP_MS};
    up->daemons[SERVER] = (struct supervised){.daemon = DAEMON_NONE("crownestd"),
                                              .launch = launch_server,
                                              .changed = on_changed,
                                              .context = up,
                                              .ready_ms = READY_TIMEOUT_MS,
                                              .stop_ms = SERVER_STOP_MS,
                                              .restartable = true};
}

static int up_run(const struct command *command, int argc, char **argv)
{
    struct up_flags values = {
        .data = LAYOUT_DEFAULT_DATA,
        .run_dir = LAYOUT_DEFAULT_RUN,
        .listen = "127.0.0.1:7070",
        .preview_domain = "localhost",
        .reserve_bytes = "0",
        .user = LAYOUT_DEFAULT_USER,
        .give_up_after = supervise_defaults.failures_max,
    };
    const struct flag flags[] = {
        {"data", 0, FLAG_TEXT, &values.data, "DIR", "all state (" LAYOUT_DEFAULT_DATA ")", 0},
        {"run-dir", 0, FLAG_TEXT, &values.run_dir, "DIR", "sockets (" LAYOUT_DEFAULT_RUN ")", 0},
        {"listen", 0, FLAG_TEXT, &values.listen, "HOST:PORT", "where (127.0.0.1:7070)", 0},
        {"preview-domain", 0, FLAG_TEXT, &values.preview_domain, "DOMAIN",
         "previews are hosts below it (localhost)", 0},
        {"user", 0, FLAG_TEXT, &values.user, "USER", "the server's user (crownest)", 0},
        {"bin-dir", 0, FLAG_TEXT, &values.bin_dir, "DIR",
         "where crownestd and sandboxd are (next to crownest)", 0},
        {"volume", 0, FLAG_TEXT, &values.volume, "DIR",
         "what sandboxes write goes to this btrfs (to memory)", 0},
        {"reserve-bytes", 0, FLAG_TEXT, &values.reserve_bytes, "N",
         "of DIR's disk, kept for the database (2 % of it, 32 MiB to 256 MiB)", 0},
        {"accept-data-loss", 0, FLAG_SWITCH, &values.accept_data_loss, NULL,
         "start although the database is damaged, and keep the damaged one", 0},
        {"give-up-after", 0, FLAG_NUMBER, &values.give_up_after, "N",
         "how often in a row a daemon may fail (20)", UINT32_MAX},
        {"detach", 0, FLAG_SWITCH, &values.detach, NULL, "return when both are ready", 0},
    };
    struct up up = {.flags = &values};
    struct err err = {0};
    char volume[PATH_MAX];
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc != first)
        return flags_mistake(command, "takes no operands");
    if (geteuid())
        return flags_mistake(command, "needs root: sandboxd builds jails");
    /* sandboxd has another working directory. */
    if (values.volume && !realpath(values.volume, volume)) {
        (void)err_set(&err, errno, "--volume %s: %s", values.volume, strerror(errno));
        return fail(&err);
    }
    if (values.volume)
        values.volume = volume;
    if (layout_init(&up.layout, values.data, values.run_dir, &err) ||
        layout_find_user(&up.layout, values.user, &err) || layout_create(&up.layout, &err))
        return fail(&err);
    describe_daemons(&up);
    return values.detach ? detach(&up) : serve(&up, -1);
}

const struct command command_up = {
    .name = "up",
    .operands = "",
    .summary = "start the service: sandboxd as root and crownestd as an unprivileged user",
    .manual =
        "Stays in the foreground until SIGINT or SIGTERM, then stops the server, kills what runs\n"
        "in sandboxes and stops sandboxd. With --detach it returns when both are ready; their\n"
        "output goes to DATA/log, their pids to RUN, and `crownest down` stops them.\n\n"
        "A daemon that ends by itself is started again, at once and then after pauses that grow\n"
        "to 10 seconds, and sandboxes go on meanwhile. One that fails too often in a row, each\n"
        "time within 2 seconds of the start, is given up: then all is stopped as above, and the\n"
        "exit code is 1. When this program is killed sandboxes go on, and the next `crownest up`\n"
        "takes them over.\n\n"
        "What a sandbox writes is kept in memory and counts as such, unless --volume names a\n"
        "directory on a btrfs file system: then each sandbox has a subvolume below\n"
        "DIR/crownest with a qgroup as its limit, and the number of its files is bounded by\n"
        "that limit alone. Best is a file system for nothing else, made by mkfs.btrfs -n 4096:\n"
        "with larger nodes sandboxes that make many small files are much slower.\n",
    .run = up_run,
};
