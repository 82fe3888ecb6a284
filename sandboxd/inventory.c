#include "sandboxd/inventory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandboxd/cgroup.h"
#include "sandboxd/io.h"
#include "sandboxd/policy.h"

#define START_TIME_FIELD 22 /* of /proc/<pid>/stat, counted from 1 */

static int directory = -1;

int inventory_init(const char *path, struct sd_err *err)
{
    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        return sd_err_sys(err, path);
    }
    directory = open(path, O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return directory < 0 ? sd_err_sys(err, path) : 0;
}

/* In clock ticks since boot: with the pid, a name for a process that no other ever has. */
static unsigned long long start_time(pid_t pid)
{
    char path[64];
    char text[1024];
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    if (pid == 0 || io_read_at(AT_FDCWD, path, text, sizeof(text)) < 0) {
        return 0;
    }
    /* The name, field 2, may hold anything; it ends with the last parenthesis. */
    char *at = strrchr(text, ')');
    for (int field = 2; at != NULL && field < START_TIME_FIELD; field++) {
        at = strchr(at + 1, ' ');
    }
    return at == NULL ? 0 : strtoull(at, NULL, 10);
}

int inventory_put(const char *id, uint32_t slot, pid_t pid, struct sd_err *err)
{
    char text[96];
    int length = snprintf(text, sizeof(text), "%u %d %llu\n", slot, pid, start_time(pid));
    char fresh[SD_ID_SIZE + 8];
    (void)snprintf(fresh, sizeof(fresh), ".%s", id);
    io_cleanup_fd int fd = openat(directory, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text, (size_t)length) != length ||
        renameat(directory, fresh, directory, id) < 0) {
        (void)sd_err_sys(err, "note the sandbox");
        (void)unlinkat(directory, fresh, 0);
        return err->code;
    }
    return 0;
}

void inventory_remove(const char *id)
{
    (void)unlinkat(directory, id, 0);
}

static bool read_entry(const char *name, struct inventory_entry *ret_entry)
{
    char text[96];
    unsigned long long started;
    struct inventory_entry e = {0};
    size_t length = strlen(name);
    if (length >= sizeof(e.id)) {
        return false;
    }
    memcpy(e.id, name, length);
    if (!policy_id_is_valid(e.id) || io_read_at(directory, name, text, sizeof(text)) < 0 ||
        sscanf(text, "%u %d %llu", &e.slot, &e.pid, &started) != 3) {
        return false;
    }
    e.alive = e.pid > 0 && start_time(e.pid) == started && cgroup_has(e.id, e.pid);
    *ret_entry = e;
    return true;
}

int inventory_each(void (*each)(const struct inventory_entry *entry))
{
    int copy = dup(directory);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    if (dir == NULL) {
        io_close(&copy);
        return -errno;
    }
    rewinddir(dir);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        struct inventory_entry entry;
        if (read_entry(e->d_name, &entry)) {
            each(&entry);
        } else if (e->d_name[0] == '.') {
            (void)unlinkat(directory, e->d_name, 0); /* written, and not renamed any more */
        }
    }
    closedir(dir);
    return 0;
}
