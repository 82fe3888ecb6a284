#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <netdb.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "server/util/cleanup.h"
#include "tools/cli/check.h"
#include "tools/cli/instance.h"

#define PATH_SIZE 4096
#define MIB (1024ULL * 1024)
#define DISK_WANTED_MIB 5120
#define DISK_NEEDED_MIB 512
#define MEMORY_NEEDED_MIB 900

void check_user(const struct check_context *context, struct check_result *result)
{
    const struct passwd *entry = getpwnam(context->user);
    char remedy[160];

    (void)snprintf(remedy, sizeof(remedy),
                   "useradd --system --no-create-home --shell /usr/sbin/nologin %s", context->user);
    if (!entry)
        check_set(result, CHECK_FAIL, remedy, "there is no user %s", context->user);
    else if (!entry->pw_uid)
        check_set(result, CHECK_FAIL, "choose an unprivileged one with --user",
                  "the user %s is root", context->user);
    else
        check_set(result, CHECK_OK, "", "%s (uid %u)", context->user, (unsigned)entry->pw_uid);
}

static int find_bin_dir(const struct check_context *context, char ret_path[PATH_SIZE])
{
    if (context->bin_dir)
        return snprintf(ret_path, PATH_SIZE, "%s", context->bin_dir) < PATH_SIZE ? 0 : -1;
    ssize_t len = readlink("/proc/self/exe", ret_path, PATH_SIZE - 1);
    if (len < 0)
        return -1;
    ret_path[len] = '\0';
    *strrchr(ret_path, '/') = '\0';
    return 0;
}

void check_binaries(const struct check_context *context, struct check_result *result)
{
    static const char *const names[] = {"crownestd", "sandboxd"};
    char directory[PATH_SIZE];

    if (find_bin_dir(context, directory)) {
        check_set(result, CHECK_WARN, "name their directory with --bin-dir",
                  "cannot tell where this program is");
        return;
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[PATH_SIZE + 32];

        (void)snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
        if (!access(path, X_OK))
            continue;
        check_set(result, CHECK_FAIL, "build and install it, or name its directory with --bin-dir",
                  "%s is not in %.120s", names[i], directory);
        return;
    }
    check_set(result, CHECK_OK, "", "crownestd and sandboxd in %.120s", directory);
}

void check_templates(const struct check_context *context, struct check_result *result)
{
    static const char remedy[] = "build `base` and `python`: see README.md";
    char path[PATH_SIZE];
    int count = 0;

    (void)snprintf(path, sizeof(path), "%s/templates", context->data);
    DIR *directory = opendir(path);
    if (!directory) {
        check_set(result, errno == EACCES ? CHECK_WARN : CHECK_FAIL, remedy, "%.120s: %s", path,
                  strerror(errno));
        return;
    }
    for (struct dirent *entry = readdir(directory); entry; entry = readdir(directory))
        count += entry->d_name[0] != '.';
    (void)closedir(directory);
    if (count)
        check_set(result, CHECK_OK, "", "some in %.120s", path);
    else
        check_set(result, CHECK_FAIL, remedy, "none in %.120s", path);
}

/* Tries to bind a socket to the address, which nobody else notices. 0, or an errno. */
static int try_address(const char *listen_address)
{
    char host[256];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    const char *colon = strrchr(listen_address, ':');
    int yes = 1;

    if (!colon || colon - listen_address >= (long)sizeof(host))
        return EINVAL;
    (void)snprintf(host, sizeof(host), "%.*s", (int)(colon - listen_address), listen_address);
    if (getaddrinfo(host[0] ? host : NULL, colon + 1, &hints, &found))
        return EADDRNOTAVAIL;
    cleanup_fd int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int result = 0;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) ||
        bind(fd, found->ai_addr, found->ai_addrlen))
        result = errno;
    freeaddrinfo(found);
    return result;
}

void check_listen(const struct check_context *context, struct check_result *result)
{
    pid_t pid = 0;

    (void)instance_find(context->run_dir, &pid);
    if (pid) {
        check_set(result, CHECK_OK, "", "%.100s: the service runs already (pid %d)",
                  context->listen, (int)pid);
        return;
    }
    int error = try_address(context->listen);
    if (error)
        check_set(result, CHECK_FAIL, "free it (ss -ltnp shows who has it) or use up --listen",
                  "%.100s: %s", context->listen, strerror(error));
    else
        check_set(result, CHECK_OK, "", "%.100s is free", context->listen);
}

/* The data directory may not exist yet: what counts is the file system it would be on. */
void check_disk(const struct check_context *context, struct check_result *result)
{
    char path[PATH_SIZE];
    struct statvfs info;

    (void)snprintf(path, sizeof(path), "%s", context->data);
    while (statvfs(path, &info)) {
        char *slash = strrchr(path, '/');

        if (errno != ENOENT || !slash || slash == path) {
            check_set(result, CHECK_WARN, "look at the directory given as --data", "%.120s: %s",
                      path, strerror(errno));
            return;
        }
        *slash = '\0';
    }
    uint64_t free_mib = (uint64_t)info.f_bavail * info.f_frsize / MIB;
    if (free_mib < DISK_NEEDED_MIB)
        check_set(result, CHECK_FAIL, "make room, or choose another --data",
                  "%" PRIu64 " MiB free for %.120s", free_mib, context->data);
    else if (free_mib < DISK_WANTED_MIB)
        check_set(result, CHECK_WARN, "templates, logs and artifacts will want some GiB",
                  "%" PRIu64 " MiB free for %.120s", free_mib, context->data);
    else
        check_set(result, CHECK_OK, "", "%" PRIu64 " MiB free for %.120s", free_mib, context->data);
}

/* Where sandboxes write, and what bounds them there. */
void check_layer(const struct check_context *context, struct check_result *result)
{
    static const char remedy[] = "mount a btrfs there, name a directory on one, or none";
    struct statfs info;

    if (!context->volume)
        check_set(result, CHECK_OK, "", "writable layer: tmpfs charged to memory");
    else if (statfs(context->volume, &info))
        check_set(result, CHECK_FAIL, remedy, "%.120s: %s", context->volume, strerror(errno));
    else if (info.f_type != BTRFS_SUPER_MAGIC)
        check_set(result, CHECK_FAIL, remedy, "%.120s is not on btrfs", context->volume);
    else
        check_set(result, CHECK_OK, "", "writable layer: btrfs subvolume with qgroup at %.120s",
                  context->volume);
}

void check_memory(const struct check_context *context, struct check_result *result)
{
    char text[4096];
    uint64_t kib = 0;

    (void)check_read(context, "/proc/meminfo", text, sizeof(text));
    const char *line = strstr(text, "MemTotal:");
    if (!line || sscanf(line, "MemTotal: %" SCNu64, &kib) != 1)
        check_set(result, CHECK_WARN, "is /proc mounted?", "the memory's size is not known");
    else if (kib / 1024 < MEMORY_NEEDED_MIB)
        check_set(result, CHECK_WARN, "a sandbox takes 512 MiB unless it asks for less",
                  "%" PRIu64 " MiB", kib / 1024);
    else
        check_set(result, CHECK_OK, "", "%" PRIu64 " MiB", kib / 1024);
}
