#include "server/backup/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/util/cleanup.h"
#include "server/util/container_of.h"
#include "server/util/workers.h"

#define COPY "backup"

/* Of the data directory, what is not linked: the database is copied by its checkpoint. */
static const char *const left_out[] = {COPY, "ballast", "db", "blobs/tmp"};

struct backups {
    struct store *store;
    char *data;
    struct workers *workers;
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t removed;
    bool busy;     /* there is one */
    bool removing; /* and it was ended */
};

struct backup {
    struct backups *owner;
    char path[PATH_MAX];
    FTS *walk;
    struct job remove;
};

static void cleanup_fts_fn(FTS **walk)
{
    if (*walk)
        (void)fts_close(*walk);
}

#define cleanup_fts __attribute__((cleanup(cleanup_fts_fn)))

static FTS *walk(const char *path)
{
    char *paths[] = {(char *)(uintptr_t)path, NULL};

    return fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
}

/* Whatever it is, and if it is there. */
static int remove_tree(const char *path)
{
    cleanup_fts FTS *tree = walk(path);
    FTSENT *entry;

    if (!tree)
        return -errno;
    while ((entry = fts_read(tree))) {
        if (entry->fts_info == FTS_D)
            continue;
        if (remove(entry->fts_path) < 0 && errno != ENOENT)
            return -errno;
    }
    return errno ? -errno : 0;
}

int backups_new(struct store *store, const char *data, struct backups **ret_backups,
                struct err *err)
{
    char path[PATH_MAX];

    if (snprintf(path, sizeof(path), "%s/" COPY, data) >= (int)sizeof(path))
        return err_set(err, ENAMETOOLONG, "the path of the data directory is too long");
    int r = remove_tree(path);

    if (r < 0)
        return err_set(err, -r, "%s cannot be removed: %s", path, strerror(-r));
    struct backups *backups = calloc(1, sizeof(*backups));

    if (!backups || !(backups->data = strdup(data)))
        abort();
    backups->store = store;
    (void)pthread_mutex_init(&backups->mutex, NULL);
    (void)pthread_cond_init(&backups->removed, NULL);
    backups->workers = workers_new("backup", 1, 1);
    *ret_backups = backups;
    return 0;
}

void backups_free(struct backups *backups)
{
    if (!backups)
        return;
    workers_free(backups->workers);
    (void)pthread_cond_destroy(&backups->removed);
    (void)pthread_mutex_destroy(&backups->mutex);
    free(backups->data);
    free(backups);
}

static bool is_left_out(const char *name)
{
    for (size_t i = 0; i < sizeof(left_out) / sizeof(left_out[0]); i++) {
        if (strcmp(name, left_out[i]) == 0)
            return true;
    }
    return false;
}

/* Removed meanwhile, or linked before: fine. */
static int link_one(const FTSENT *entry, const char *to, struct err *err)
{
    int r = 0;

    if (entry->fts_info == FTS_D)
        r = mkdir(to, 0700);
    else if (entry->fts_info == FTS_F)
        r = link(entry->fts_path, to);
    if (r == 0 || errno == EEXIST || errno == ENOENT)
        return 0;
    return err_set(err, errno, "%.100s cannot be copied: %s", entry->fts_path, strerror(errno));
}

static int link_all(const struct backup *backup, struct err *err)
{
    const char *data = backup->owner->data;
    cleanup_fts FTS *tree = walk(data);
    char to[PATH_MAX];
    FTSENT *entry;
    int r = 0;

    while (tree && r == 0 && (entry = fts_read(tree))) {
        const char *name = entry->fts_path + strlen(data);

        if (entry->fts_level == FTS_ROOTLEVEL)
            continue;
        name += strspn(name, "/");
        if (is_left_out(name))
            (void)fts_set(tree, entry, FTS_SKIP);
        else if (snprintf(to, sizeof(to), "%s/%s", backup->path, name) >= (int)sizeof(to))
            r = err_set(err, ENAMETOOLONG, "%.100s cannot be copied", entry->fts_path);
        else
            r = link_one(entry, to, err);
    }
    if (r == 0 && (!tree || errno))
        r = err_set(err, errno, "%.100s cannot be read: %s", data, strerror(errno));
    return r;
}

static int make_copy(struct backup *backup, struct err *err)
{
    char path[PATH_MAX];

    if (mkdir(backup->path, 0700) < 0)
        return err_set(err, errno, "%.100s cannot be made: %s", backup->path, strerror(errno));
    int r = link_all(backup, err);

    if (r == 0 && snprintf(path, sizeof(path), "%s/db", backup->path) >= (int)sizeof(path))
        r = err_set(err, ENAMETOOLONG, "the path of the data directory is too long");
    if (r == 0)
        r = store_checkpoint(backup->owner->store, path, err);
    if (r == 0)
        r = link_all(backup, err);
    if (r == 0) {
        backup->walk = walk(backup->path);
        if (!backup->walk)
            r = err_set(err, errno, "the copy cannot be read: %s", strerror(errno));
    }
    return r;
}

static bool take_turn(struct backups *backups)
{
    lock_scope(&backups->mutex);
    while (backups->removing)
        (void)pthread_cond_wait(&backups->removed, &backups->mutex);
    bool free = !backups->busy;

    backups->busy = true;
    return free;
}

static void remove_run(struct job *job)
{
    struct backup *backup = container_of(job, struct backup, remove);
    struct backups *backups = backup->owner;

    (void)remove_tree(backup->path);
    free(backup);
    lock_scope(&backups->mutex);
    backups->busy = false;
    backups->removing = false;
    (void)pthread_cond_broadcast(&backups->removed);
}

void backup_end(struct backup *backup)
{
    struct backups *backups = backup->owner;

    if (backup->walk)
        (void)fts_close(backup->walk);
    (void)pthread_mutex_lock(&backups->mutex);
    backups->removing = true;
    (void)pthread_mutex_unlock(&backups->mutex);
    backup->remove.run = remove_run;
    workers_submit(backups->workers, &backup->remove);
}

int backup_begin(struct backups *backups, struct backup **ret_backup, struct err *err)
{
    if (!take_turn(backups))
        return err_set(err, EBUSY, "another backup is being made");
    struct backup *backup = calloc(1, sizeof(*backup));

    if (!backup)
        abort();
    backup->owner = backups;
    (void)snprintf(backup->path, sizeof(backup->path), "%s/" COPY, backups->data);
    int r = make_copy(backup, err);

    if (r < 0) {
        backup_end(backup);
        return r;
    }
    *ret_backup = backup;
    return 0;
}

int backup_next(struct backup *backup, struct backup_file *ret_file)
{
    FTSENT *entry;
    struct stat file;

    do {
        entry = fts_read(backup->walk);
        if (!entry)
            return errno ? -errno : 0;
        if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR || entry->fts_info == FTS_NS)
            return -entry->fts_errno;
    } while (entry->fts_info != FTS_F);
    cleanup_fd int fd = open(entry->fts_path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &file) < 0)
        return -errno;
    *ret_file = (struct backup_file){.path = entry->fts_path + strlen(backup->path) + 1,
                                     .fd = take_fd(&fd),
                                     .size = (uint64_t)file.st_size};
    return 1;
}
