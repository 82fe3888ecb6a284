#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bindings/c/crownest_admin.h"
#include "server/util/cleanup.h"
#include "server/util/err.h"
#include "tools/cli/connect.h"
#include "tools/cli/layout.h"
#include "tools/cli/manifest.h"
#include "tools/cli/tree.h"

#define PARTIAL ".partial"
#define ROOM_FOR_NAMES 256

/* A backup on its way into a directory. */
struct backup {
    int root; /* of the files */
    FILE *manifest;
    struct manifest_sum sum;
    struct tree_file file; /* the one that is being written */
    struct manifest_entry entry;
    bool done;
};

/* The file under way, if there is one, has all that it was promised. */
static int finish_file(struct backup *backup, struct err *err)
{
    if (backup->file.fd < 0)
        return 0;
    if (backup->file.size != backup->entry.size)
        return err_set(err, EPROTO, "%s came with %" PRIu64 " bytes instead of %" PRIu64,
                       backup->entry.path, backup->file.size, backup->entry.size);
    int result = tree_close(&backup->file, backup->entry.digest);
    if (result)
        return err_set(err, -result, "%s: %s", backup->entry.path, strerror(-result));
    manifest_add(backup->manifest, &backup->entry, &backup->sum);
    return 0;
}

static int begin_file(struct backup *backup, const Crownest__V1__BackupFile *file, struct err *err)
{
    int result = finish_file(backup, err);

    if (result)
        return result;
    if (!tree_path_valid(file->path))
        return err_set(err, EPROTO, "the service sent a file without a proper name");
    (void)snprintf(backup->entry.path, sizeof(backup->entry.path), "%s", file->path);
    backup->entry.size = file->size_bytes;
    result = tree_create(backup->root, file->path, &backup->file);
    return result ? err_set(err, -result, "%s: %s", file->path, strerror(-result)) : 0;
}

static int add_data(struct backup *backup, const ProtobufCBinaryData *data, struct err *err)
{
    if (backup->file.fd < 0)
        return err_set(err, EPROTO, "the service sent data of no file");
    int result = tree_write(&backup->file, data->data, data->len);
    return result ? err_set(err, -result, "%s: %s", backup->entry.path, strerror(-result)) : 0;
}

static int end_files(struct backup *backup, const Crownest__V1__BackupDone *done, struct err *err)
{
    int result = finish_file(backup, err);

    if (result)
        return result;
    if (done->files != backup->sum.files || done->size_bytes != backup->sum.bytes)
        return err_set(err, EPROTO, "the service has sent less than it says");
    backup->done = true;
    return 0;
}

static int add_message(struct backup *backup, const Crownest__V1__BackupResponse *message,
                       struct err *err)
{
    switch (message->event_case) {
    case CROWNEST__V1__BACKUP_RESPONSE__EVENT_FILE:
        return begin_file(backup, message->file, err);
    case CROWNEST__V1__BACKUP_RESPONSE__EVENT_DATA:
        return add_data(backup, &message->data, err);
    case CROWNEST__V1__BACKUP_RESPONSE__EVENT_DONE:
        return end_files(backup, message->done, err);
    default:
        return err_set(err, EPROTO, "the service sent what this version does not know");
    }
}

/* Returns an exit code, and prints what went wrong. */
static int receive(const struct command *command, struct crownest_client *client,
                   struct backup *backup)
{
    Crownest__V1__BackupRequest request = CROWNEST__V1__BACKUP_REQUEST__INIT;
    Crownest__V1__BackupResponse *message;
    struct crownest_admin_backup_reader *reader;
    struct crownest_error error;
    struct err err = {0};
    int result;

    if (crownest_admin_backup_open(client, &request, NULL, &reader, &error))
        return connect_failed(command, client, &error);
    while ((result = crownest_admin_backup_next(reader, &message, &error)) > 0) {
        int added = add_message(backup, message, &err);

        crownest__v1__backup_response__free_unpacked(message, NULL);
        if (added)
            break;
    }
    if (result > 0)
        crownest_admin_backup_cancel(reader);
    crownest_admin_backup_free(reader);
    if (result < 0)
        return connect_failed(command, client, &error);
    if (!result && !backup->done)
        (void)err_set(&err, EPROTO, "the service ended before it was done");
    if (err.code)
        fprintf(stderr, "crownest %s: %s\n", command->name, err.message);
    return err.code ? EXIT_FAILED : EXIT_OK;
}

static int open_files(struct backup *backup, const char *partial, struct err *err)
{
    char path[LAYOUT_PATH_SIZE];

    (void)layout_path(partial, MANIFEST_FILES, path);
    if (mkdir(path, 0700))
        return err_set(err, errno, "%s: %s", path, strerror(errno));
    backup->root = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (backup->root < 0)
        return err_set(err, errno, "%s: %s", path, strerror(errno));
    (void)layout_path(partial, MANIFEST_NAME, path);
    backup->manifest = fopen(path, "wxe");
    if (!backup->manifest)
        return err_set(err, errno, "%s: %s", path, strerror(errno));
    manifest_begin(backup->manifest);
    return 0;
}

/* On the disk before it has its name. */
static int publish(struct backup *backup, const char *partial, const char *directory,
                   struct err *err)
{
    manifest_end(backup->manifest, &backup->sum);
    bool failed = fflush(backup->manifest) || ferror(backup->manifest) || syncfs(backup->root);

    if (failed || rename(partial, directory))
        return err_set(err, errno ? errno : EIO, "%s: %s", directory, strerror(errno));
    return 0;
}

static int fail(const struct command *command, const struct err *err)
{
    fprintf(stderr, "crownest %s: %s\n", command->name, err->message);
    return EXIT_FAILED;
}

/* Into a directory beside the one that was asked for, which gets its name when it is whole. */
static int back_up(const struct command *command, struct crownest_client *client,
                   const char *directory, const char *partial)
{
    struct backup backup = {.root = -1, .file = TREE_FILE_NONE};
    struct err err = {0};
    int code = EXIT_FAILED;

    if (open_files(&backup, partial, &err))
        code = fail(command, &err);
    else
        code = receive(command, client, &backup);
    if (!code && publish(&backup, partial, directory, &err))
        code = fail(command, &err);
    (void)tree_close(&backup.file, NULL);
    if (backup.manifest)
        (void)fclose(backup.manifest);
    if (backup.root >= 0)
        (void)close(backup.root);
    if (!code)
        printf("%" PRIu64 " files, %" PRIu64 " bytes\n", backup.sum.files, backup.sum.bytes);
    return code;
}

static int backup_to(const struct command *command, const struct connect_flags *connect,
                     const char *operand)
{
    char directory[LAYOUT_PATH_SIZE - ROOM_FOR_NAMES];
    char partial[LAYOUT_PATH_SIZE];
    size_t len = strlen(operand);

    while (len > 1 && operand[len - 1] == '/')
        len--;
    if (snprintf(directory, sizeof(directory), "%.*s", (int)len, operand) >= (int)sizeof(directory))
        return flags_mistake(command, "the path is too long");
    (void)snprintf(partial, sizeof(partial), "%s" PARTIAL, directory);
    int empty = tree_check_empty(directory);
    if (empty || mkdir(partial, 0700)) {
        fprintf(stderr, "crownest %s: %s: %s\n", command->name, empty ? directory : partial,
                strerror(empty ? -empty : errno));
        return EXIT_FAILED;
    }
    struct crownest_client *client = connect_client(command, connect);
    int code = client ? back_up(command, client, directory, partial) : EXIT_FAILED;
    crownest_client_free(client);
    if (code)
        tree_remove(partial);
    return code;
}

static int backup_run(const struct command *command, int argc, char **argv)
{
    struct connect_flags values = {0};
    const struct flag flags[] = {CONNECT_FLAGS(&values)};
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc - first != 1)
        return flags_mistake(command, "needs the directory to make");
    return backup_to(command, &values, argv[first]);
}

const struct command command_backup = {
    .name = "backup",
    .operands = "DIR",
    .summary = "copy everything that the service keeps, while it runs, into a new directory",
    .manual =
        "Records, keys, output of commands and artifacts, as they were at one moment; templates\n"
        "are not among them, nor are the processes and files in sandboxes. DIR must be missing or\n"
        "empty; it gets its name when the copy is whole and on the disk. `crownest restore` makes\n"
        "a data directory of it. For operators, on the service's own host.\n",
    .run = backup_run,
};
