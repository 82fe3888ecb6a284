#include "server/util/failpoint.h"

#ifdef CROWNEST_FAILPOINTS

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define ARMED_MAX 16
#define NAME_SIZE 64
#define LINE_SIZE 160

enum action { KILL9, FAIL_EIO, FAIL_ENOSPC, SHORT, SKIP, DELAY, JUMP };

struct armed {
    char name[NAME_SIZE];
    enum action action;
    int ms;             /* of a delay or a jump */
    unsigned at;        /* the passing at which it happens; 0: each */
    atomic_uint passed; /* so far */
};

static struct armed *table; /* in memory that forked children share */
static size_t armed_count;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static void (*kill9)(void);

/* Without stdio's locks: a place may lie in a forked child. */
static void say(const char *name, const char *what)
{
    char line[LINE_SIZE];
    int size = snprintf(line, sizeof(line), "failpoint: %.100s%s\n", name, what);

    (void)!write(STDERR_FILENO, line, (size_t)size);
}

static int parse_action(const char *text, struct armed *armed)
{
    static const char *const names[] = {"kill9", "eio", "enospc", "short", "skip"};

    bool delays = sscanf(text, "delay:%d", &armed->ms) == 1 && armed->ms >= 0;

    if (delays || sscanf(text, "jump:%d", &armed->ms) == 1) {
        armed->action = delays ? DELAY : JUMP;
        return 0;
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(text, names[i]) == 0) {
            armed->action = (enum action)i;
            return 0;
        }
    }
    return -EINVAL;
}

/* One that is misspelt would make a test that tests nothing. */
static void arm(const char *text)
{
    struct armed *armed = &table[armed_count];
    char action[NAME_SIZE];

    if (armed_count == ARMED_MAX ||
        sscanf(text, "%63[^=]=%63[^@]@%u", armed->name, action, &armed->at) != 3 ||
        parse_action(action, armed) < 0) {
        say(text, ": not understood");
        abort();
    }
    armed_count++;
}

static void read_environment(void)
{
    const char *value = getenv("CROWNEST_FAILPOINTS");
    char *copy = strdup(value ? value : "");
    char *rest = copy;
    char *text;

    table = mmap(NULL, ARMED_MAX * sizeof(*table), PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!copy || table == MAP_FAILED)
        abort();
    while ((text = strsep(&rest, ",")) != NULL) {
        if (text[0])
            arm(text);
    }
    free(copy);
}

static void wait_ms(int ms)
{
    struct timespec rest = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    (void)nanosleep(&rest, NULL);
}

static void die(void)
{
    if (kill9)
        kill9();
    else
        (void)kill(getpid(), SIGKILL);
}

/* What is to happen at this passing, or NULL. */
static const struct armed *count(const char *name)
{
    const struct armed *due = NULL;

    (void)pthread_once(&once, read_environment);
    for (size_t i = 0; i < armed_count; i++) {
        struct armed *armed = &table[i];

        if (strcmp(armed->name, name) == 0 &&
            (atomic_fetch_add(&armed->passed, 1) + 1 == armed->at || armed->at == 0))
            due = armed;
    }
    return due;
}

static const struct armed *pass(const char *name)
{
    const struct armed *due = count(name);

    if (!due)
        return NULL;
    say(name, "");
    if (due->action == KILL9)
        die();
    if (due->action == DELAY)
        wait_ms(due->ms);
    return due;
}

void failpoint_init(void (*on_kill9)(void))
{
    kill9 = on_kill9;
    (void)pthread_once(&once, read_environment);
}

int failpoint_pass(const char *name)
{
    const struct armed *due = pass(name);

    if (due && due->action == FAIL_EIO)
        return -EIO;
    return due && due->action == FAIL_ENOSPC ? -ENOSPC : 0;
}

size_t failpoint_size(const char *name, size_t size)
{
    const struct armed *due = pass(name);

    return due && due->action == SHORT ? (size + 1) / 2 : size;
}

int64_t failpoint_jump(const char *name)
{
    int64_t ms = 0;

    (void)pass(name);
    for (size_t i = 0; i < armed_count; i++) {
        if (table[i].action == JUMP && strcmp(table[i].name, name) == 0 &&
            atomic_load(&table[i].passed) >= table[i].at)
            ms += table[i].ms;
    }
    return ms * 1000;
}

bool failpoint_skip(const char *name)
{
    const struct armed *due = pass(name);

    return due && due->action == SKIP;
}

#endif
