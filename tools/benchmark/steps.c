/*
 * What each step of building a jail takes: builds and removes jails with sandboxd's own parts,
 * notes when each step begins, and prints a table of medians and of the ninetieth of a hundred.
 *
 *     steps --templates DIR --run-dir DIR [--count N]
 *
 * The second directory is made, and left with what sandboxd has in its own.
 */
#include <err.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandboxd/cgroup.h"
#include "sandboxd/control.h"
#include "sandboxd/image.h"
#include "sandboxd/init_image.h"
#include "sandboxd/mounts.h"
#include "sandboxd/policy.h"
#include "sandboxd/seccomp.h"
#include "sandboxd/work.h"
#include "tools/benchmark/measure.h"

#define STEPS_MAX 64
#define COUNT_MAX 2000
#define WARM_UP 5
#define WAIT_MS 20000

/* When a process began a step. Shared with the builders and the jails' first processes. */
struct mark {
    pid_t pid;
    char name[32];
    uint64_t time;
};

struct marks {
    unsigned count;
    struct mark marks[STEPS_MAX];
};

struct step {
    char name[32];
    uint64_t took[COUNT_MAX];
    unsigned count;
};

static struct marks *marks;
static struct step steps[STEPS_MAX];
static unsigned step_count;

static int note(const char *name)
{
    unsigned at = __atomic_fetch_add(&marks->count, 1, __ATOMIC_RELAXED);

    if (at < STEPS_MAX) {
        marks->marks[at].pid = getpid();
        (void)snprintf(marks->marks[at].name, sizeof(marks->marks[at].name), "%s", name);
        marks->marks[at].time = measure_now();
    }
    return 0;
}

static struct step *find(const char *name)
{
    for (unsigned i = 0; i < step_count; i++) {
        if (!strcmp(steps[i].name, name))
            return &steps[i];
    }
    if (step_count == STEPS_MAX)
        errx(1, "too many steps");
    (void)snprintf(steps[step_count].name, sizeof(steps[step_count].name), "%s", name);
    return &steps[step_count++];
}

/* A step lasts until the same process begins the next one, or the jail is there. */
static void take(uint64_t end)
{
    for (unsigned i = 0; i < marks->count; i++) {
        const struct mark *mark = &marks->marks[i];
        uint64_t until = end;

        for (unsigned next = i + 1; next < marks->count && until == end; next++) {
            if (marks->marks[next].pid == mark->pid)
                until = marks->marks[next].time;
        }
        struct step *step = find(mark->name);

        step->took[step->count++] = until - mark->time;
    }
}

static void await(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};

    if (poll(&wait, 1, WAIT_MS) != 1)
        errx(1, "nothing came in time");
}

static void check(int result, const struct sd_err *error)
{
    if (result < 0)
        errx(1, "%s: %s: %s", error->step, error->detail, strerror(-result));
}

/* One jail, and its end. Returns how long it took to build. */
static uint64_t live(const struct jail_spec *spec)
{
    struct sd_err error = {0};
    struct work_result result;
    struct work work;
    struct jail jail;
    struct jail none;

    marks->count = 0;
    uint64_t start = measure_now();

    check(work_build(spec, &work, &error), &error);
    await(work.socket);
    uint64_t end = measure_now();

    work_finish(&work, &result, &jail);
    check(result.err.code, &result.err);
    take(end);
    check(work_teardown(spec->id, jail.pidfd, &work, &error), &error);
    await(work.socket);
    work_finish(&work, &result, &none);
    check(result.err.code, &result.err);
    control_remove(spec->id);
    (void)close(jail.control);
    (void)close(jail.pidfd);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    return end - start;
}

static int compare(const void *a, const void *b)
{
    const uint64_t *left = a;
    const uint64_t *right = b;

    return (*left > *right) - (*left < *right);
}

static void print(const char *name, uint64_t *took, unsigned count)
{
    qsort(took, count, sizeof(*took), compare);
    printf("| %s | %.3f | %.3f |\n", name, (double)took[count / 2] / 1e6,
           (double)took[count * 9 / 10] / 1e6);
}

static void read_digest(const char *templates, uint8_t ret_digest[SD_DIGEST_SIZE])
{
    char path[PATH_MAX];
    char target[PATH_MAX] = {0};

    (void)snprintf(path, sizeof(path), "%s/base", templates);
    if (readlink(path, target, sizeof(target) - 1) < 0)
        err(1, "%s", path);
    const char *name = strrchr(target, '/') ? strrchr(target, '/') + 1 : target;

    for (size_t i = 0; i < SD_DIGEST_SIZE; i++) {
        unsigned byte = 0;

        if (sscanf(name + i * 2, "%2x", &byte) != 1)
            errx(1, "%s names no digest", path);
        ret_digest[i] = (uint8_t)byte;
    }
}

static void prepare(const char *templates, const char *dir, char image[PATH_MAX],
                    struct jail_spec *ret_spec)
{
    static char stage[PATH_MAX];
    static char images[PATH_MAX];
    static char control[PATH_MAX];
    uint8_t digest[SD_DIGEST_SIZE];
    struct sd_err error = {0};

    if (mkdir(dir, 0700) < 0)
        err(1, "%s", dir);
    (void)snprintf(stage, sizeof(stage), "%s/stage", dir);
    (void)snprintf(images, sizeof(images), "%s/images", dir);
    (void)snprintf(control, sizeof(control), "%s/control", dir);
    read_digest(templates, digest);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    check(mounts_unshare(&error), &error);
    check(cgroup_init(&error), &error);
    check(mounts_make_stage(stage, &error), &error);
    check(image_init(templates, images, &error), &error);
    check(control_init(control, &error), &error);
    check(init_image_open(&ret_spec->init_image, &error), &error);
    check(seccomp_compile(&ret_spec->seccomp_filter, &error), &error);
    check(image_get(digest, image, &error), &error);
    ret_spec->stage = stage;
    ret_spec->image_root = image;
}

int main(int argc, char **argv)
{
    static uint64_t whole[COUNT_MAX];
    static char image[PATH_MAX];
    const char *templates = NULL;
    const char *dir = NULL;
    unsigned count = 200;
    struct jail_spec spec = {
        .policy = policy_get(),
        .id = "sbx_00000000000000000000000000",
        .limits = {.memory_bytes = 512ULL << 20,
                   .disk_bytes = 1ULL << 30,
                   .disk_inodes = 262144,
                   .io_bytes_per_sec = 256ULL << 20,
                   .cpu_millis = 1000,
                   .max_processes = 512,
                   .max_open_files = 4096,
                   .max_ptys = 64},
        .base = policy_get()->uid_base,
        .before_step = note,
    };

    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--templates"))
            templates = argv[i + 1];
        else if (!strcmp(argv[i], "--run-dir"))
            dir = argv[i + 1];
        else if (!strcmp(argv[i], "--count"))
            count = (unsigned)strtoul(argv[i + 1], NULL, 10);
    }
    if (!templates || !dir || count == 0 || count > COUNT_MAX)
        errx(2, "usage: steps --templates DIR --run-dir DIR [--count N], N at most %d", COUNT_MAX);
    marks = mmap(NULL, sizeof(*marks), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (marks == MAP_FAILED)
        err(1, "mmap");
    prepare(templates, dir, image, &spec);
    for (unsigned i = 0; i < count + WARM_UP; i++) {
        uint64_t took = live(&spec);

        if (i >= WARM_UP)
            whole[i - WARM_UP] = took;
        for (unsigned s = 0; s < step_count && i + 1 == WARM_UP; s++)
            steps[s].count = 0;
    }
    printf(
        "%u jails, one after the other\n\n| step | median ms | p90 ms |\n| --- | ---: | ---: |\n",
        count);
    for (unsigned i = 0; i < step_count; i++)
        print(steps[i].name, steps[i].took, steps[i].count);
    print("**whole jail**", whole, count);
    return 0;
}
