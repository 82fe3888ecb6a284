#include "tests/jail/group_file.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "tests/jail/fixture.h"

#define PATH_SIZE 256

static void path_of(const char *id, const char *hierarchy, const char *name,
                    char ret_path[PATH_SIZE])
{
    (void)snprintf(ret_path, PATH_SIZE, "/sys/fs/cgroup%s/crownest/%s/%s", hierarchy, id, name);
}

bool group_read(const char *id, const char *hierarchy, const char *name,
                char ret_value[GROUP_VALUE_SIZE])
{
    char path[PATH_SIZE];
    path_of(id, hierarchy, name, path);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    assert_non_null(fgets(ret_value, GROUP_VALUE_SIZE, file));
    (void)fclose(file);
    ret_value[strcspn(ret_value, "\n")] = '\0';
    return true;
}

bool group_await(const char *id, const char *hierarchy, const char *name, const char *expected)
{
    char path[PATH_SIZE];
    char value[GROUP_VALUE_SIZE];
    path_of(id, hierarchy, name, path);
    int watch = inotify_init1(IN_CLOEXEC);
    bool there = inotify_add_watch(watch, path, IN_MODIFY) >= 0;
    while (there && group_read(id, hierarchy, name, value) && strcmp(value, expected) != 0) {
        struct pollfd written = {.fd = watch, .events = POLLIN};
        struct inotify_event event;
        assert_int_equal(poll(&written, 1, JAIL_TIMEOUT_MS * jail_slowness()), 1);
        assert_int_equal(read(watch, &event, sizeof(event)), sizeof(event));
    }
    (void)close(watch);
    return there;
}
