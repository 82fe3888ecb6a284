#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/util/cleanup.h"
#include "tools/cli/flags.h"
#include "tools/cli/layout.h"
#include "tools/cli/manifest.h"
#include "tools/cli/tree.h"

#define COPY_BYTES (128U << 10)
#define PARTIAL "server.partial"

struct restore {
    int from; /* the files of the backup */
    int to;   /* the directory that is being made */
};

static int copy_bytes(int from, struct tree_file *to)
{
    static uint8_t data[COPY_BYTES];
    ssize_t got;

    while ((got = read(from, data, sizeof(data))) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        int result = got < 0 ? -errno : tree_write(to, data, (size_t)got);
        if (result)
            return result;
    }
    return 0;
}

static int copy_one(void *arg, const struct manifest_entry *entry, struct err *ret_err)
{
    const struct restore *restore = arg;
    struct tree_file file = TREE_FILE_NONE;
    char digest[TREE_DIGEST_SIZE] = "";
    cleanup_fd int from = tree_open(restore->from, entry->path);
    int result = from < 0 ? from : tree_create(restore->to, entry->path, &file);

    if (!result)
        result = copy_bytes(from, &file);
    uint64_t size = file.size;
    int closed = tree_close(&file, digest);
    if (!result)
        result = closed;
    if (result)
        return err_set(ret_err, -result, "%s: %s", entry->path, strerror(-result));
    if (size != entry->size || strcmp(digest, entry->digest) != 0)
        return err_set(ret_err, EUCLEAN,
                       "%s is damaged: it is not the file that was backed up; use another backup",
                       entry->path);
    return 0;
}

static int open_directory(const char *path, const char *name, struct err *err)
{
    char file[LAYOUT_PATH_SIZE];
    int fd = open(layout_path(path, name, file), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    return fd < 0 ? err_set(err, errno, "%s: %s", file, strerror(errno)) : fd;
}

/* Every file, compared with what the manifest says of it. */
static int copy_all(const char *backup, const char *partial, struct manifest_sum *ret_sum,
                    struct err *err)
{
    char path[LAYOUT_PATH_SIZE];
    cleanup_fd int from = open_directory(backup, MANIFEST_FILES, err);
    if (from < 0)
        return from;
    cleanup_fd int to = open_directory(partial, "", err);
    if (to < 0)
        return to;
    struct restore restore = {.from = from, .to = to};
    FILE *manifest = fopen(layout_path(backup, MANIFEST_NAME, path), "re");
    if (!manifest)
        return err_set(err, errno, "%s: %s", path, strerror(errno));
    int result = manifest_read(manifest, copy_one, &restore, ret_sum, err);
    (void)fclose(manifest);
    if (!result && syncfs(to))
        result = err_set(err, errno, "%s: %s", partial, strerror(errno));
    return result;
}

/* Where the server's state goes; nothing may be there. */
static int make_partial(const struct layout *layout, char ret_path[LAYOUT_PATH_SIZE],
                        struct err *err)
{
    char server[LAYOUT_PATH_SIZE];
    int empty = tree_check_empty(layout_path(layout->data, "server", server));

    if (empty == -ENOTEMPTY)
        return err_set(err, ENOTEMPTY, "%s is not empty: restore into another place, or move it",
                       server);
    if (empty)
        return err_set(err, -empty, "%s: %s", server, strerror(-empty));
    (void)layout_path(layout->data, PARTIAL, ret_path);
    if ((mkdir(layout->data, 0755) && errno != EEXIST) || mkdir(ret_path, 0700))
        return err_set(err, errno, "%s: %s", ret_path, strerror(errno));
    return 0;
}

/* All or nothing: the directory has its name only when everything in it is as it was. */
static int restore_all(const struct layout *layout, const char *backup,
                       struct manifest_sum *ret_sum, struct err *err)
{
    char partial[LAYOUT_PATH_SIZE];
    char server[LAYOUT_PATH_SIZE];
    int result = make_partial(layout, partial, err);

    if (result)
        return result;
    result = copy_all(backup, partial, ret_sum, err);
    if (!result) {
        result = tree_chown(partial, layout->uid, layout->gid);
        if (!result && rename(partial, layout_path(layout->data, "server", server)))
            result = -errno;
        if (result)
            (void)err_set(err, -result, "%s: %s", partial, strerror(-result));
    }
    if (result)
        tree_remove(partial);
    return result;
}

static int restore_run(const struct command *command, int argc, char **argv)
{
    const char *data = LAYOUT_DEFAULT_DATA;
    const char *user = LAYOUT_DEFAULT_USER;
    const struct flag flags[] = {
        {"data", 0, FLAG_TEXT, &data, "DIR", "as for up (" LAYOUT_DEFAULT_DATA ")", 0},
        {"user", 0, FLAG_TEXT, &user, "USER", "the server's user, if called by root (crownest)", 0},
    };
    struct layout layout = {.uid = geteuid(), .gid = getegid()};
    struct manifest_sum sum;
    struct err err = {0};
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc - first != 1)
        return flags_mistake(command, "needs the directory of one backup");
    if (layout_init(&layout, data, LAYOUT_DEFAULT_RUN, &err) ||
        (!geteuid() && layout_find_user(&layout, user, &err)) ||
        restore_all(&layout, argv[first], &sum, &err)) {
        fprintf(stderr, "crownest %s: %s\n", command->name, err.message);
        return EXIT_FAILED;
    }
    printf("%" PRIu64 " files, %" PRIu64 " bytes\n", sum.files, sum.bytes);
    return EXIT_OK;
}

const struct command command_restore = {
    .name = "restore",
    .operands = "BACKUP",
    .summary = "make a data directory of a backup",
    .manual =
        "BACKUP is what `crownest backup` made. Every file is compared with what it was then, and\n"
        "nothing is left behind when one differs. DIR/server must be missing or empty. The "
        "service\n"
        "must not run on DIR; when it starts, sandboxes that lived at the time of the backup and\n"
        "do not live any more are shown as ended.\n",
    .run = restore_run,
};
