#include "tests/jail/posture_check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/jail/fixture.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define IDS_PER_SANDBOX 65536U

static char text[65536];

const char *posture_read_proc(pid_t pid, const char *name)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    size_t length = 0;
    ssize_t got;
    while ((got = read(fd, text + length, sizeof(text) - 1 - length)) > 0) {
        length += (size_t)got;
    }
    close(fd);
    text[length] = '\0';
    return text;
}

/* The value after "key" and blanks or a colon, to the end of the line. */
void posture_find_line(const char *in, const char *key, char *ret_value, size_t size)
{
    const char *at = in;
    size_t length = strlen(key);
    while (at != NULL && strncmp(at, key, length) != 0) {
        at = strchr(at, '\n');
        at = at == NULL ? NULL : at + 1;
    }
    if (at == NULL) {
        print_error("no line %s\n", key);
    }
    assert_non_null(at);
    at += length;
    at += strspn(at, ": \t");
    (void)snprintf(ret_value, size, "%.*s", (int)strcspn(at, "\n"), at);
}

/* Nest-init's pid here: what its pidfd refers to. */
pid_t posture_init_pid(const struct jail_box *box)
{
    char path[64];
    char value[64];
    (void)snprintf(path, sizeof(path), "fdinfo/%d", box->pidfd);
    posture_find_line(posture_read_proc(getpid(), path), "Pid", value, sizeof(value));
    return atoi(value);
}

/* The only child of nest-init: the command that runs. */
pid_t posture_command_pid(const struct jail_box *box)
{
    char path[128];
    pid_t init = posture_init_pid(box);
    (void)snprintf(path, sizeof(path), "task/%d/children", init);
    return atoi(posture_read_proc(init, path));
}

/* A command's first process has another id than nest-init, and so has the one that waits to be
 * next; it alone holds a terminal's other end. */
pid_t posture_relay_pid(const struct jail_box *box)
{
    char path[128];
    char list[512];
    char *rest = NULL;
    pid_t init = posture_init_pid(box);
    (void)snprintf(path, sizeof(path), "task/%d/children", init);
    (void)snprintf(list, sizeof(list), "%s", posture_read_proc(init, path));
    for (char *word = strtok_r(list, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        char target[64] = {0};
        (void)snprintf(path, sizeof(path), "/proc/%s/fd/3", word);
        if (readlink(path, target, sizeof(target) - 1) > 0 && strstr(target, "ptmx") != NULL) {
            return atoi(word);
        }
    }
    return 0;
}

unsigned int posture_id_base(pid_t pid)
{
    static const char *const FILES[] = {"uid_map", "gid_map"};
    unsigned int base = 0;
    for (size_t i = 0; i < 2; i++) {
        unsigned int inside;
        unsigned int count;
        assert_int_equal(
            sscanf(posture_read_proc(pid, FILES[i]), "%u %u %u", &inside, &base, &count), 3);
        assert_int_equal(inside, 0);
        assert_int_equal(count, IDS_PER_SANDBOX);
        assert_true(base >= IDS_PER_SANDBOX);
        assert_int_equal(strchr(text, '\n')[1], '\0');
    }
    return base;
}

void posture_check_ids(pid_t pid, const struct posture *posture)
{
    static const char *const KEYS[] = {"Uid", "Gid"};
    unsigned int base = posture_id_base(pid);
    char value[256];
    char expected[256];
    unsigned int id = base + posture->id;
    for (size_t i = 0; i < 2; i++) {
        posture_find_line(posture_read_proc(pid, "status"), KEYS[i], value, sizeof(value));
        (void)snprintf(expected, sizeof(expected), "%u\t%u\t%u\t%u", id, id, id, id);
        assert_string_equal(value, expected);
    }
    posture_find_line(posture_read_proc(pid, "status"), "Groups", value, sizeof(value));
    if (posture->groups[0] == '\0') {
        assert_string_equal(value, "");
    } else {
        assert_int_equal(strtoul(value, NULL, 10), base + (unsigned int)atoi(posture->groups));
    }
}

void posture_check_lines(pid_t pid, const struct posture_line *lines, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char value[256];
        posture_find_line(posture_read_proc(pid, "status"), lines[i].key, value, sizeof(value));
        if (strcmp(value, lines[i].value) != 0) {
            print_error("%s\n", lines[i].key);
        }
        assert_string_equal(value, lines[i].value);
    }
}

void posture_check_status(pid_t pid, const struct posture *posture)
{
    char value[256];
    posture_check_lines(pid, POSTURE_STATUS, COUNT(POSTURE_STATUS));
    posture_find_line(posture_read_proc(pid, "status"), "CapEff", value, sizeof(value));
    assert_string_equal(value, posture->effective);
    posture_find_line(posture_read_proc(pid, "status"), "CapPrm", value, sizeof(value));
    assert_string_equal(value, posture->effective);
}

void posture_check_namespaces(pid_t pid)
{
    for (size_t i = 0; i < COUNT(POSTURE_NAMESPACES); i++) {
        struct stat mine;
        struct stat theirs;
        char path[64];
        (void)snprintf(path, sizeof(path), "/proc/self/ns/%s", POSTURE_NAMESPACES[i]);
        assert_int_equal(stat(path, &mine), 0);
        (void)snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, POSTURE_NAMESPACES[i]);
        assert_int_equal(stat(path, &theirs), 0);
        assert_true(mine.st_ino != theirs.st_ino);
    }
}

/* One line of mountinfo into what posture.h speaks of. */
static void parse_mount(char *line, char **ret_point, char **ret_options, char **ret_type)
{
    char *rest = NULL;
    char *field = strtok_r(line, " ", &rest);
    for (int i = 1; field != NULL && i < 5; i++) {
        field = strtok_r(NULL, " ", &rest);
    }
    *ret_point = field;
    *ret_options = strtok_r(NULL, " ", &rest);
    char *at = strstr(*ret_options, ",relatime");
    if (at != NULL) {
        memmove(at, at + strlen(",relatime"), strlen(at + strlen(",relatime")) + 1);
    }
    field = strtok_r(NULL, " ", &rest);
    /* No shared:, master: or the like: nothing propagates. */
    assert_string_equal(field, "-");
    *ret_type = strtok_r(NULL, " ", &rest);
}

void posture_check_mounts(pid_t pid)
{
    char *rest = NULL;
    (void)posture_read_proc(pid, "mountinfo");
    char *line = strtok_r(text, "\n", &rest);
    for (size_t i = 0; i < COUNT(POSTURE_MOUNTS); i++) {
        const struct posture_mount *expected = &POSTURE_MOUNTS[i];
        char *point;
        char *options;
        char *type;
        if (expected->needs != NULL && access(expected->needs, F_OK) < 0) {
            continue;
        }
        assert_non_null(line);
        parse_mount(line, &point, &options, &type);
        assert_string_equal(point, expected->point);
        assert_string_equal(type, expected->type);
        assert_string_equal(options, expected->options);
        line = strtok_r(NULL, "\n", &rest);
    }
    assert_null(line);
}

void posture_check_descriptors(pid_t pid, const char *stdio)
{
    char path[64];
    int count = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        char target[128] = {0};
        if (e->d_name[0] == '.') {
            continue;
        }
        assert_true(readlinkat(dirfd(dir), e->d_name, target, sizeof(target) - 1) > 0);
        assert_in_range(atoi(e->d_name), 0, 2);
        assert_memory_equal(target, stdio, strlen(stdio));
        count++;
    }
    closedir(dir);
    assert_int_equal(count, 3);
}

static void check_limit(pid_t pid, const char *key, const char *expected)
{
    char value[128];
    char soft[32];
    char hard[32];
    char both[70];
    posture_find_line(posture_read_proc(pid, "limits"), key, value, sizeof(value));
    assert_int_equal(sscanf(value, "%31s %31s", soft, hard), 2);
    (void)snprintf(both, sizeof(both), "%s %s", soft, hard);
    assert_string_equal(both, expected);
}

void posture_check_limits(pid_t pid, unsigned int open_files)
{
    char both[32];
    (void)snprintf(both, sizeof(both), "%u %u", open_files, open_files);
    check_limit(pid, "Max open files", both);
    for (size_t i = 0; i < COUNT(POSTURE_LIMITS); i++) {
        check_limit(pid, POSTURE_LIMITS[i].key, POSTURE_LIMITS[i].value);
    }
}

/* Every hierarchy of the host holds the process below crownest/<id>. */
void posture_check_cgroups(const struct jail_box *box, pid_t pid)
{
    char group[64];
    char *rest = NULL;
    (void)snprintf(group, sizeof(group), ":/crownest/%s", box->id);
    (void)posture_read_proc(pid, "cgroup");
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        if (strstr(line, group) == NULL) {
            print_error("%s\n", line);
        }
        assert_non_null(strstr(line, group));
    }
}

void posture_await_cat(const int fds[3])
{
    char byte = 'x';
    struct pollfd wait = {.fd = fds[0], .events = POLLIN};
    assert_int_equal(write(fds[2], &byte, 1), 1);
    assert_int_equal(poll(&wait, 1, JAIL_TIMEOUT_MS), 1);
    assert_int_equal(read(fds[0], &byte, 1), 1);
}

/* /proc shows a thread under its own number, too. */
static void check_thread(const struct jail_box *box, pid_t thread, const struct posture *posture)
{
    posture_check_ids(thread, posture);
    posture_check_status(thread, posture);
    posture_check_namespaces(thread);
    posture_check_mounts(thread);
    posture_check_descriptors(thread, posture->stdio);
    posture_check_limits(thread, POSTURE_OPEN_FILES);
    posture_check_cgroups(box, thread);
}

int posture_check_command(const struct jail_box *box, pid_t pid, const struct posture *posture)
{
    char path[64];
    int threads = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        if (e->d_name[0] != '.') {
            check_thread(box, atoi(e->d_name), posture);
            threads++;
        }
    }
    closedir(dir);
    return threads;
}
