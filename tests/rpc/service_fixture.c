#include "tests/rpc/service_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bindings/c/crownest_key.h"
#include "bindings/c/crownest_project.h"
#include "bindings/c/crownest_sandbox.h"
#include "tests/rpc/host_state.h"
#include "tests/unit/small_disk.h"

#define SANDBOXD "sandboxd/sandboxd"
#define FAILING_DISK "tests/rpc/failing_disk.so"
#define CROWNESTD "server/crownestd"
#define DEFAULT_TEMPLATES "/var/lib/crownest/templates"
#define READY_FD 3
#define READY_MS 60000
#define STOP_MS 60000
#define SETTLE_MS 30000
#define MAX_IDS 4096

static char missing[256];

static const char *templates(void)
{
    const char *given = getenv("CROWNEST_TEST_TEMPLATES");

    return given && given[0] ? given : DEFAULT_TEMPLATES;
}

static char *below(const struct service *service, const char *name, char path[SERVICE_PATH_SIZE])
{
    (void)snprintf(path, SERVICE_PATH_SIZE, "%s/%s", service->dir, name);
    return path;
}

/* In the child, of a process that has no thread yet. */
static void become(const struct service *service, int binary, char *const argv[],
                   const struct passwd *user, int ready, int log)
{
    static char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    static char asan[] = "ASAN_OPTIONS=detect_leaks=1:verify_asan_link_order=0";
    char library[SERVICE_PATH_SIZE];
    char preload[SERVICE_PATH_SIZE + 16];
    char *environment[] = {path, asan, service->disk_fails && user ? preload : NULL, NULL};

    (void)snprintf(preload, sizeof(preload), "LD_PRELOAD=%s",
                   below(service, "failing_disk.so", library));
    (void)setpgid(0, 0);
    binary = fcntl(binary, F_DUPFD_CLOEXEC, READY_FD + 1);
    ready = fcntl(ready, F_DUPFD_CLOEXEC, READY_FD + 1);
    log = fcntl(log, F_DUPFD_CLOEXEC, READY_FD + 1);
    if (dup2(log, 1) < 0 || dup2(log, 2) < 0 || dup2(ready, READY_FD) < 0)
        _exit(126);
    if (user && (setgid(user->pw_gid) || setuid(user->pw_uid)))
        _exit(126);
    /* After the change of user, which clears it. */
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    (void)fexecve(binary, argv, environment);
    _exit(127);
}

/* Starts a program and waits until it serves; its output goes to a file. */
static pid_t start(const struct service *service, const char *binary_path, char *const argv[],
                   const struct passwd *user)
{
    char log_path[SERVICE_PATH_SIZE];
    char line[8] = "";
    int pipe_fds[2];
    int binary = open(binary_path, O_PATH | O_CLOEXEC);
    int log =
        open(below(service, argv[0], log_path), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

    if (binary < 0 || log < 0 || pipe2(pipe_fds, O_CLOEXEC) < 0)
        return 0;
    pid_t pid = fork();

    if (pid == 0)
        become(service, binary, argv, user, pipe_fds[1], log);
    (void)close(pipe_fds[1]);
    (void)close(binary);
    (void)close(log);
    struct pollfd ready = {.fd = pipe_fds[0], .events = POLLIN};
    bool serves = pid > 0 && poll(&ready, 1, READY_MS) == 1 &&
                  read(pipe_fds[0], line, sizeof(line) - 1) == 6 && strcmp(line, "READY\n") == 0;

    (void)close(pipe_fds[0]);
    if (serves || pid < 0)
        return pid < 0 ? 0 : pid;
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    return 0;
}

static void show_log(const struct service *service, const char *name)
{
    char path[SERVICE_PATH_SIZE];
    char line[1024];
    FILE *log = fopen(below(service, name, path), "re");

    while (log && fgets(line, sizeof(line), log))
        (void)fprintf(stderr, "%s: %s", name, line);
    if (log)
        (void)fclose(log);
}

static bool start_sandboxd(struct service *service, const struct passwd *user)
{
    char socket[SERVICE_PATH_SIZE];
    char run[SERVICE_PATH_SIZE];
    char uid[16];

    (void)snprintf(uid, sizeof(uid), "%u", (unsigned)user->pw_uid);
    char *argv[] = {(char *)"sandboxd",
                    (char *)"--socket",
                    below(service, "s.sock", socket),
                    (char *)"--run-dir",
                    below(service, "run", run),
                    (char *)"--templates",
                    (char *)(uintptr_t)templates(),
                    (char *)"--client-uid",
                    uid,
                    (char *)"--kill-on-exit",
                    (char *)"--ready-fd",
                    (char *)"3",
                    NULL};

    service->sandboxd = start(service, SANDBOXD, argv, NULL);
    return service->sandboxd != 0;
}

/* The kernel's choice, as the server says it. */
static uint16_t read_port(const struct service *service)
{
    char path[SERVICE_PATH_SIZE];
    char line[1024];
    unsigned port = 0;
    FILE *log = fopen(below(service, "crownestd", path), "re");

    while (log && fgets(line, sizeof(line), log)) {
        const char *found = strstr(line, "serving on port ");

        if (found)
            port = (unsigned)strtoul(found + strlen("serving on port "), NULL, 10);
    }
    if (log)
        (void)fclose(log);
    return (uint16_t)port;
}

static bool start_crownestd(struct service *service, const struct passwd *user)
{
    char pool_size[16];
    char data[SERVICE_PATH_SIZE];
    char socket[SERVICE_PATH_SIZE];
    char sandboxd[SERVICE_PATH_SIZE];

    (void)snprintf(pool_size, sizeof(pool_size), "%u", service->pool);
    char *argv[] = {(char *)"crownestd",
                    (char *)"--data",
                    below(service, "server/data", data),
                    (char *)"--listen",
                    (char *)"127.0.0.1:0",
                    (char *)"--socket",
                    below(service, "server/c.sock", socket),
                    (char *)"--sandboxd",
                    below(service, "s.sock", sandboxd),
                    (char *)"--templates",
                    (char *)(uintptr_t)templates(),
                    (char *)"--pool",
                    pool_size,
                    (char *)"--kill-on-exit",
                    (char *)"--ready-fd",
                    (char *)"3",
                    service->reserve_bytes ? (char *)"--reserve-bytes" : NULL,
                    (char *)(uintptr_t)service->reserve_bytes,
                    NULL};

    service->crownestd = start(service, CROWNESTD, argv, user);
    service->port = read_port(service);
    return service->crownestd != 0 && service->port != 0;
}

struct crownest_client *service_client(const struct service *service, const char *key)
{
    char target[32];
    struct crownest_client_options options = {.target = target, .api_key = key};
    struct crownest_client *client;
    struct crownest_error error;

    (void)snprintf(target, sizeof(target), "127.0.0.1:%u", (unsigned)service->port);
    assert_int_equal(crownest_client_new(&options, &client, &error), 0);
    return client;
}

static struct crownest_client *operator_client(const struct service *service, const char *project)
{
    char path[SERVICE_PATH_SIZE];
    char target[SERVICE_PATH_SIZE + 8];
    struct crownest_client_options options = {.target = target, .api_key = "", .project = project};
    struct crownest_client *client;
    struct crownest_error error;

    (void)snprintf(target, sizeof(target), "unix:%s", below(service, "server/c.sock", path));
    assert_int_equal(crownest_client_new(&options, &client, &error), 0);
    return client;
}

void service_mint(const struct service *service, const char *project, const char *const scopes[],
                  char ret_secret[SERVICE_SECRET_SIZE])
{
    Crownest__V1__CreateKeyRequest request = CROWNEST__V1__CREATE_KEY_REQUEST__INIT;
    Crownest__V1__CreateKeyResponse *response;
    struct crownest_error error;

    request.project = (char *)(uintptr_t)project;
    request.scopes = (char **)(uintptr_t)scopes;
    while (scopes && scopes[request.n_scopes])
        request.n_scopes++;
    if (crownest_key_create(service->operator_client, &request, NULL, &response, &error))
        fail_msg("key: %s %s", error.reason, error.message);
    (void)snprintf(ret_secret, SERVICE_SECRET_SIZE, "%s", response->secret);
    crownest__v1__create_key_response__free_unpacked(response, NULL);
}

static void open_clients(struct service *service)
{
    Crownest__V1__CreateProjectRequest request = CROWNEST__V1__CREATE_PROJECT_REQUEST__INIT;
    Crownest__V1__CreateProjectResponse *response;
    struct crownest_error error;

    service->operator_client = operator_client(service, NULL);
    request.name = (char *)SERVICE_OTHER_PROJECT;
    if (crownest_project_create(service->operator_client, &request, NULL, &response, &error))
        fail_msg("project: %s %s", error.reason, error.message);
    crownest__v1__create_project_response__free_unpacked(response, NULL);
    service_mint(service, "", NULL, service->key);
    service_mint(service, SERVICE_OTHER_PROJECT, NULL, service->other_key);
    service->client = service_client(service, service->key);
    service->other = service_client(service, service->other_key);
}

/* What this host lacks for a jail, in `missing`; empty when nothing. */
static bool host_is_able(void)
{
    char base[200];

    (void)snprintf(base, sizeof(base), "%s/base", templates());
    if (geteuid() != 0)
        (void)snprintf(missing, sizeof(missing), "root: jails are made by it");
    else if (access(base, R_OK) != 0)
        (void)snprintf(missing, sizeof(missing), "a template: %s", base);
    else if (system(SANDBOXD " --check-host >&2") != 0)
        (void)snprintf(missing, sizeof(missing), "what sandboxd --check-host names above");
    return missing[0] == '\0';
}

/* /tmp, since the server's user must be able to pass and socket paths are short. */
static bool make_dir(struct service *service, const struct passwd *user)
{
    char path[SERVICE_PATH_SIZE];

    (void)snprintf(service->dir, sizeof(service->dir), "/tmp/crownest-XXXXXX");
    return mkdtemp(service->dir) && chmod(service->dir, 0755) == 0 &&
           mkdir(below(service, "server", path), 0700) == 0 &&
           chown(path, user->pw_uid, user->pw_gid) == 0;
}

static bool mount_disk(const struct service *service, const struct passwd *user)
{
    char path[SERVICE_PATH_SIZE];
    char options[96];

    (void)snprintf(options, sizeof(options), "size=%s,mode=0700,uid=%u,gid=%u", service->disk,
                   (unsigned)user->pw_uid, (unsigned)user->pw_gid);
    return !small_disk_enter() && small_disk_mount(below(service, "server", path), options) == 0;
}

static const struct passwd *server_user(void)
{
    const struct passwd *user = getpwnam("crownest");

    return user ? user : getpwnam("nobody");
}

/* Those that do not run. */
static bool start_both(struct service *service, const struct passwd *user)
{
    if ((service->sandboxd || start_sandboxd(service, user)) &&
        (service->crownestd || start_crownestd(service, user)))
        return true;
    show_log(service, "sandboxd");
    show_log(service, "crownestd");
    return false;
}

/* To where the server's user may read it. */
static bool copy_failing_disk(const struct service *service)
{
    char line[SERVICE_PATH_SIZE + 64];

    (void)snprintf(line, sizeof(line), "install -m 0755 " FAILING_DISK " %s", service->dir);
    return system(line) == 0;
}

static int setup(void **state, const struct service *wanted)
{
    struct service *service = calloc(1, sizeof(*service));
    const struct passwd *user = server_user();

    if (!service)
        return -1;
    *service = *wanted;
    *state = service;
    service->start = time(NULL);
    if (!host_is_able())
        return 0;
    if (!user || !make_dir(service, user) || (service->disk && !mount_disk(service, user)) ||
        (service->disk_fails && !copy_failing_disk(service)))
        return -1;
    if (!start_both(service, user))
        return -1;
    open_clients(service);
    return 0;
}

int service_setup(void **state)
{
    return setup(state, &(struct service){0});
}

int service_setup_pooled(void **state)
{
    return setup(state, &(struct service){.pool = SERVICE_POOL});
}

int service_setup_small_disk(void **state)
{
    return setup(
        state, &(struct service){.pool = SERVICE_POOL, .disk = "96m", .reserve_bytes = "50331648"});
}

int service_setup_failing_disk(void **state)
{
    return setup(state, &(struct service){.pool = SERVICE_POOL, .disk_fails = true});
}

struct service *service_of(void **state)
{
    if (missing[0] != '\0') {
        print_message("skipped, for want of %s\n", missing);
        skip();
    }
    return *state;
}

static void close_clients(struct service *service)
{
    crownest_client_free(service->client);
    crownest_client_free(service->other);
    crownest_client_free(service->operator_client);
    service->client = service->other = service->operator_client = NULL;
}

static void crash(pid_t *pid)
{
    assert_int_equal(kill(*pid, SIGKILL), 0);
    assert_int_equal(waitpid(*pid, NULL, 0), *pid);
    *pid = 0;
}

void service_crash_crownestd(struct service *service)
{
    crash(&service->crownestd);
}

void service_crash_sandboxd(struct service *service)
{
    crash(&service->sandboxd);
}

void service_come_back(struct service *service)
{
    close_clients(service);
    if (!start_both(service, server_user()))
        fail_msg("the service does not start again");
    service->operator_client = operator_client(service, NULL);
    service->client = service_client(service, service->key);
    service->other = service_client(service, service->other_key);
}

void service_fail_to_come_back(struct service *service)
{
    char path[SERVICE_PATH_SIZE];

    (void)below(service, "server/c.sock", path);
    (void)unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_false(start_crownestd(service, server_user()));
    assert_int_equal(rmdir(path), 0);
}

/* Whether it ended by itself with exit code 0. */
static bool stop(pid_t *pid)
{
    int status = -1;

    if (*pid == 0)
        return true;
    int pidfd = pidfd_open(*pid, 0);
    struct pollfd end = {.fd = pidfd, .events = POLLIN};

    (void)kill(*pid, SIGTERM);
    bool in_time = poll(&end, 1, STOP_MS) == 1;

    if (!in_time)
        (void)kill(*pid, SIGKILL);
    (void)waitpid(*pid, &status, 0);
    (void)close(pidfd);
    *pid = 0;
    return in_time && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void service_stop(struct service *service)
{
    close_clients(service);
    assert_true(stop(&service->crownestd));
    assert_true(stop(&service->sandboxd));
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

int service_teardown(void **state)
{
    struct service *service = *state;

    if (service->client)
        close_clients(service);
    bool clean = stop(&service->crownestd);

    clean = stop(&service->sandboxd) && clean;
    if (service->disk && service->dir[0] != '\0') {
        char path[SERVICE_PATH_SIZE];

        (void)umount2(below(service, "server", path), MNT_DETACH);
    }
    if (service->dir[0] != '\0')
        (void)nftw(service->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    free(service);
    return clean ? 0 : -1;
}

struct ids {
    char ids[MAX_IDS][HOST_ID_SIZE];
    size_t count;
};

static void list_ids(struct crownest_client *client, struct ids *ids)
{
    char token[HOST_ID_SIZE] = "";

    do {
        Crownest__V1__ListSandboxesRequest request = CROWNEST__V1__LIST_SANDBOXES_REQUEST__INIT;
        Crownest__V1__ListSandboxesResponse *response;
        struct crownest_error error;

        request.page_size = 500;
        request.page_token = token;
        if (crownest_sandbox_list(client, &request, NULL, &response, &error))
            fail_msg("list: %s %s", error.reason, error.message);
        for (size_t i = 0; i < response->n_sandboxes && ids->count < MAX_IDS; i++)
            (void)snprintf(ids->ids[ids->count++], HOST_ID_SIZE, "%s",
                           response->sandboxes[i]->sandbox_id);
        (void)snprintf(token, sizeof(token), "%s", response->next_page_token);
        crownest__v1__list_sandboxes_response__free_unpacked(response, NULL);
    } while (token[0] != '\0');
}

static size_t count_orphans(const void *since)
{
    return host_orphaned_cgroups(*(const time_t *)since);
}

static void assert_nothing_of(const struct ids *ids)
{
    for (size_t i = 0; i < ids->count; i++) {
        size_t groups = host_cgroups_of(ids->ids[i]);

        if (groups > 0)
            fail_msg("%s has left %zu control groups", ids->ids[i], groups);
    }
}

void service_leaves_nothing(void **state)
{
    static struct ids ids;
    struct service *service = service_of(state);
    char path[SERVICE_PATH_SIZE];

    list_ids(service->client, &ids);
    list_ids(service->other, &ids);
    close_clients(service);
    bool server_ended = stop(&service->crownestd);
    bool sandboxd_ended = stop(&service->sandboxd);

    if (!server_ended)
        show_log(service, "crownestd");
    if (!sandboxd_ended)
        show_log(service, "sandboxd");
    assert_true(server_ended);
    assert_true(sandboxd_ended);
    assert_nothing_of(&ids);
    /* Jails that no sandbox claimed have ids that nobody was told. */
    assert_int_equal(host_settle(count_orphans, &service->start, 0, 0, SETTLE_MS), 0);
    assert_int_equal(access(below(service, "s.sock", path), F_OK), -1);
    assert_int_equal(access(below(service, "server/c.sock", path), F_OK), -1);
    assert_int_equal(host_entries(below(service, "run/inventory", path)), 0);
    assert_int_equal(host_mounts_below(service->dir, getpid()), service->disk ? 1 : 0);
}
