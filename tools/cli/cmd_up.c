#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/util/cleanup.h"
#include "server/util/clock.h"
#include "tools/cli/daemon.h"
#include "tools/cli/flags.h"
#include "tools/cli/instance.h"
#include "tools/cli/layout.h"

#define READY_TIMEOUT_MS 60000
/* The server drains its calls; sandboxd kills every sandbox. */
#define SERVER_STOP_MS 40000
#define SANDBOXD_STOP_MS 60000
/* More deaths than this within this time are not an accident. */
#define DEATHS_MAX 20
#define DEATHS_MS 60000

struct up_flags {
    const char *data;
    const char *run_dir;
    const char *listen;
    const char *preview_domain;
    const char *user;
    const char *bin_dir;
    const char *volume; /* NULL: none */
    const char *reserve_bytes;
    bool accept_data_loss;
    bool detach;
};

struct up {
    const struct up_flags *flags;
    struct layout layout;
    struct daemon sandboxd;
    struct daemon server;
    int signals;
    unsigned deaths; /* of daemons, since then */
    uint64_t deaths_since_ms;
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

/* For people and scripts; nothing of ours trusts it. */
static void write_pid(const struct up *up, const char *name, pid_t pid)
{
    char path[LAYOUT_PATH_SIZE];

    (void)layout_path(up->layout.run, name, path);
    FILE *out = fopen(path, "we");
    if (!out)
        return;
    fprintf(out, "%d\n", (int)pid);
    (void)fclose(out);
}

static void remove_pids(const struct up *up)
{
    static const char *const names[] = {"up.pid", "sandboxd.pid", "crownestd.pid"};
    char path[LAYOUT_PATH_SIZE];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        (void)unlink(layout_path(up->layout.run, names[i], path));
}

static int start(struct up *up, struct daemon_spec *spec, const char *log_name,
                 const char *pid_name, struct daemon *daemon, struct err *err)
{
    char bin_dir[LAYOUT_PATH_SIZE];
    char path[LAYOUT_PATH_SIZE];
    int result = find_bin_dir(up->flags->bin_dir, bin_dir);

    if (result)
        return err_set(err, -result, "the directory of the daemons: %s", strerror(-result));
    spec->path = layout_path(bin_dir, spec->name, path);
    cleanup_fd int log_fd = -1;
    result = open_log(up, log_name, &log_fd, err);
    spec->log_fd = log_fd;
    if (!result)
        result = daemon_start(spec, daemon, err);
    if (!result)
        result = daemon_await_ready(daemon, up->signals, READY_TIMEOUT_MS, err);
    if (result)
        return result;
    write_pid(up, pid_name, daemon->pid);
    fprintf(stderr, "crownest up: %s is ready (pid %d)\n", spec->name, (int)daemon->pid);
    return 0;
}

static int start_sandboxd(struct up *up, struct err *err)
{
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
    return start(up, &spec, "sandboxd.log", "sandboxd.pid", &up->sandboxd, err);
}

static int start_server(struct up *up, struct err *err)
{
    char data[LAYOUT_PATH_SIZE];
    char socket[LAYOUT_PATH_SIZE];
    char sandboxd[LAYOUT_PATH_SIZE];
    char templates[LAYOUT_PATH_SIZE];

    struct daemon_spec spec = {
        .name = "crownestd",
        .args = {"crownestd", "--data", layout_path(up->layout.data, "server", data), "--listen",
                 up->flags->listen, "--socket",
                 layout_path(up->layout.run, "server/crownest.sock", socket), "--sandboxd",
                 layout_path(up->layout.run, "sandboxd.sock", sandboxd), "--templates",
                 layout_path(up->layout.data, "templates", templates), "--preview-domain",
                 up->flags->preview_domain, "--reserve-bytes", up->flags->reserve_bytes,
                 "--kill-on-exit", "--ready-fd", "3",
                 up->flags->accept_data_loss ? "--accept-data-loss" : NULL},
        .uid = up->layout.uid,
        .gid = up->layout.gid,
    };
    return start(up, &spec, "crownestd.log", "crownestd.pid", &up->server, err);
}

/* The server first: it needs sandboxd to end what it has under way. */
static bool stop_both(struct up *up)
{
    bool clean = daemon_stop(&up->server, SERVER_STOP_MS);

    clean = daemon_stop(&up->sandboxd, SANDBOXD_STOP_MS) && clean;
    remove_pids(up);
    return clean;
}

static int open_signals(void)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

static bool report_death(struct daemon *daemon)
{
    char how[64];

    if (!daemon->pid || !daemon_reap(daemon, how, sizeof(how)))
        return false;
    fprintf(stderr, "crownest up: %s ended unexpectedly: %s\n", daemon->name, how);
    return true;
}

static void await_change(const struct up *up, bool *ret_asked_to_stop)
{
    struct pollfd polls[3] = {{.fd = up->signals, .events = POLLIN},
                              {.fd = up->sandboxd.pidfd, .events = POLLIN},
                              {.fd = up->server.pidfd, .events = POLLIN}};

    while (poll(polls, 3, -1) < 0)
        continue;
    *ret_asked_to_stop = polls[0].revents != 0;
}

/* Counts the daemons that died; false when it is no accident. */
static bool count_deaths(struct up *up, unsigned deaths)
{
    uint64_t now = clock_monotonic_ms();

    if (now - up->deaths_since_ms > DEATHS_MS) {
        up->deaths_since_ms = now;
        up->deaths = 0;
    }
    up->deaths += deaths;
    return up->deaths <= DEATHS_MAX;
}

/*
 * Starts what died. The other one may die meanwhile, and with it the one that is just starting, so
 * that a start that fails is one more death.
 */
static bool start_again(struct up *up)
{
    struct err err = {0};
    struct pollfd signals = {.fd = up->signals, .events = POLLIN};
    bool started = false;

    while (!started && poll(&signals, 1, 0) == 0) {
        bool sandboxd_died = report_death(&up->sandboxd);
        bool server_died = report_death(&up->server);

        if (!count_deaths(up, (unsigned)sandboxd_died + (unsigned)server_died))
            return false;
        started = (up->sandboxd.pid || !start_sandboxd(up, &err)) &&
                  (up->server.pid || !start_server(up, &err));
        if (!started) {
            (void)fail(&err);
            up->deaths++;
        }
    }
    return true;
}

/*
 * Until a signal comes. A daemon that dies is started again, and takes over the sandboxes that the
 * one before it left.
 */
static int supervise(struct up *up)
{
    bool good = true;
    bool asked_to_stop = false;

    while (good && !asked_to_stop) {
        await_change(up, &asked_to_stop);
        if (!asked_to_stop)
            good = start_again(up);
    }
    bool clean = stop_both(up);
    fprintf(stderr, "crownest up: stopped\n");
    return clean && good ? EXIT_OK : EXIT_FAILED;
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
    write_pid(up, "up.pid", getpid());
    result = start_sandboxd(up, &err);
    if (!result)
        result = start_server(up, &err);
    if (result) {
        (void)fail(&err);
        if (up->flags->detach)
            fprintf(stderr, "crownest up: see the logs in %s/log\n", up->layout.data);
        (void)stop_both(up);
        return EXIT_FAILED;
    }
    announce(up, parent);
    return supervise(up);
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

static int up_run(const struct command *command, int argc, char **argv)
{
    struct up_flags values = {
        .data = LAYOUT_DEFAULT_DATA,
        .run_dir = LAYOUT_DEFAULT_RUN,
        .listen = "127.0.0.1:7070",
        .preview_domain = "localhost",
        .reserve_bytes = "0",
        .user = LAYOUT_DEFAULT_USER,
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
        {"detach", 0, FLAG_SWITCH, &values.detach, NULL, "return when both are ready", 0},
    };
    struct up up = {.flags = &values, .sandboxd = DAEMON_NONE, .server = DAEMON_NONE};
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
    return values.detach ? detach(&up) : serve(&up, -1);
}

const struct command command_up = {
    .name = "up",
    .operands = "",
    .summary = "start the service: sandboxd as root and crownestd as an unprivileged user",
    .manual =
        "Stays in the foreground until SIGINT or SIGTERM, then stops the server, kills what runs\n"
        "in sandboxes and stops sandboxd. With --detach it returns when both are ready; their\n"
        "output goes to DATA/log, their pids to RUN, and `crownest down` stops them. When one\n"
        "daemon ends by itself, the other is stopped and the exit code is 1.\n"
        "\n"
        "What a sandbox writes is kept in memory and counts as such, unless --volume names a\n"
        "directory on a btrfs file system: then each sandbox has a subvolume below\n"
        "DIR/crownest with a qgroup as its limit, and the number of its files is bounded by\n"
        "that limit alone. Best is a file system for nothing else, made by mkfs.btrfs -n 4096:\n"
        "with larger nodes sandboxes that make many small files are much slower.\n",
    .run = up_run,
};
