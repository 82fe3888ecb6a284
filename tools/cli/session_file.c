#include "tools/cli/session_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "server/util/cleanup.h"

#define PATH_SIZE 4096

/* `name` in the folder, which is made if asked. */
static int find_path(const char *name, bool make, char ret_path[PATH_SIZE], struct err *err)
{
    const char *config = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");
    bool given = config && config[0] == '/';

    if (!given && (!home || home[0] != '/'))
        return err_set(err, ENOENT, "HOME is not set: there is no place for sessions");
    int size =
        snprintf(ret_path, PATH_SIZE, "%s%s", given ? config : home, given ? "" : "/.config");

    if (size < 0 || size + 64 > PATH_SIZE)
        return err_set(err, ENAMETOOLONG, "the path of the configuration is too long");
    if (make)
        (void)mkdir(ret_path, 0700);
    (void)snprintf(ret_path + size, PATH_SIZE - (size_t)size, "/crownest");
    if (make && mkdir(ret_path, 0700) < 0 && errno != EEXIST)
        return err_set(err, errno, "%s cannot be made: %s", ret_path, strerror(errno));
    (void)snprintf(ret_path + size, PATH_SIZE - (size_t)size, "/crownest/%s", name);
    return 0;
}

/* What is there, as an object; an empty one when there is nothing. */
static int read_all(json_t **ret_sessions, struct err *err)
{
    char path[PATH_SIZE];
    struct stat st;
    json_error_t error;
    int r = find_path("sessions.json", false, path, err);

    if (r < 0)
        return r;
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0 && errno != ENOENT)
        return err_set(err, errno, "%s cannot be read: %s", path, strerror(errno));
    if (fd >= 0 && (fstat(fd, &st) < 0 || st.st_uid != geteuid() || (st.st_mode & 077)))
        return err_set(err, EPERM, "%s is not only ours: chmod 600 it, or log in again", path);
    json_t *sessions = fd < 0 ? json_object() : json_loadfd(fd, 0, &error);

    if (!json_is_object(sessions)) {
        json_decref(sessions);
        return err_set(err, EUCLEAN, "%s is damaged: remove it, and log in again", path);
    }
    *ret_sessions = sessions;
    return 0;
}

int session_file_find(const char *target, char ret_token[SESSION_FILE_TOKEN_SIZE],
                      struct err *ret_err)
{
    json_t *sessions;
    int r = read_all(&sessions, ret_err);

    if (r < 0)
        return r;
    const char *token = json_string_value(json_object_get(sessions, target));

    if (!token || strlen(token) >= SESSION_FILE_TOKEN_SIZE)
        r = -ENOENT;
    else
        memcpy(ret_token, token, strlen(token) + 1);
    json_decref(sessions);
    return r;
}

static int write_all(const json_t *sessions, struct err *err)
{
    char path[PATH_SIZE];
    char part[PATH_SIZE];
    int r = find_path("sessions.json", true, path, err);

    if (r == 0)
        r = find_path("sessions.XXXXXX", true, part, err);
    if (r < 0)
        return r;
    /* Made with 0600. */
    cleanup_fd int fd = mkostemp(part, O_CLOEXEC);

    if (fd < 0)
        return err_set(err, errno, "%s cannot be made: %s", part, strerror(errno));
    if (json_dumpfd(sessions, fd, JSON_INDENT(2)) == 0 && rename(part, path) == 0)
        return 0;
    r = err_set(err, errno, "%s cannot be written: %s", path, strerror(errno));
    (void)unlink(part);
    return r;
}

int session_file_put(const char *target, const char *token, struct err *ret_err)
{
    json_t *sessions = NULL;
    int r = read_all(&sessions, ret_err);

    /* Whoever logs in again was told to. */
    if ((r == -EPERM || r == -EUCLEAN) && token) {
        sessions = json_object();
        r = 0;
    }
    if (r < 0)
        return r;
    if (token)
        (void)json_object_set_new(sessions, target, json_string(token));
    else
        (void)json_object_del(sessions, target);
    r = write_all(sessions, ret_err);
    json_decref(sessions);
    return r;
}
