#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/service/service.h"
#include "server/util/limits.h"

/* One copy on its way to the client. */
struct backup_stream {
    struct backup *backup;
    int fd; /* of the file under way, or -1 */
    uint64_t at;
    uint64_t end;
    uint64_t files;
    uint64_t bytes;
    bool done;
};

static struct status backup_open(struct rpc_call *call, const void *request, void **ret_state)
{
    struct backup_stream *stream = calloc(1, sizeof(*stream));
    struct err err = {0};

    (void)request;
    if (!stream)
        abort();
    stream->fd = -1;
    int r = backup_begin(service_of(call)->backups, &stream->backup, &err);

    if (r == 0) {
        *ret_state = stream;
        return STATUS_OK_VALUE;
    }
    free(stream);
    if (r != -EBUSY)
        return status_unavailable("BACKUP_FAILED", "%s", err.message);
    struct status status = status_error(STATUS_RESOURCE_EXHAUSTED, "BACKUP_RUNNING",
                                        "%s: wait for its end, then try again", err.message);

    status.retryable = true;
    return status;
}

static enum rpc_pull fail(struct status *ret_status, int error)
{
    *ret_status = status_error(STATUS_ABORTED, "BACKUP_DISTURBED",
                               "a file cannot be read: %s; begin again", strerror(error));
    ret_status->retryable = true;
    return RPC_PULL_END;
}

static enum rpc_pull next_file(struct backup_stream *stream, struct arena *arena,
                               Crownest__V1__BackupResponse *message, struct status *ret_status)
{
    struct backup_file file;
    int r = backup_next(stream->backup, &file);

    if (r < 0)
        return fail(ret_status, -r);
    if (r == 0) {
        message->event_case = CROWNEST__V1__BACKUP_RESPONSE__EVENT_DONE;
        message->done = arena_alloc(arena, sizeof(*message->done));
        crownest__v1__backup_done__init(message->done);
        message->done->files = stream->files;
        message->done->size_bytes = stream->bytes;
        stream->done = true;
        return RPC_PULL_MESSAGE;
    }
    stream->fd = file.fd;
    stream->at = 0;
    stream->end = file.size;
    stream->files++;
    stream->bytes += file.size;
    message->event_case = CROWNEST__V1__BACKUP_RESPONSE__EVENT_FILE;
    message->file = arena_alloc(arena, sizeof(*message->file));
    crownest__v1__backup_file__init(message->file);
    message->file->path = arena_strdup(arena, file.path);
    message->file->size_bytes = file.size;
    return RPC_PULL_MESSAGE;
}

static enum rpc_pull next_data(struct backup_stream *stream, struct arena *arena,
                               Crownest__V1__BackupResponse *message, struct status *ret_status)
{
    uint64_t left = stream->end - stream->at;
    size_t want = left < LIMIT_STREAM_CHUNK ? (size_t)left : LIMIT_STREAM_CHUNK;
    uint8_t *data = arena_alloc(arena, want);
    ssize_t got = pread(stream->fd, data, want, (off_t)stream->at);

    /* Logs are cut where a frame could not be written whole. */
    if (got <= 0)
        return fail(ret_status, got < 0 ? errno : ENODATA);
    stream->at += (uint64_t)got;
    message->event_case = CROWNEST__V1__BACKUP_RESPONSE__EVENT_DATA;
    message->data = (ProtobufCBinaryData){.data = data, .len = (size_t)got};
    return RPC_PULL_MESSAGE;
}

static enum rpc_pull backup_pull(struct rpc_call *call, void *state, void *response,
                                 struct status *ret_status)
{
    struct backup_stream *stream = state;

    *ret_status = STATUS_OK_VALUE;
    if (stream->done)
        return RPC_PULL_END;
    if (stream->fd >= 0 && stream->at < stream->end)
        return next_data(stream, rpc_call_arena(call), response, ret_status);
    if (stream->fd >= 0)
        (void)close(stream->fd);
    stream->fd = -1;
    return next_file(stream, rpc_call_arena(call), response, ret_status);
}

static void backup_close(void *state)
{
    struct backup_stream *stream = state;

    if (stream->fd >= 0)
        (void)close(stream->fd);
    backup_end(stream->backup);
    free(stream);
}

const struct rpc_server_stream_ops service_admin_backup = {
    .open = backup_open, .pull = backup_pull, .close = backup_close};
