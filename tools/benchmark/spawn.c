/*
 * Measures programs from spawn to exit, with their output read through a pipe: how the peers run.
 * A request is a program with its arguments. It is small so that spawning from it costs little.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/benchmark/measure.h"

extern char **environ;

static pid_t spawn(char **words, int out)
{
    posix_spawn_file_actions_t actions;
    pid_t pid;

    if (posix_spawn_file_actions_init(&actions) ||
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0) ||
        posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO))
        errx(1, "out of memory");
    int error = posix_spawnp(&pid, words[0], &actions, NULL, words, environ);
    if (error) {
        errno = error;
        err(1, "%s", words[0]);
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static void drain(int in, uint64_t start, struct measure *ret_measure)
{
    static char buffer[256 << 10];
    ssize_t got;

    while ((got = read(in, buffer, sizeof(buffer))) > 0) {
        if (!ret_measure->bytes)
            ret_measure->first = measure_now() - start;
        ret_measure->bytes += (uint64_t)got;
    }
    if (got < 0)
        err(1, "read");
}

static void run(char **words)
{
    struct measure measure = {0};
    int pipe_ends[2];
    int status;

    if (pipe2(pipe_ends, O_CLOEXEC))
        err(1, "pipe");
    uint64_t start = measure_now();
    pid_t pid = spawn(words, pipe_ends[1]);
    (void)close(pipe_ends[1]);
    drain(pipe_ends[0], start, &measure);
    if (waitpid(pid, &status, 0) != pid)
        err(1, "waitpid");
    measure.total = measure.exited = measure_now() - start;
    (void)close(pipe_ends[0]);
    if (status)
        errx(1, "%s ended with status 0x%x", words[0], (unsigned int)status);
    measure_reply(&measure);
}

int main(void)
{
    char *words[MEASURE_WORDS + 1];

    while (measure_next(words))
        run(words);
    return 0;
}
