#include "sandboxd/init/glob.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandboxd/init/files.h"

#define WORKSPACE "/workspace"
#define MAX_DEPTH 32
#define MAX_LOOKED_AT 100000
#define MAX_MATCHES 10000

struct walk {
    char pattern[NEST_PATH_MAX + sizeof(WORKSPACE)];
    const char *parts[MAX_DEPTH];
    size_t part_count;
    char path[NEST_PATH_MAX];  /* of what is looked at, absolute */
    size_t lengths[MAX_DEPTH]; /* of path, before the part of each level */
    DIR *dirs[MAX_DEPTH];
    uint64_t looked_at;
    uint64_t matches;
    int pipe;
};

static int split(struct walk *w, const char *pattern)
{
    char *rest = NULL;
    const char *base = pattern[0] == '/' ? "" : WORKSPACE "/";
    (void)snprintf(w->pattern, sizeof(w->pattern), "%s%s", base, pattern);
    for (char *part = strtok_r(w->pattern, "/", &rest); part != NULL;
         part = strtok_r(NULL, "/", &rest)) {
        if (strcmp(part, ".") == 0) {
            continue;
        }
        if (strcmp(part, "..") == 0) {
            return -EINVAL;
        }
        if (w->part_count == MAX_DEPTH) {
            return -E2BIG;
        }
        w->parts[w->part_count++] = part;
    }
    return w->part_count == 0 ? -EINVAL : 0;
}

/* Appends "/name" to the path of this level. */
static int set_path(struct walk *w, size_t level, const char *name)
{
    size_t start = w->lengths[level];
    size_t length = strlen(name);
    if (start + length + 2 > sizeof(w->path)) {
        return -ENAMETOOLONG;
    }
    w->path[start] = '/';
    memcpy(w->path + start + 1, name, length + 1);
    if (level + 1 < MAX_DEPTH) {
        w->lengths[level + 1] = start + 1 + length;
    }
    return 0;
}

static int open_level(struct walk *w, size_t level, const char *path)
{
    int fd = level == 0 ? files_open("/", O_RDONLY | O_DIRECTORY, 0)
                        : openat(dirfd(w->dirs[level - 1]), path,
                                 O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return level == 0 ? fd : -errno;
    }
    w->dirs[level] = fdopendir(fd);
    if (w->dirs[level] == NULL) {
        close(fd);
        return -ENOMEM;
    }
    return 0;
}

static int emit(struct walk *w, const struct stat *st)
{
    if (w->matches == MAX_MATCHES) {
        return -E2BIG;
    }
    w->matches++;
    return files_put_entry(w->pipe, st, w->path, strlen(w->path));
}

/* One entry of a level that matched: a result at the last level, else a directory to enter. */
static int take(struct walk *w, size_t *level, const char *name)
{
    struct stat st;
    int error = set_path(w, *level, name);
    if (error < 0 || fstatat(dirfd(w->dirs[*level]), name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return error; /* gone again */
    }
    if (*level + 1 == w->part_count) {
        return emit(w, &st);
    }
    if (S_ISDIR(st.st_mode) && open_level(w, *level + 1, name) == 0) {
        (*level)++;
    }
    return 0;
}

static int run(struct walk *w)
{
    size_t level = 0;
    int error = open_level(w, 0, "/");
    while (error == 0) {
        struct dirent *e = readdir(w->dirs[level]);
        if (e == NULL) {
            closedir(w->dirs[level]);
            if (level == 0) {
                return 0;
            }
            level--;
            continue;
        }
        if (++w->looked_at > MAX_LOOKED_AT) {
            error = -E2BIG;
        } else if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
                   fnmatch(w->parts[level], e->d_name, FNM_PERIOD) == 0) {
            error = take(w, &level, e->d_name);
        }
    }
    return error;
}

int glob_write(const struct nest_file *file, int pipe, uint64_t *ret_count)
{
    static struct walk walk;
    if (!files_path_is_good(file)) {
        return -EINVAL;
    }
    walk.pipe = pipe;
    int error = split(&walk, file->path);
    if (error == 0) {
        error = run(&walk);
    }
    *ret_count = walk.matches;
    return error;
}
