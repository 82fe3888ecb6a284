/*
 * Runs inside a sandbox: makes each attack of hostile_cases.h in a child of its own and reports a
 * line for each, "outcome name". Arguments: as struct attack_targets has them; or the word
 * "terminal", for those of terminal_cases.h.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/jail/attacks.h"

#define CASE_SECONDS 10

#define JOIN(a, b) a##b
#define FUNCTION(kind, line) JOIN(kind, line)
#define CASE(name, attack, user, root)                                                             \
    static long FUNCTION(attack_, __LINE__)(void)                                                  \
    {                                                                                              \
        return (attack);                                                                           \
    }
#include "tests/jail/hostile_cases.h"
#undef CASE
#define CASE(name, attack, user, root)                                                             \
    static long FUNCTION(terminal_attack_, __LINE__)(void)                                         \
    {                                                                                              \
        return (attack);                                                                           \
    }
#include "tests/jail/terminal_cases.h"
#undef CASE

struct attack {
    const char *name;
    long (*make)(void);
};

static const struct attack CASES[] = {
#define CASE(name, attack, user, root) {name, FUNCTION(attack_, __LINE__)},
#include "tests/jail/hostile_cases.h"
#undef CASE
    {NULL, NULL},
};

static const struct attack TERMINAL_CASES[] = {
#define CASE(name, attack, user, root) {name, FUNCTION(terminal_attack_, __LINE__)},
#include "tests/jail/terminal_cases.h"
#undef CASE
    {NULL, NULL},
};

/* The child's exit code is errno, or 0. */
static void make_attack(const struct attack *attack)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        (void)alarm(CASE_SECONDS);
        _exit(attack->make() < 0 ? errno : 0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        printf("lost %s\n", attack->name);
    } else if (WIFSIGNALED(status)) {
        printf("%s %s\n", WTERMSIG(status) == SIGALRM ? "hung" : "killed", attack->name);
    } else if (WEXITSTATUS(status) != 0) {
        printf("%s %s\n", strerrorname_np(WEXITSTATUS(status)), attack->name);
    } else {
        printf("ok %s\n", attack->name);
    }
    (void)fflush(stdout);
}

static int make_all(const struct attack *attacks)
{
    for (; attacks->name != NULL; attacks++) {
        make_attack(attacks);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 1 && strcmp(argv[0], "mount") == 0) {
        return mount("none", "/mnt", "tmpfs", 0, NULL) < 0 ? errno : 0;
    }
    if (argc == 2 && strcmp(argv[1], "terminal") == 0) {
        return make_all(TERMINAL_CASES);
    }
    if (argc != 5) {
        return 2;
    }
    attack_targets = (struct attack_targets){.port = (uint16_t)atoi(argv[1]),
                                             .pid = atoi(argv[2]),
                                             .socket = argv[3],
                                             .control = argv[4]};
    return make_all(CASES);
}
