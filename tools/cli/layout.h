/*
 * Where an installation keeps its things, and with which owners and modes:
 *
 *     DATA                0755 root
 *     DATA/server         0700 the server's user: its database, logs of commands, artifacts
 *     DATA/templates      0755 root: template images
 *     DATA/log            0750 root: logs of the daemons when detached
 *     RUN                 0755 root: sandboxd.sock, up.lock, *.pid
 *     RUN/server          0755 the server's user: crownest.sock
 *     RUN/sandboxd        0700 root: sandboxd's own
 *     RUN/crownest.sock   symlink to server/crownest.sock
 */
#pragma once

#include <sys/types.h>

#include "server/util/err.h"

#define LAYOUT_PATH_SIZE 4096
#define LAYOUT_DEFAULT_DATA "/var/lib/crownest"
#define LAYOUT_DEFAULT_RUN "/run/crownest"
#define LAYOUT_DEFAULT_USER "crownest"

struct layout {
    char data[LAYOUT_PATH_SIZE];
    char run[LAYOUT_PATH_SIZE];
    uid_t uid; /* of the server's user */
    gid_t gid;
};

/* Makes both paths absolute, since daemons may change directory. 0, or -errno. */
int layout_init(struct layout *layout, const char *data, const char *run, struct err *ret_err);

/* Looks the server's user up. -ENOENT with the remedy when there is none, -EPERM when it is root.
 */
int layout_find_user(struct layout *layout, const char *user, struct err *ret_err);

/* Creates what is missing and sets owners and modes. 0, or -errno. */
int layout_create(const struct layout *layout, struct err *ret_err);

/* `directory`/`name`; cut when too long, which layout_init makes impossible for names of ours. */
const char *layout_path(const char *directory, const char *name, char ret_path[LAYOUT_PATH_SIZE]);
