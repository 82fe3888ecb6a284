#include "server/service/fd_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/util/limits.h"

struct fd_stream {
    int fd;
    uint64_t at;
    uint64_t end;
    bool sent;
};

struct status fd_stream_new(int fd, uint64_t offset, struct fd_stream **ret_stream)
{
    struct stat st;

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        (void)close(fd);
        return status_error(STATUS_FAILED_PRECONDITION, "FILE_NOT_REGULAR",
                            "this is not a regular file");
    }
    if (offset > (uint64_t)st.st_size) {
        (void)close(fd);
        return status_at(status_error(STATUS_OUT_OF_RANGE, "OFFSET_BEYOND_END", "it has %lld bytes",
                                      (long long)st.st_size),
                         "offset");
    }
    struct fd_stream *stream = calloc(1, sizeof(*stream));

    if (!stream)
        abort();
    *stream = (struct fd_stream){.fd = fd, .at = offset, .end = (uint64_t)st.st_size};
    *ret_stream = stream;
    return STATUS_OK_VALUE;
}

enum rpc_pull fd_stream_pull(struct fd_stream *stream, struct arena *arena,
                             ProtobufCBinaryData *ret_data, uint64_t *ret_offset,
                             struct status *ret_status)
{
    uint64_t left = stream->end - stream->at;
    size_t want = left < LIMIT_STREAM_CHUNK ? (size_t)left : LIMIT_STREAM_CHUNK;

    *ret_status = STATUS_OK_VALUE;
    if (want == 0 && stream->sent)
        return RPC_PULL_END;
    uint8_t *data = arena_alloc(arena, want ? want : 1);
    ssize_t got = pread(stream->fd, data, want, (off_t)stream->at);

    if (got < 0) {
        *ret_status =
            status_error(STATUS_DATA_LOSS, "READ_FAILED", "it cannot be read: %s", strerror(errno));
        return RPC_PULL_END;
    }
    /* It was made shorter under the reader. */
    if (got == 0 && want > 0)
        return RPC_PULL_END;
    *ret_data = (ProtobufCBinaryData){.data = data, .len = (size_t)got};
    *ret_offset = stream->at;
    stream->at += (uint64_t)got;
    stream->sent = true;
    return RPC_PULL_MESSAGE;
}

void fd_stream_free(void *state)
{
    struct fd_stream *stream = state;

    (void)close(stream->fd);
    free(stream);
}
