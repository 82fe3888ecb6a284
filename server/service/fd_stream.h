/* Streams the bytes of an open file as messages of at most LIMIT_STREAM_CHUNK. */
#pragma once

#include <stdint.h>

#include "server/rpc/rpc.h"

struct fd_stream;

/*
 * Takes the descriptor. Streams from offset to the size that the file has now, so that one that
 * grows has an end; OUT_OF_RANGE OFFSET_BEYOND_END.
 */
struct status fd_stream_new(int fd, uint64_t offset, struct fd_stream **ret_stream);

/* ret_data lives in the call's arena; an empty file gives one empty message. */
enum rpc_pull fd_stream_pull(struct fd_stream *stream, struct arena *arena,
                             ProtobufCBinaryData *ret_data, uint64_t *ret_offset,
                             struct status *ret_status);
void fd_stream_free(void *stream);
