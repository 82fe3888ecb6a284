/*
 * The log of one command: an append-only file of frames, each with the offset of its first byte,
 * the time and the stream. One writer appends; any number of readers follow by offset, each with a
 * cursor of its own and no buffer in the log. Bytes are in the file before a reader sees them.
 *
 * Offsets count payload bytes of both streams in the order of their frames, so that the logical
 * size of a log is the sum of its payloads. Frames carry a checksum; a reader that meets a damaged
 * one gets -EUCLEAN.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/util/bytes.h"
#include "server/util/err.h"

enum log_stream { LOG_STDOUT = 1, LOG_STDERR = 2, LOG_GAP = 3 };

/* Writer and shared state of a log that is still written; refcounted, thread-safe. */
struct log;

/* directory: where logs live, made if missing; name: an id. */
int log_create(const char *directory, const char *name, struct log **ret_log, struct err *err);
/*
 * Opens a log that was written before, by a process that is gone or not, for appending and reading.
 * A frame that was cut off at the end is removed.
 */
int log_open(const char *directory, const char *name, struct log **ret_log, struct err *err);
struct log *log_ref(struct log *log);
void log_unref(struct log *log);

/*
 * Appends payload of at most LIMIT_LOG_FRAME bytes and wakes the followers. Beyond LIMIT_LOG_BYTES
 * nothing more is kept: one gap frame says so when the log is ended. Returns 0, -ENOSPC or -EIO.
 */
int log_append(struct log *log, enum log_stream stream, uint64_t time_us, struct bytes payload);
/* No append follows: syncs the file and wakes the followers. */
int log_end(struct log *log);
/* Payload bytes so far, those not kept included. */
uint64_t log_size(struct log *log);
bool log_ended(struct log *log);

/* Called from any thread, under no lock of the log, whenever a log has grown or ended. */
typedef void log_wake_fn(void *arg);

/* A cursor. Owned by one thread at a time. */
struct log_reader;

/*
 * offset: where to begin, inside a frame or at the end. wake (may be NULL) is called after each
 * growth until the reader is freed. Returns 0, or -ERANGE when the offset lies beyond the end of
 * the log.
 */
int log_reader_new(struct log *log, uint64_t offset, log_wake_fn *wake, void *arg,
                   struct log_reader **ret_reader);
/* After it returns, wake is not running and not called again. */
void log_reader_free(struct log_reader *reader);

struct log_frame {
    enum log_stream stream;
    uint64_t offset; /* of the first byte of payload */
    uint64_t time_us;
    struct bytes payload; /* the reader's memory, until its next call; LOG_GAP: empty */
    uint64_t gap_end;     /* LOG_GAP: the first offset after the gap */
};

/* Returns 1 with a frame, 0 at the end of what is there, -EUCLEAN or -EIO. */
int log_reader_next(struct log_reader *reader, struct log_frame *ret_frame);

/* Removes a log's file. */
int log_remove(const char *directory, const char *name);
