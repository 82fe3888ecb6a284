#include "tests/jail/hostile_host.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "tests/jail/fixture.h"
#include "tests/jail/posture_check.h"

#define SECRET "the neighbour's own words\n"
#define MAX_CLOCK_DRIFT_NS 1000000000LL

static const char *const LURE_FILES[] = {"/tmp/crownest-canary", "/dev/shm/crownest-canary"};

/* Patterns of files whose bytes must stay. */
static const char *const CANARIES[] = {
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/core_uses_pid",
    "/proc/sys/kernel/ctrl-alt-del",
    "/proc/sys/kernel/dmesg_restrict",
    "/proc/sys/kernel/domainname",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/hotplug",
    "/proc/sys/kernel/kptr_restrict",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/modules_disabled",
    "/proc/sys/kernel/panic",
    "/proc/sys/kernel/panic_on_oops",
    "/proc/sys/kernel/perf_event_paranoid",
    "/proc/sys/kernel/pid_max",
    "/proc/sys/kernel/poweroff_cmd",
    "/proc/sys/kernel/randomize_va_space",
    "/proc/sys/kernel/shmmax",
    "/proc/sys/kernel/sysrq",
    "/proc/sys/kernel/unprivileged_bpf_disabled",
    "/proc/sys/kernel/yama/ptrace_scope",
    "/proc/sys/fs/file-max",
    "/proc/sys/fs/nr_open",
    "/proc/sys/fs/protected_*",
    "/proc/sys/fs/suid_dumpable",
    "/proc/sys/net/core/bpf_jit_*",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv4/ip_unprivileged_port_start",
    "/proc/sys/user/max_user_namespaces",
    "/proc/sys/vm/mmap_min_addr",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/vm/unprivileged_userfaultfd",
    "/proc/swaps",
    "/sys/fs/cgroup/*/release_agent",
    "/sys/fs/cgroup/*/notify_on_release",
    "/etc/passwd",
    "/etc/shadow",
    "/tmp/crownest-canary",
    "/dev/shm/crownest-canary",
};

static void hash_file(EVP_MD_CTX *hash, const char *path)
{
    static char data[1 << 16];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = 0;
    assert_int_equal(EVP_DigestUpdate(hash, path, strlen(path)), 1);
    while (fd >= 0 && (got = read(fd, data, sizeof(data))) > 0) {
        assert_int_equal(EVP_DigestUpdate(hash, data, (size_t)got), 1);
    }
    if (fd >= 0) {
        close(fd);
    }
}

/* The image of nest-init that sandboxd holds, and sandboxd itself. */
static void hash_daemon(EVP_MD_CTX *hash, pid_t pid)
{
    char path[320];
    int images = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/exe", pid);
    hash_file(hash, path);
    (void)snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        char target[64] = {0};
        ssize_t length = readlinkat(dirfd(dir), e->d_name, target, sizeof(target) - 1);
        if (length > 0 && strncmp(target, "/memfd:", 7) == 0) {
            (void)snprintf(path, sizeof(path), "/proc/%d/fd/%s", pid, e->d_name);
            hash_file(hash, path);
            images++;
        }
    }
    closedir(dir);
    assert_true(images >= 2); /* nest-init, and the filter */
}

/* Where the digest says the template is. */
static void hash_template(EVP_MD_CTX *hash, const struct jail_daemon *daemon)
{
    const char *dir = getenv("CROWNEST_TEST_TEMPLATES");
    char path[512];
    int length =
        snprintf(path, sizeof(path), "%.300s/", dir != NULL ? dir : "/var/lib/crownest/templates");
    for (size_t i = 0; i < SD_DIGEST_SIZE; i++) {
        (void)snprintf(path + length + i * 2, 3, "%02x", daemon->digest[i]);
    }
    (void)snprintf(path + length + SD_DIGEST_SIZE * 2, 7, ".erofs");
    assert_int_equal(access(path, R_OK), 0);
    hash_file(hash, path);
}

/* Name, parent, start time, priority and limits of a process. */
static void hash_process(EVP_MD_CTX *hash, pid_t pid)
{
    char value[64];
    int fields = 0;
    const char *stat = posture_read_proc(pid, "stat");
    for (const char *at = strrchr(stat, ')'); at != NULL; at = strchr(at + 1, ' ')) {
        fields++;
        /* ppid … tty; priority, nice; start time. In between are counters that move by themselves.
         */
        if ((fields >= 3 && fields <= 6) || fields == 17 || fields == 18 || fields == 21) {
            assert_int_equal(EVP_DigestUpdate(hash, at, strcspn(at + 1, " ")), 1);
        }
    }
    assert_true(fields > 21);
    const char *limits = posture_read_proc(pid, "limits");
    assert_int_equal(EVP_DigestUpdate(hash, limits, strlen(limits)), 1);
    (void)snprintf(value, sizeof(value), "%s", posture_read_proc(pid, "oom_score_adj"));
    assert_int_equal(EVP_DigestUpdate(hash, value, strlen(value)), 1);
}

static void take_canaries(const struct host *host, uint8_t ret_hash[HOST_HASH_SIZE])
{
    unsigned int size = HOST_HASH_SIZE;
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestInit_ex(hash, EVP_sha256(), NULL), 1);
    for (size_t i = 0; i < sizeof(CANARIES) / sizeof(CANARIES[0]); i++) {
        glob_t found;
        if (glob(CANARIES[i], 0, NULL, &found) == 0) {
            for (size_t f = 0; f < found.gl_pathc; f++) {
                hash_file(hash, found.gl_pathv[f]);
            }
            globfree(&found);
        }
    }
    hash_daemon(hash, host->daemon->pid);
    hash_template(hash, host->daemon);
    hash_process(hash, host->daemon->pid);
    hash_process(hash, host->bystander);
    assert_int_equal(EVP_DigestFinal_ex(hash, ret_hash, &size), 1);
    EVP_MD_CTX_free(hash);
}

static int64_t clock_offset(void)
{
    struct timespec wall;
    struct timespec steady;
    (void)clock_gettime(CLOCK_REALTIME, &wall);
    (void)clock_gettime(CLOCK_MONOTONIC, &steady);
    return (int64_t)(wall.tv_sec - steady.tv_sec) * 1000000000 + wall.tv_nsec - steady.tv_nsec;
}

/* --- lures --- */

static void set_lures(struct host *host)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(in);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    memcpy(un.sun_path + 1, "crownest-canary", 15);
    for (size_t i = 0; i < 2; i++) {
        int fd = open(LURE_FILES[i], O_CREAT | O_RDWR | O_CLOEXEC, 0666);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, "lure", 4), 4);
        close(fd);
    }
    host->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(host->listener, (struct sockaddr *)&in, sizeof(in)), 0);
    assert_int_equal(listen(host->listener, 8), 0);
    assert_int_equal(getsockname(host->listener, (struct sockaddr *)&in, &size), 0);
    host->port = ntohs(in.sin_port);
    host->abstract = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(host->abstract, (struct sockaddr *)&un,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 16)),
                     0);
    assert_int_equal(listen(host->abstract, 8), 0);
    host->shm = shmget(HOST_SHM_KEY, 4096, IPC_CREAT | 0666);
    assert_true(host->shm >= 0);
    mqd_t queue = mq_open("/crownest-canary", O_CREAT | O_RDWR, 0666, NULL);
    assert_true(queue != (mqd_t)-1);
    (void)mq_close(queue);
}

static void remove_lures(struct host *host)
{
    close(host->listener);
    close(host->abstract);
    (void)shmctl(host->shm, IPC_RMID, NULL);
    (void)mq_unlink("/crownest-canary");
    for (size_t i = 0; i < 2; i++) {
        (void)unlink(LURE_FILES[i]);
    }
}

static void check_lures(const struct host *host)
{
    struct shmid_ds shm;
    assert_int_equal(accept(host->listener, NULL, NULL), -1);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(accept(host->abstract, NULL, NULL), -1);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(shmctl(host->shm, IPC_STAT, &shm), 0);
    assert_int_equal(shm.shm_atime, 0);
}

/* --- the neighbour --- */

static void start_neighbour(struct host *host)
{
    static const char SCRIPT[] =
        "use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0) or die; "
        "bind(S, pack_sockaddr_un(\"\\0crownest-neighbour\")) or die; listen(S, 5) or die; "
        "$| = 1; while (<STDIN>) { print }";
    const char *const argv[] = {"perl", "-e", SCRIPT, NULL};
    int fds[3];
    jail_create(host->daemon, &host->neighbour);
    assert_int_equal(jail_write(&host->neighbour, "secret", 0, SECRET, strlen(SECRET)).error, 0);
    assert_int_equal(jail_spawn(&host->neighbour, NEST_USER, "/workspace", argv, fds).error, 0);
    host->beat_out = fds[0];
    host->beat_err = fds[1];
    host->beat_in = fds[2];
    host_beat(host);
}

void host_beat(struct host *host)
{
    char sent[32];
    char got[32] = {0};
    struct pollfd wait = {.fd = host->beat_out, .events = POLLIN};
    int length = snprintf(sent, sizeof(sent), "beat %llu\n", (unsigned long long)++host->beats);
    assert_int_equal(write(host->beat_in, sent, (size_t)length), length);
    assert_int_equal(poll(&wait, 1, JAIL_TIMEOUT_MS), 1);
    assert_int_equal(read(host->beat_out, got, sizeof(got) - 1), length);
    assert_string_equal(got, sent);
}

/* Pages of the template are shared with everybody: what the neighbour reads must stay. */
static void sum_template(struct host *host, char ret_sums[512])
{
    static struct jail_run run;
    jail_shell(&host->neighbour, "sha256sum /usr/bin/perl /bin/sh /etc/passwd /etc/ld.so.cache",
               &run);
    assert_int_equal(run.wait_status, 0);
    assert_in_range(run.out_bytes, 4 * 64, 511);
    memcpy(ret_sums, run.out, run.out_bytes + 1);
}

static void check_neighbour(struct host *host)
{
    char data[64] = {0};
    int fd = -1;
    host_beat(host);
    assert_int_equal(jail_file(&host->neighbour, NEST_READ, "secret", 0, -1, &fd).error, 0);
    assert_int_equal(read(fd, data, sizeof(data) - 1), strlen(SECRET));
    assert_string_equal(data, SECRET);
    close(fd);
    char sums[sizeof(host->template_sums)];
    sum_template(host, sums);
    assert_string_equal(sums, host->template_sums);
}

/* --- all --- */

void host_open(struct host *host, struct jail_daemon *daemon)
{
    *host = (struct host){.daemon = daemon};
    host->bystander = fork();
    if (host->bystander == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
            (void)pause();
        }
    }
    set_lures(host);
    start_neighbour(host);
    sum_template(host, host->template_sums);
    take_canaries(host, host->before);
    host->clock_offset_ns = clock_offset();
}

void host_check(struct host *host)
{
    uint8_t now[HOST_HASH_SIZE];
    take_canaries(host, now);
    assert_memory_equal(now, host->before, HOST_HASH_SIZE);
    int64_t drift = clock_offset() - host->clock_offset_ns;
    assert_true(drift < MAX_CLOCK_DRIFT_NS && drift > -MAX_CLOCK_DRIFT_NS);
    assert_int_equal(waitpid(host->bystander, NULL, WNOHANG), 0);
    check_lures(host);
    check_neighbour(host);
}

void host_close(struct host *host)
{
    host_check(host);
    close(host->beat_in);
    close(host->beat_out);
    close(host->beat_err);
    assert_int_equal(jail_kill(host->daemon, &host->neighbour).error, 0);
    (void)kill(host->bystander, SIGKILL);
    assert_int_equal(waitpid(host->bystander, NULL, 0), host->bystander);
    remove_lures(host);
}

void host_check_jail(struct jail_box *box)
{
    static const struct {
        uint32_t user;
        const struct posture *posture;
    } USERS[] = {{NEST_USER, &POSTURE_USER}, {NEST_ROOT, &POSTURE_ROOT}};
    static struct jail_run run;
    const char *const argv[] = {"cat", NULL};
    for (size_t i = 0; i < 2; i++) {
        int fds[3];
        struct nest_reply reply = jail_spawn(box, USERS[i].user, "/", argv, fds);
        assert_int_equal(reply.error, 0);
        posture_await_cat(fds);
        posture_check_command(box, posture_command_pid(box), USERS[i].posture);
        jail_end_input(box, reply.command, fds);
        jail_wait(box, reply.command, &run);
    }
}

/* Waits for "ready" on the error output, which floods do not use; of a terminal it is the output.
 */
void host_start_flood(struct jail_box *box, uint32_t user, uint32_t flags, const char *body,
                      int ret_fds[3])
{
    const struct nest_spawn options = {
        .user = user, .flags = flags | NEST_KEEP_INPUT, .rows = 24, .columns = 80, .cwd = "/tmp"};
    char script[1024];
    char said[5];
    struct pollfd wait = {.events = POLLIN};
    assert_in_range(snprintf(script, sizeof(script),
                             "$r = sub { syswrite(STDERR, 'ready') }; %s; sleep 1e6", body),
                    1, sizeof(script) - 1);
    const char *const argv[] = {"perl", "-e", script, NULL};
    assert_int_equal(jail_spawn_with(box, &options, argv, ret_fds).error, 0);
    wait.fd = ret_fds[(flags & NEST_TERMINAL) != 0 ? 0 : 1];
    assert_int_equal(poll(&wait, 1, JAIL_TIMEOUT_MS), 1);
    assert_int_equal(read(wait.fd, said, sizeof(said)), sizeof(said));
    assert_memory_equal(said, "ready", sizeof(said));
}
