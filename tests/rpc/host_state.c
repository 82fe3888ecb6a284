#include "tests/rpc/host_state.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <mntent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATH_SIZE 512
#define POLL_NS 10000000L

/* Calls visit with each entry of a directory but "." and "..". */
static void each_entry(const char *path,
                       void (*visit)(void *arg, const char *path, const struct dirent *entry),
                       void *arg)
{
    DIR *dir = opendir(path);

    for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            visit(arg, path, e);
    }
    if (dir)
        (void)closedir(dir);
}

/* Reads a file of /proc; NUL-terminated. */
static size_t read_file(const char *path, char *buffer, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t at = 0;
    ssize_t got = 0;

    while (fd >= 0 && at < size - 1 && (got = read(fd, buffer + at, size - 1 - at)) > 0)
        at += (size_t)got;
    buffer[at] = '\0';
    if (fd >= 0)
        (void)close(fd);
    return at;
}

struct group_walk {
    const char *id;
    size_t groups;
    size_t count;
    pid_t pids[4096];
};

/* A process is in a group of each hierarchy, and counts once. */
static void add_pid(struct group_walk *walk, pid_t pid)
{
    for (size_t i = 0; i < walk->count; i++) {
        if (walk->pids[i] == pid)
            return;
    }
    if (walk->count < sizeof(walk->pids) / sizeof(walk->pids[0]))
        walk->pids[walk->count++] = pid;
}

static void visit_group(void *arg, const char *path, const struct dirent *entry);

static void count_group(struct group_walk *walk, const char *path)
{
    char procs[PATH_SIZE];
    char text[65536];

    walk->groups++;
    (void)snprintf(procs, sizeof(procs), "%s/cgroup.procs", path);
    (void)read_file(procs, text, sizeof(text));
    for (char *line = text; *line; line++) {
        add_pid(walk, (pid_t)strtol(line, &line, 10));
        if (*line == '\0')
            break;
    }
    each_entry(path, visit_group, walk);
}

static void visit_group(void *arg, const char *path, const struct dirent *entry)
{
    char below[PATH_SIZE];

    if (entry->d_type != DT_DIR ||
        snprintf(below, PATH_SIZE, "%s/%s", path, entry->d_name) >= PATH_SIZE)
        return;
    count_group(arg, below);
}

/* Calls visit with "crownest" of each hierarchy. */
static void each_hierarchy(void (*visit)(void *arg, const char *crownest), void *arg)
{
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    struct mntent *mount;

    while (mounts && (mount = getmntent(mounts))) {
        char path[PATH_SIZE];

        if (strncmp(mount->mnt_type, "cgroup", strlen("cgroup")) != 0)
            continue;
        (void)snprintf(path, sizeof(path), "%s/crownest", mount->mnt_dir);
        visit(arg, path);
    }
    if (mounts)
        (void)endmntent(mounts);
}

static void visit_hierarchy(void *arg, const char *crownest)
{
    struct group_walk *walk = arg;
    char path[PATH_SIZE];
    struct stat st;

    if (snprintf(path, sizeof(path), "%s/%s", crownest, walk->id) < PATH_SIZE &&
        stat(path, &st) == 0)
        count_group(walk, path);
}

static struct group_walk walk_groups(const char *id)
{
    struct group_walk walk = {.id = id};

    each_hierarchy(visit_hierarchy, &walk);
    return walk;
}

struct orphans {
    time_t since;
    size_t count;
};

static void visit_sandbox(void *arg, const char *path, const struct dirent *entry)
{
    struct orphans *orphans = arg;
    char group[PATH_SIZE];
    struct stat st;

    if (strncmp(entry->d_name, "sbx_", 4) != 0 ||
        snprintf(group, sizeof(group), "%s/%s", path, entry->d_name) >= PATH_SIZE ||
        stat(group, &st) < 0 || st.st_ctim.tv_sec < orphans->since)
        return;
    orphans->count += walk_groups(entry->d_name).count == 0;
}

static void visit_crownest(void *arg, const char *crownest)
{
    each_entry(crownest, visit_sandbox, arg);
}

size_t host_orphaned_cgroups(time_t since)
{
    struct orphans orphans = {.since = since};

    each_hierarchy(visit_crownest, &orphans);
    return orphans.count;
}

size_t host_cgroups_of(const char *sandbox_id)
{
    return walk_groups(sandbox_id).groups;
}

size_t host_processes_of(const char *sandbox_id)
{
    return walk_groups(sandbox_id).count;
}

struct process_walk {
    const char *text;
    size_t count;
    pid_t pids[65536];
    pid_t parents[65536];
};

static pid_t parent_of(pid_t pid)
{
    char path[64];
    char text[1024];

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    (void)read_file(path, text, sizeof(text));
    const char *end = strrchr(text, ')');

    return end && strlen(end) > 4 ? (pid_t)strtol(end + 4, NULL, 10) : 0;
}

static void visit_process(void *arg, const char *path, const struct dirent *entry)
{
    struct process_walk *walk = arg;

    (void)path;
    if (!isdigit((unsigned char)entry->d_name[0]) || walk->count == 65536)
        return;
    pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

    walk->pids[walk->count] = pid;
    walk->parents[walk->count++] = parent_of(pid);
}

static void visit_argv(void *arg, const char *path, const struct dirent *entry)
{
    struct process_walk *walk = arg;
    char file[PATH_SIZE];
    char text[65536];

    (void)path;
    if (!isdigit((unsigned char)entry->d_name[0]) ||
        strtol(entry->d_name, NULL, 10) == (long)getpid())
        return;
    (void)snprintf(file, sizeof(file), "/proc/%s/cmdline", entry->d_name);
    size_t size = read_file(file, text, sizeof(text));

    walk->count += size > 0 && memmem(text, size, walk->text, strlen(walk->text)) != NULL;
}

size_t host_processes_with(const char *text)
{
    static struct process_walk walk;

    walk.text = text;
    walk.count = 0;
    each_entry("/proc", visit_argv, &walk);
    return walk.count;
}

/* Calls visit with each descendant; a table is taken once, so a process that moves may be missed.
 */
static size_t each_descendant(pid_t root, void (*visit)(void *arg, pid_t pid), void *arg)
{
    static struct process_walk walk;
    static pid_t queue[65536];
    size_t end = 1;

    walk.count = 0;
    each_entry("/proc", visit_process, &walk);
    queue[0] = root;
    for (size_t at = 0; at < end; at++) {
        for (size_t i = 0; i < walk.count; i++) {
            if (walk.parents[i] != queue[at])
                continue;
            queue[end++] = walk.pids[i];
            if (visit)
                visit(arg, walk.pids[i]);
        }
    }
    return end - 1;
}

size_t host_descendants(pid_t pid)
{
    return each_descendant(pid, NULL, NULL);
}

struct namespaces {
    ino_t own;
    size_t count;
    ino_t inodes[4096];
};

static ino_t network_of(pid_t pid)
{
    char path[64];
    struct stat st;

    (void)snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
    return stat(path, &st) == 0 ? st.st_ino : 0;
}

static void visit_network(void *arg, pid_t pid)
{
    struct namespaces *seen = arg;
    ino_t inode = network_of(pid);
    bool known = inode == 0 || inode == seen->own || seen->count == 4096;

    for (size_t i = 0; i < seen->count && !known; i++)
        known = seen->inodes[i] == inode;
    if (!known)
        seen->inodes[seen->count++] = inode;
}

size_t host_network_namespaces(pid_t pid)
{
    struct namespaces seen = {.own = network_of(pid)};

    (void)each_descendant(pid, visit_network, &seen);
    return seen.count;
}

size_t host_network_namespaces_allocated(void)
{
    char line[512];
    size_t count = 0;
    FILE *slabs = fopen("/proc/slabinfo", "re");

    while (slabs && fgets(line, sizeof(line), slabs)) {
        if (strncmp(line, "net_namespace ", strlen("net_namespace ")) == 0)
            count = strtoul(line + strlen("net_namespace "), NULL, 10);
    }
    if (slabs)
        (void)fclose(slabs);
    return count;
}

static void count_entry(void *arg, const char *path, const struct dirent *entry)
{
    (void)path;
    (void)entry;
    ++*(size_t *)arg;
}

size_t host_entries(const char *dir)
{
    size_t count = 0;

    each_entry(dir, count_entry, &count);
    return count;
}

size_t host_descriptors(pid_t pid)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    return host_entries(path);
}

struct link_walk {
    const char *dir;
    size_t count;
};

static void visit_link(void *arg, const char *path, const struct dirent *entry)
{
    struct link_walk *walk = arg;
    char name[PATH_SIZE];
    char target[PATH_SIZE] = "";

    (void)snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
    walk->count += readlink(name, target, sizeof(target) - 1) > 0 &&
                   strncmp(target, walk->dir, strlen(walk->dir)) == 0;
}

size_t host_descriptors_below(pid_t pid, const char *dir)
{
    struct link_walk walk = {.dir = dir};
    char path[64];

    (void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    each_entry(path, visit_link, &walk);
    return walk.count;
}

size_t host_mounts_below(const char *dir, pid_t pid)
{
    char path[64];
    char line[8192];
    size_t count = 0;

    (void)snprintf(path, sizeof(path), "/proc/%d/mountinfo", (int)pid);
    FILE *mounts = fopen(path, "re");

    while (mounts && fgets(line, sizeof(line), mounts))
        count += strstr(line, dir) != NULL;
    if (mounts)
        (void)fclose(mounts);
    return count;
}

size_t host_mounts(pid_t pid)
{
    return host_mounts_below("/", pid);
}

size_t host_memory(pid_t pid)
{
    char path[64];
    char text[8192];

    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    (void)read_file(path, text, sizeof(text));
    const char *found = strstr(text, "RssAnon:");

    return found ? strtoul(found + strlen("RssAnon:"), NULL, 10) * 1024 : 0;
}

static size_t file_count;

static int count_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)path;
    (void)st;
    (void)ftw;
    file_count += type != FTW_D;
    return 0;
}

size_t host_files(const char *dir)
{
    file_count = 0;
    (void)nftw(dir, count_file, 16, FTW_PHYS | FTW_MOUNT);
    return file_count;
}

size_t host_settle(size_t (*count)(const void *arg), const void *arg, size_t least, size_t most,
                   int ms)
{
    const struct timespec pause = {.tv_nsec = POLL_NS};
    struct timespec now;
    struct timespec end;
    size_t last;

    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += ms / 1000;
    do {
        last = count(arg);
        if (last >= least && last <= most)
            break;
        (void)nanosleep(&pause, NULL);
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec <= end.tv_sec);
    return last;
}
