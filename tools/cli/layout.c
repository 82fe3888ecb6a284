#include "tools/cli/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/util/cleanup.h"

/* What names of ours may need behind a directory. */
#define ROOM_FOR_NAMES 128

static int make_absolute(const char *path, char ret_path[LAYOUT_PATH_SIZE], struct err *err)
{
    char here[LAYOUT_PATH_SIZE] = "";

    if (path[0] != '/' && !getcwd(here, sizeof(here)))
        return err_set(err, errno, "current directory: %s", strerror(errno));
    int len = snprintf(ret_path, LAYOUT_PATH_SIZE, "%s%s%s", here, here[0] ? "/" : "", path);
    if (len < 0 || len >= LAYOUT_PATH_SIZE - ROOM_FOR_NAMES)
        return err_set(err, ENAMETOOLONG, "%.64s...: the path is too long", path);
    return 0;
}

int layout_init(struct layout *layout, const char *data, const char *run, struct err *ret_err)
{
    int result = make_absolute(data, layout->data, ret_err);

    return result ? result : make_absolute(run, layout->run, ret_err);
}

int layout_find_user(struct layout *layout, const char *user, struct err *ret_err)
{
    const struct passwd *entry = getpwnam(user);

    if (!entry)
        return err_set(ret_err, ENOENT,
                       "there is no user %s: useradd --system --no-create-home --shell "
                       "/usr/sbin/nologin %s",
                       user, user);
    if (!entry->pw_uid)
        return err_set(ret_err, EPERM, "the server must not run as root");
    layout->uid = entry->pw_uid;
    layout->gid = entry->pw_gid;
    return 0;
}

const char *layout_path(const char *directory, const char *name, char ret_path[LAYOUT_PATH_SIZE])
{
    (void)snprintf(ret_path, LAYOUT_PATH_SIZE, "%.*s%s%s", LAYOUT_PATH_SIZE - ROOM_FOR_NAMES,
                   directory, name[0] ? "/" : "", name);
    return ret_path;
}

/* mkdir -p for what is above the installation's own directories. */
static int make_parents(const char *path, struct err *err)
{
    char part[LAYOUT_PATH_SIZE];

    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        (void)snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
        if (mkdir(part, 0755) && errno != EEXIST)
            return err_set(err, errno, "%s: %s", part, strerror(errno));
    }
    return 0;
}

/* Owner and mode are set through the descriptor, so a link put there meanwhile is not followed. */
static int make_directory(const char *path, mode_t mode, uid_t uid, gid_t gid, struct err *err)
{
    if (mkdir(path, 0700) && errno != EEXIST)
        return err_set(err, errno, "%s: %s", path, strerror(errno));
    cleanup_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fchown(fd, uid, gid) || fchmod(fd, mode))
        return err_set(err, errno, "%s: %s", path, strerror(errno));
    return 0;
}

static int make_link(const struct layout *layout, struct err *err)
{
    static const char target[] = "server/crownest.sock";
    char path[LAYOUT_PATH_SIZE];
    char now[LAYOUT_PATH_SIZE];

    (void)layout_path(layout->run, "crownest.sock", path);
    ssize_t len = readlink(path, now, sizeof(now));
    if (len == (ssize_t)strlen(target) && !memcmp(now, target, strlen(target)))
        return 0;
    if ((unlink(path) && errno != ENOENT) || symlink(target, path))
        return err_set(err, errno, "%s: %s", path, strerror(errno));
    return 0;
}

int layout_create(const struct layout *layout, struct err *ret_err)
{
    const struct {
        const char *base;
        const char *name;
        mode_t mode;
        uid_t uid;
        gid_t gid;
    } directories[] = {
        {layout->data, "", 0755, 0, 0},
        {layout->data, "server", 0700, layout->uid, layout->gid},
        {layout->data, "templates", 0755, 0, 0},
        {layout->data, "log", 0750, 0, 0},
        {layout->run, "", 0755, 0, 0},
        {layout->run, "server", 0755, layout->uid, layout->gid},
        {layout->run, "sandboxd", 0700, 0, 0},
    };
    int result = make_parents(layout->data, ret_err);

    if (!result)
        result = make_parents(layout->run, ret_err);
    for (size_t i = 0; !result && i < sizeof(directories) / sizeof(directories[0]); i++) {
        char path[LAYOUT_PATH_SIZE];

        result =
            make_directory(layout_path(directories[i].base, directories[i].name, path),
                           directories[i].mode, directories[i].uid, directories[i].gid, ret_err);
    }
    return result ? result : make_link(layout, ret_err);
}
