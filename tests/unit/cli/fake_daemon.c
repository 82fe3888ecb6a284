/*
 * Stands for a daemon in tests: argv[1] says how it behaves; it is ready on descriptor 3.
 * `well` ends on SIGTERM with 0, `deaf` does not, `badly` ends with 3, `dead` ends before it is
 * ready, `mute` never says that it is, and `alone` is ready only if it has no descriptor, variable
 * or directory that it was not meant to get.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool is_alone(void)
{
    char directory[8] = "";

    for (int fd = 4; fd < 256; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            return false;
    return !strncmp(environ[0], "PATH=", 5) && !environ[1] &&
           getcwd(directory, sizeof(directory)) && !strcmp(directory, "/");
}

int main(int argc, char **argv)
{
    const char *manner = argc > 1 ? argv[1] : "";
    sigset_t set;
    int number;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    if (!strcmp(manner, "dead"))
        return 9;
    if (!strcmp(manner, "alone") && !is_alone())
        return 7;
    if (strcmp(manner, "mute") != 0 && (dprintf(3, "READY\n") < 0 || close(3)))
        return 8;
    do
        (void)sigwait(&set, &number);
    while (!strcmp(manner, "deaf"));
    return !strcmp(manner, "badly") ? 3 : 0;
}
