/*
 * sandboxd: builds and removes jails for the server, as root, and does nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandboxd/busy.h"
#include "sandboxd/cgroup.h"
#include "sandboxd/confine.h"
#include "sandboxd/control.h"
#include "sandboxd/disk.h"
#include "sandboxd/host_check.h"
#include "sandboxd/image.h"
#include "sandboxd/init_image.h"
#include "sandboxd/inventory.h"
#include "sandboxd/io.h"
#include "sandboxd/lifecycle.h"
#include "sandboxd/loop.h"
#include "sandboxd/mounts.h"
#include "sandboxd/requests.h"
#include "sandboxd/seccomp.h"
#include "sandboxd/server.h"
#include "sandboxd/volume.h"

#define MAX_EVENTS 64

struct options {
    const char *socket;
    const char *run_dir;
    const char *templates;
    const char *volume; /* NULL: layers in memory */
    uid_t client_uid;
    int ready_fd;
    bool kill_on_exit;
    bool check_host;
};

static char mounts_path[PATH_MAX];
static char stage_path[PATH_MAX];
static char inventory_path[PATH_MAX];
static char control_path[PATH_MAX];
static int signals = -1;
static bool stopping;

static int usage(void)
{
    fprintf(stderr, "usage: sandboxd --socket PATH --run-dir DIR --templates DIR --client-uid UID\n"
                    "                [--volume DIR] [--ready-fd N] [--kill-on-exit]\n"
                    "       sandboxd --check-host [--templates DIR] [--volume DIR]\n");
    return 2;
}

static bool parse_number(const char *text, unsigned long max, unsigned long *ret_number)
{
    char *end;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || number > max) {
        return false;
    }
    *ret_number = number;
    return true;
}

static const struct option OPTIONS[] = {
    {"socket", required_argument, NULL, 's'},
    {"run-dir", required_argument, NULL, 'r'},
    {"templates", required_argument, NULL, 't'},
    {"client-uid", required_argument, NULL, 'u'},
    {"ready-fd", required_argument, NULL, 'f'},
    {"kill-on-exit", no_argument, NULL, 'k'},
    {"check-host", no_argument, NULL, 'c'},
    {"volume", required_argument, NULL, 'v'},
    {NULL, 0, NULL, 0},
};

static bool take_option(int option, const char *argument, struct options *o)
{
    unsigned long number = 0;
    bool good = true;
    switch (option) {
    case 's':
        o->socket = argument;
        break;
    case 'r':
        o->run_dir = argument;
        break;
    case 't':
        o->templates = argument;
        break;
    case 'u':
        good = parse_number(argument, UINT32_MAX - 1, &number);
        o->client_uid = (uid_t)number;
        break;
    case 'f':
        good = parse_number(argument, INT_MAX, &number);
        o->ready_fd = (int)number;
        break;
    case 'k':
        o->kill_on_exit = true;
        break;
    case 'c':
        o->check_host = true;
        break;
    case 'v':
        o->volume = argument;
        break;
    default:
        good = false;
    }
    return good;
}

static bool parse(int argc, char **argv, struct options *ret_options)
{
    struct options o = {.ready_fd = -1, .client_uid = (uid_t)-1};
    bool good = true;
    int option;
    while (good && (option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1) {
        good = take_option(option, optarg, &o);
    }
    *ret_options = o;
    return good && (o.check_host || (o.socket != NULL && o.run_dir != NULL && o.templates != NULL &&
                                     o.client_uid != (uid_t)-1));
}

static int make_path(char to[PATH_MAX], const char *dir, const char *name, struct sd_err *err)
{
    if (snprintf(to, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX) {
        return sd_err_set(err, ENAMETOOLONG, dir);
    }
    return 0;
}

static int open_signals(struct sd_err *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
        return sd_err_sys(err, "signals");
    }
    signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0) {
        return sd_err_sys(err, "signalfd");
    }
    return loop_add(signals, LOOP_SIGNALS, 0, err);
}

static int prepare_host(const struct options *o, struct sd_err *err)
{
    (void)umask(022);
    /* Builders end before the jails' inits do; those then become our children. */
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) {
        return sd_err_sys(err, "prctl");
    }
    if (mkdir(o->run_dir, 0700) < 0 && errno != EEXIST) {
        return sd_err_sys(err, o->run_dir);
    }
    int error = make_path(mounts_path, o->run_dir, "images", err);
    if (error == 0) {
        error = make_path(stage_path, o->run_dir, "stage", err);
    }
    if (error == 0) {
        error = make_path(inventory_path, o->run_dir, "inventory", err);
    }
    if (error == 0) {
        error = make_path(control_path, o->run_dir, "control", err);
    }
    if (error == 0) {
        error = mounts_unshare(err);
    }
    return error;
}

/* What every jail is made of and every sandbox is found by. */
static int prepare_parts(const struct options *o, struct lifecycle_config *config,
                         struct sd_err *err)
{
    int error = disk_add(o->templates, err);
    if (error == 0 && o->volume != NULL) {
        error = volume_init(o->volume, err);
    }
    if (error == 0 && o->volume != NULL) {
        error = disk_add(o->volume, err);
    }
    if (error == 0) {
        error = cgroup_init(err);
    }
    if (error == 0) {
        error = mounts_make_stage(stage_path, err);
    }
    if (error == 0) {
        error = image_init(o->templates, mounts_path, err);
    }
    if (error == 0) {
        error = control_init(control_path, err);
    }
    if (error == 0) {
        error = inventory_init(inventory_path, err);
    }
    if (error == 0) {
        error = init_image_open(&config->init_image, err);
    }
    return error < 0 ? error : seccomp_compile(&config->seccomp_filter, err);
}

static bool is_known(const char id[SD_ID_SIZE])
{
    return sandbox_find(id) != NULL;
}

static int prepare(const struct options *o, struct lifecycle_config *config, struct sd_err *err)
{
    int error = prepare_host(o, err);
    if (error == 0) {
        error = prepare_parts(o, config, err);
    }
    if (error == 0) {
        error = busy_init(err);
    }
    if (error == 0) {
        error = loop_init(err);
    }
    if (error == 0) {
        error = open_signals(err);
    }
    if (error == 0) {
        error = confine_self(err);
    }
    if (error < 0) {
        return error;
    }
    lifecycle_init(config);
    requests_init(config->policy, server_answer);
    error = inventory_each(lifecycle_take_over);
    if (error < 0) {
        return sd_err_set(err, -error, inventory_path);
    }
    error = volume_sweep(is_known, err);
    if (error < 0) {
        return error;
    }
    return server_listen(o->socket, o->client_uid, err);
}

static void on_signals(void)
{
    struct signalfd_siginfo info;
    while (read(signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo != SIGCHLD) {
            stopping = true;
        }
    }
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
}

static void dispatch(const struct loop_event *event)
{
    switch (event->kind) {
    case LOOP_LISTENER:
        server_on_listener();
        break;
    case LOOP_SIGNALS:
        on_signals();
        break;
    case LOOP_CONNECTION:
        server_on_connection(event->number);
        break;
    case LOOP_WORK:
        lifecycle_on_work(event->number);
        break;
    case LOOP_INIT:
        lifecycle_on_init_end(event->number);
        break;
    }
}

/* Asks for the end of all; returns whether any is left. */
static bool kill_all(void)
{
    bool left = false;
    for (uint32_t i = 0; i < sandbox_limit(); i++) {
        struct sandbox *s = sandbox_at(i);
        if (s->state == SANDBOX_ABSENT) {
            continue;
        }
        left = true;
        if (s->state != SANDBOX_ENDING && !s->unwanted) {
            lifecycle_kill(s);
        }
    }
    return left;
}

/* Of two times to wait, -1 = for ever. */
static int sooner(int a_ms, int b_ms)
{
    return a_ms < 0 || (b_ms >= 0 && b_ms < a_ms) ? b_ms : a_ms;
}

static int run(const struct options *o)
{
    while (!stopping || (o->kill_on_exit && kill_all())) {
        struct loop_event events[MAX_EVENTS];
        int count =
            loop_wait(events, MAX_EVENTS, sooner(lifecycle_check_deadlines(), busy_check()));
        if (count < 0) {
            fprintf(stderr, "sandboxd: epoll: %s\n", strerror(-count));
            return 1;
        }
        for (int i = 0; i < count; i++) {
            dispatch(&events[i]);
        }
    }
    (void)unlink(o->socket);
    return 0;
}

int main(int argc, char **argv)
{
    struct options options;
    struct sd_err err = {0};
    struct lifecycle_config config = {.policy = policy_get(),
                                      .stage = stage_path,
                                      .init_image = -1,
                                      .seccomp_filter = -1,
                                      .answer = server_answer};
    if (!parse(argc, argv, &options)) {
        return usage();
    }
    if (options.check_host) {
        if (options.templates != NULL) {
            (void)disk_add(options.templates, &err);
        }
        return host_check_print(options.volume) == 0 ? 0 : 1;
    }
    if (prepare(&options, &config, &err) < 0) {
        fprintf(stderr, "sandboxd: %s: %s\n", err.detail, strerror(-err.code));
        return 1;
    }
    if (options.ready_fd >= 0) {
        if (write(options.ready_fd, "READY\n", 6) != 6) {
            fprintf(stderr, "sandboxd: ready-fd: %s\n", strerror(errno));
            return 1;
        }
        close(options.ready_fd);
    }
    return run(&options);
}
