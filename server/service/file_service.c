#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "server/service/fd_stream.h"
#include "server/service/service.h"
#include "server/util/limits.h"
#include "server/util/path.h"
#include "server/util/prototime.h"
#include "server/util/secret.h"
#include "server/util/utf8.h"

#define UPLOAD_ID_MAX 64

/* What a file operation inside the sandbox failed with. */
static struct status file_failed(int error, const char *field)
{
    struct status status;

    switch (-error) {
    case ENOENT:
    case ENOTDIR:
        status =
            status_error(STATUS_NOT_FOUND, "FILE_NOT_FOUND", "there is no such file or directory");
        break;
    case EISDIR:
    case EINVAL:
    case ENXIO:
        status = status_error(STATUS_FAILED_PRECONDITION, "FILE_NOT_REGULAR",
                              "it is not a regular file");
        break;
    case EACCES:
    case EPERM:
    case EROFS:
        status = status_error(STATUS_PERMISSION_DENIED, "FILE_PERMISSION",
                              "the sandbox's user may not do that");
        break;
    case EEXIST:
        status = status_error(STATUS_ALREADY_EXISTS, "FILE_EXISTS",
                              "there is something of this name already");
        break;
    case ENOTEMPTY:
        status = status_error(STATUS_FAILED_PRECONDITION, "DIRECTORY_NOT_EMPTY",
                              "the directory is not empty; say `recursive` to remove all of it");
        break;
    case ENOSPC:
    case EDQUOT:
        status = status_error(STATUS_RESOURCE_EXHAUSTED, "SANDBOX_DISK_FULL",
                              "the sandbox's writable layer is full");
        break;
    case ELOOP:
    case ENAMETOOLONG:
        status = status_error(STATUS_INVALID_ARGUMENT, "PATH_INVALID",
                              "the path has too many symlinks or too long a name");
        break;
    case ERANGE:
        status = status_error(STATUS_OUT_OF_RANGE, "UPLOAD_OFFSET",
                              "not so many bytes of this upload are there; GetUpload tells");
        break;
    case ECONNRESET:
    case EPIPE:
        status = status_error(STATUS_FAILED_PRECONDITION, "SANDBOX_NOT_RUNNING",
                              "the sandbox has ended");
        break;
    default:
        status = status_unsure("FILE_FAILED", "the sandbox could not do it: %s", strerror(-error));
    }
    return status_at(status, field);
}

static struct status find_sandbox(struct rpc_call *call, const char *sandbox_id,
                                  struct sandbox **ret_sandbox)
{
    return sandboxes_running(service_of(call)->sandboxes, rpc_call_caller(call)->project_id,
                             sandbox_id, ret_sandbox);
}

/* Read */

static struct status read_open(struct rpc_call *call, const void *request, void **ret_state)
{
    const Crownest__V1__ReadFileRequest *asked = request;
    struct sandbox *sandbox;
    struct fd_stream *stream;
    uint64_t size;
    int fd;
    struct status status = path_check(asked->path, "path", "PATH_INVALID");

    if (status_is_ok(&status))
        status = find_sandbox(call, asked->sandbox_id, &sandbox);
    if (!status_is_ok(&status))
        return status;
    int r = nest_read(sandbox_nest(sandbox), asked->path, 0, &fd, &size);

    sandbox_unref(sandbox);
    if (r < 0)
        return file_failed(r, "path");
    status = fd_stream_new(fd, asked->offset, &stream);
    if (status_is_ok(&status))
        *ret_state = stream;
    return status;
}

static enum rpc_pull read_pull(struct rpc_call *call, void *state, void *response,
                               struct status *ret_status)
{
    Crownest__V1__ReadFileResponse *message = response;

    return fd_stream_pull(state, rpc_call_arena(call), &message->data, &message->offset,
                          ret_status);
}

const struct rpc_server_stream_ops service_file_read = {
    .open = read_open, .pull = read_pull, .close = fd_stream_free};

/* Write */

struct write_stream {
    struct nest_upload *upload; /* NULL until the first message */
    int error;                  /* the upload broke: `finish` says why */
    uint64_t size;              /* offset, and what came */
    bool bounded;
    uint64_t total; /* bounded: what it must have in the end */
};

/* Which one of the client's. UPLOAD_ID_INVALID. */
static struct status upload_name(const char *upload_id, const char *field, uint64_t *ret_name)
{
    uint8_t hash[SECRET_HASH_SIZE];
    size_t size = strlen(upload_id);

    if (size > UPLOAD_ID_MAX ||
        strspn(upload_id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") !=
            size)
        return status_invalid(field, "UPLOAD_ID_INVALID",
                              "an upload_id has 1 to %d characters of [A-Za-z0-9_-]",
                              UPLOAD_ID_MAX);
    secret_hash(upload_id, size, hash);
    memcpy(ret_name, hash, sizeof(*ret_name));
    /* 0 is none. */
    *ret_name |= 1;
    return STATUS_OK_VALUE;
}

static struct status write_stream_open(struct rpc_call *call, void **ret_state)
{
    (void)call;
    struct write_stream *stream = calloc(1, sizeof(*stream));

    if (!stream)
        abort();
    *ret_state = stream;
    return STATUS_OK_VALUE;
}

static struct status write_begin(struct rpc_call *call, struct write_stream *stream,
                                 const Crownest__V1__WriteFileOpen *open)
{
    struct sandbox *sandbox;
    struct nest_upload_options options = {.path = open->path,
                                          .mode = open->mode ? open->mode : 0644,
                                          .flags = open->make_parents ? NEST_MAKE_PARENTS : 0,
                                          .offset = open->offset};
    struct status status = path_check(open->path, "open.path", "PATH_INVALID");

    if (status_is_ok(&status) && open->upload_id[0])
        status = upload_name(open->upload_id, "open.upload_id", &options.name);
    if (status_is_ok(&status) && open->offset > 0 && !open->upload_id[0])
        status = status_invalid("open.upload_id", "UPLOAD_ID_INVALID",
                                "a write that goes on at an offset needs its upload_id");

    if (status_is_ok(&status) && (open->mode & ~0777U))
        status =
            status_invalid("open.mode", "MODE_INVALID", "mode is permission bits, 0777 at most");
    if (!status_is_ok(&status))
        return status;
    status = find_sandbox(call, open->sandbox_id, &sandbox);
    if (!status_is_ok(&status))
        return status_at(status, "open.sandbox_id");
    stream->size = open->offset;
    stream->bounded =
        open->_total_bytes_case == CROWNEST__V1__WRITE_FILE_OPEN___TOTAL_BYTES_TOTAL_BYTES;
    stream->total = stream->bounded ? open->total_bytes : 0;
    int r = nest_upload_begin(sandbox_nest(sandbox), &options, &stream->upload);

    sandbox_unref(sandbox);
    return r < 0 ? file_failed(r, "open.path") : STATUS_OK_VALUE;
}

static struct status write_message(struct rpc_call *call, void *state, const void *request)
{
    struct write_stream *stream = state;
    const Crownest__V1__WriteFileRequest *message = request;
    bool opens = message->part_case == CROWNEST__V1__WRITE_FILE_REQUEST__PART_OPEN;

    if (opens == (stream->upload != NULL))
        return status_invalid("open", "WRITE_ORDER",
                              "the first message of a write holds `open`, and no other does");
    if (opens)
        return write_begin(call, stream, message->open);
    if (message->part_case != CROWNEST__V1__WRITE_FILE_REQUEST__PART_DATA || stream->error < 0)
        return STATUS_OK_VALUE;
    stream->size += message->data.len;
    stream->error =
        nest_upload_data(stream->upload, bytes_of(message->data.data, message->data.len));
    return STATUS_OK_VALUE;
}

static struct status write_finish(struct rpc_call *call, void *state, void *response)
{
    struct write_stream *stream = state;
    Crownest__V1__WriteFileResponse *answer = response;

    (void)call;
    if (!stream->upload)
        return status_invalid("open", "WRITE_ORDER", "the write held no message");
    if (stream->bounded && stream->error == 0 && stream->size != stream->total)
        return status_error(STATUS_ABORTED, "UPLOAD_INCOMPLETE",
                            "%llu bytes came, and %llu were announced",
                            (unsigned long long)stream->size, (unsigned long long)stream->total);
    struct nest_upload *upload = stream->upload;

    stream->upload = NULL;
    int r = nest_upload_finish(upload, &answer->size_bytes);

    if (r == 0 && stream->error < 0)
        r = stream->error;
    return r < 0 ? file_failed(r, "open.path") : STATUS_OK_VALUE;
}

static void write_close(void *state)
{
    struct write_stream *stream = state;

    if (stream->upload)
        nest_upload_abort(stream->upload);
    free(stream);
}

const struct rpc_client_stream_ops service_file_write = {.open = write_stream_open,
                                                         .message = write_message,
                                                         .finish = write_finish,
                                                         .close = write_close};

/* List */

struct listing {
    struct arena *arena;
    Crownest__V1__FileEntry **entries;
    size_t count;
    bool truncated;
};

static Crownest__V1__FileType type_of(uint32_t type)
{
    switch (type & S_IFMT) {
    case S_IFREG:
        return CROWNEST__V1__FILE_TYPE__FILE_TYPE_REGULAR;
    case S_IFDIR:
        return CROWNEST__V1__FILE_TYPE__FILE_TYPE_DIRECTORY;
    case S_IFLNK:
        return CROWNEST__V1__FILE_TYPE__FILE_TYPE_SYMLINK;
    default:
        return CROWNEST__V1__FILE_TYPE__FILE_TYPE_OTHER;
    }
}

static Crownest__V1__FileEntry *file_entry(const struct nest_entry *entry, struct bytes name,
                                           struct arena *arena)
{
    Crownest__V1__FileEntry *file = arena_alloc(arena, sizeof(*file));
    uint64_t seconds = entry->mtime_sec > 0 ? (uint64_t)entry->mtime_sec : 0;

    crownest__v1__file_entry__init(file);
    file->name = utf8_lossy(arena, name);
    if (!utf8_valid(name))
        file->raw_name = (ProtobufCBinaryData){.data = arena_memdup(arena, name.data, name.size),
                                               .len = name.size};
    file->type = type_of(entry->type);
    file->size_bytes = S_ISREG(entry->type) ? entry->size_bytes : 0;
    file->mode = entry->mode & 07777U;
    file->modify_time = prototime_from_us(arena, (seconds & 0xffffffffffULL) * 1000000 +
                                                     entry->mtime_nsec % 1000000000U / 1000);
    return file;
}

static bool list_visit(void *arg, const struct nest_entry *entry, struct bytes name)
{
    struct listing *listing = arg;

    /* No directory holds such a name, and many of them would be too much for one answer. */
    if (name.size > NAME_MAX)
        return true;
    if (listing->count == LIMIT_FILES_LISTED) {
        listing->truncated = true;
        return false;
    }
    listing->entries[listing->count++] = file_entry(entry, name, listing->arena);
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(Crownest__V1__FileEntry *const *)a)->name,
                  (*(Crownest__V1__FileEntry *const *)b)->name);
}

struct status service_file_list(struct rpc_call *call,
                                const Crownest__V1__ListFilesRequest *request,
                                Crownest__V1__ListFilesResponse *response)
{
    struct arena *arena = rpc_call_arena(call);
    const char *path = request->path[0] ? request->path : PATH_WORKSPACE;
    struct listing listing = {.arena = arena};
    struct sandbox *sandbox;
    struct status status = path_check(path, "path", "PATH_INVALID");

    if (status_is_ok(&status))
        status = find_sandbox(call, request->sandbox_id, &sandbox);
    if (!status_is_ok(&status))
        return status;
    listing.entries = arena_alloc(arena, LIMIT_FILES_LISTED * sizeof(*listing.entries));
    int r = nest_list(sandbox_nest(sandbox), path, list_visit, &listing);

    sandbox_unref(sandbox);
    if (r == -ENOTDIR)
        return status_at(status_error(STATUS_FAILED_PRECONDITION, "FILE_NOT_A_DIRECTORY",
                                      "it is not a directory"),
                         "path");
    if (r < 0)
        return file_failed(r, "path");
    qsort(listing.entries, listing.count, sizeof(*listing.entries), by_name);
    response->entries = listing.entries;
    response->n_entries = listing.count;
    response->truncated = listing.truncated;
    return STATUS_OK_VALUE;
}

/* Stat */

struct description {
    struct arena *arena;
    Crownest__V1__FileEntry *entry;
};

static bool stat_visit(void *arg, const struct nest_entry *entry, struct bytes name)
{
    struct description *description = arg;

    description->entry = file_entry(entry, name, description->arena);
    return false;
}

struct status service_file_stat(struct rpc_call *call, const Crownest__V1__StatFileRequest *request,
                                Crownest__V1__StatFileResponse *response)
{
    struct description description = {.arena = rpc_call_arena(call)};
    struct sandbox *sandbox;
    struct status status = path_check(request->path, "path", "PATH_INVALID");

    if (status_is_ok(&status))
        status = find_sandbox(call, request->sandbox_id, &sandbox);
    if (!status_is_ok(&status))
        return status;
    int r = nest_stat(sandbox_nest(sandbox), request->path, stat_visit, &description);

    sandbox_unref(sandbox);
    if (r < 0 || !description.entry)
        return file_failed(r < 0 ? r : -EPROTO, "path");
    response->entry = description.entry;
    return STATUS_OK_VALUE;
}

/* Where what came of an upload is: beside the file to be. */
static char *upload_path(struct arena *arena, const char *path, uint64_t name)
{
    char file[64];
    const char *slash = strrchr(path, '/');

    (void)snprintf(file, sizeof(file), NEST_UPLOAD_NAME, (unsigned long long)name);
    return arena_printf(arena, "%.*s%s", slash ? (int)(slash - path + 1) : 0, path, file);
}

struct status service_file_get_upload(struct rpc_call *call,
                                      const Crownest__V1__GetUploadRequest *request,
                                      Crownest__V1__GetUploadResponse *response)
{
    struct description description = {.arena = rpc_call_arena(call)};
    struct sandbox *sandbox;
    uint64_t name;
    struct status status = path_check(request->path, "path", "PATH_INVALID");

    if (status_is_ok(&status) && !request->upload_id[0])
        status = status_invalid("upload_id", "UPLOAD_ID_INVALID", "name the upload");
    if (status_is_ok(&status))
        status = upload_name(request->upload_id, "upload_id", &name);
    if (status_is_ok(&status))
        status = find_sandbox(call, request->sandbox_id, &sandbox);
    if (!status_is_ok(&status))
        return status;
    int r = nest_stat(sandbox_nest(sandbox), upload_path(rpc_call_arena(call), request->path, name),
                      stat_visit, &description);

    sandbox_unref(sandbox);
    if (r == -ENOENT)
        return status_at(status_error(STATUS_NOT_FOUND, "UPLOAD_NOT_FOUND",
                                      "nothing of this upload is there; begin at 0"),
                         "upload_id");
    if (r < 0 || !description.entry)
        return file_failed(r < 0 ? r : -EPROTO, "path");
    response->offset = description.entry->size_bytes;
    return STATUS_OK_VALUE;
}

/* Changes */

/* A change of the tree, done once however often it is asked for. */
struct change {
    const char *request_id;
    const char *sandbox_id;
    const void *request;
    int (*run)(struct nest *nest, const void *request, uint64_t token);
};

/* Does it, unless it was done before. ret_error is what the sandbox answered. */
static struct status change_once(struct rpc_call *call, const struct change *change,
                                 const ProtobufCMessage *response, int *ret_error)
{
    struct service *service = service_of(call);
    struct sandbox *sandbox;
    struct answer answer;
    struct status status = answer_begin(service->answers, call, change->request_id, &answer);

    *ret_error = 0;
    if (!status_is_ok(&status))
        return status;
    if (!answer.kept) {
        status = find_sandbox(call, change->sandbox_id, &sandbox);
        if (status_is_ok(&status)) {
            *ret_error = change->run(sandbox_nest(sandbox), change->request, answer_token(&answer));
            sandbox_unref(sandbox);
        }
        if (status_is_ok(&status) && *ret_error == 0)
            status = answer_write(&answer, service->store, response, NULL);
    }
    answer_end(&answer);
    return status;
}

static int run_make_dir(struct nest *nest, const void *request, uint64_t token)
{
    const Crownest__V1__MakeDirRequest *asked = request;

    return nest_make_dir(nest, asked->path, asked->make_parents ? NEST_MAKE_PARENTS : 0, token);
}

struct status service_file_make_dir(struct rpc_call *call,
                                    const Crownest__V1__MakeDirRequest *request,
                                    Crownest__V1__MakeDirResponse *response)
{
    struct change change = {request->request_id, request->sandbox_id, request, run_make_dir};
    struct status status = path_check(request->path, "path", "PATH_INVALID");
    int error = 0;

    if (status_is_ok(&status))
        status = change_once(call, &change, &response->base, &error);
    return error < 0 ? file_failed(error, "path") : status;
}

static int run_move(struct nest *nest, const void *request, uint64_t token)
{
    const Crownest__V1__MoveFileRequest *asked = request;

    return nest_move(nest, asked->from_path, asked->to_path, asked->replace ? NEST_REPLACE : 0,
                     token);
}

struct status service_file_move(struct rpc_call *call, const Crownest__V1__MoveFileRequest *request,
                                Crownest__V1__MoveFileResponse *response)
{
    struct change change = {request->request_id, request->sandbox_id, request, run_move};
    struct status status = path_check(request->from_path, "from_path", "PATH_INVALID");
    int error = 0;

    if (status_is_ok(&status))
        status = path_check(request->to_path, "to_path", "PATH_INVALID");
    if (status_is_ok(&status))
        status = change_once(call, &change, &response->base, &error);
    if (error < 0)
        return file_failed(error,
                           error == -EEXIST || error == -ENOTEMPTY ? "to_path" : "from_path");
    return status;
}

static int run_remove(struct nest *nest, const void *request, uint64_t token)
{
    const Crownest__V1__RemoveFileRequest *asked = request;

    return nest_remove(nest, asked->path, asked->recursive ? NEST_RECURSIVE : 0, token);
}

struct status service_file_remove(struct rpc_call *call,
                                  const Crownest__V1__RemoveFileRequest *request,
                                  Crownest__V1__RemoveFileResponse *response)
{
    struct change change = {request->request_id, request->sandbox_id, request, run_remove};
    struct status status = path_check(request->path, "path", "PATH_INVALID");
    int error = 0;

    if (status_is_ok(&status))
        status = change_once(call, &change, &response->base, &error);
    return error < 0 ? file_failed(error, "path") : status;
}
