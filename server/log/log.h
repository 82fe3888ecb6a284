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

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/util/bytes.h"
#include "server/util/err.h"

enum log_stream { LOG_STDOUT = 1, LOG_STDERR = 2, LOG_GAP = 3 };

/* Why bytes are missing. */
enum log_gap_reason {
    LOG_GAP_LIMIT,     /* the log has all that it may have */
    LOG_GAP_DISK_FULL, /* there was no room; later bytes may be there again */
    LOG_GAP_IO_ERROR,  /* the disk failed; nothing later is there */
};

/* Writer and shared state of a log that is still written; refcounted, thread-safe. */
struct log;

/* directory: where logs live, made if missing; name: an id. */
int log_create(const char *directory, const char *name, struct log **ret_log, struct err *err);
/*
 * Opens a log that was written before, for appending and reading. A frame that was cut off at the
 * end is removed. A damaged one is found by the reader that comes to it, and nothing can be
 * appended behind it (-EUCLEAN). While another struct log has the file open for appending, in this
 * process or not, what is opened is a view of the moment: it does not grow, and to append to it or
 * end it is -EBUSY. Returns 0, -ENOENT, -EINVAL for a bad name, or -EUCLEAN for a file that is no
 * log.
 */
int log_open(const char *directory, const char *name, struct log **ret_log, struct err *err);
struct log *log_ref(struct log *log);
void log_unref(struct log *log);

/*
 * Moves what is in a pipe into the log, at most LIMIT_LOG_FRAME bytes, and wakes the followers. The
 * kernel moves them in one step: a process that is killed at any moment loses none of them and
 * leaves none behind that is in the log already; whoever opens the log then finds them in it.
 *
 * Never waits for the pipe, whatever its flags are, and trusts nothing of it. Beyond
 * LIMIT_LOG_BYTES of file (frame headers count, or single bytes would cost forty) nothing more is
 * kept, only counted, so that the writer goes on: a gap says so. So it is while the disk is full,
 * until there is room again; and for good after another failure to write.
 *
 * Returns how many bytes left the pipe, kept or not; 0 at its end; -EAGAIN when nothing is there
 * now; -EPIPE and the like when nothing can be appended to this log, ever.
 */
int64_t log_splice(struct log *log, enum log_stream stream, uint64_t time_us, int pipe_fd);
/*
 * Appends payload of at most LIMIT_LOG_FRAME bytes, in memory, and wakes the followers. Returns 0,
 * also for what is not kept for the limit's sake; -ENOSPC or -EIO when it could not be written, and
 * is counted like what log_splice does not keep; -EPIPE after the end, -EINVAL for what cannot be a
 * frame.
 */
int log_append(struct log *log, enum log_stream stream, uint64_t time_us, struct bytes payload);
/*
 * No append follows: marks the end in the file and syncs it. Readers do not hear of the end before
 * log_end, so that what they look at then can be written in between. Returns 0, or the first
 * failure of any append or of the end itself. Finishing twice is fine; after -ENOSPC it is needed,
 * or the file does not remember the end, nor the gap before it.
 */
int log_finish(struct log *log);
/*
 * Finishes the log if need be, and wakes the followers. The log has ended even if finishing failed;
 * returns what log_finish does. Ending twice is fine.
 */
int log_end(struct log *log);
/* Payload bytes so far, those not kept included. */
uint64_t log_size(struct log *log);
/* Whether log_end was called, ever: the file remembers it. */
bool log_ended(struct log *log);

/*
 * Called from any thread, under no lock of the log. Must not free a reader of that log, and should
 * only note that there is something to do.
 */
typedef void log_wake_fn(void *arg);

/* A cursor. Owned by one thread at a time. */
struct log_reader;

/*
 * offset: where to begin, inside a frame or at the end. Returns 0, or -ERANGE when the offset lies
 * beyond the end of the log. The reader keeps the log.
 *
 * wake (may be NULL) is called when the log ends, and when it grows while the reader is new or has
 * returned 0 since the last call: a reader that still has something to read is not woken again and
 * again. It may already run before this function returns.
 */
int log_reader_new(struct log *log, uint64_t offset, log_wake_fn *wake, void *arg,
                   struct log_reader **ret_reader);
/* From here on it delivers frames of this stream only, and gaps. */
void log_reader_choose(struct log_reader *reader, enum log_stream stream);
/* After it returns, wake is not running and not called again. */
void log_reader_free(struct log_reader *reader);

struct log_frame {
    enum log_stream stream;
    uint64_t offset; /* of the first byte of payload */
    uint64_t time_us;
    struct bytes payload; /* the reader's memory, until its next call; LOG_GAP: empty */
    uint64_t gap_end;     /* LOG_GAP: the first offset after the gap */
    enum log_gap_reason gap_reason;
};

/*
 * Returns 1 with a frame, 0 at the end of what is there, -EUCLEAN or -EIO; an error is final. To
 * know the end from a pause, ask log_ended before: if it was true, 0 means that nothing follows.
 *
 * -EAGAIN, and only when a stream was chosen: much of the other one was passed over, and the next
 * call goes on from there. So no call takes long, however large the log is.
 */
int log_reader_next(struct log_reader *reader, struct log_frame *ret_frame);

#define LOG_TAIL_BYTES (4U << 20) /* how far back log_tail_lines looks */
#define LOG_TAIL_LINES 10000

/*
 * Where the last lines of what is there now begin, LOG_TAIL_LINES of them at most; stream: of this
 * one only, 0 of both. What comes after the last newline is a line, too. Returns 0 or an error as
 * log_reader_next.
 */
int log_tail_lines(struct log *log, unsigned lines, enum log_stream stream, uint64_t *ret_offset);

/*
 * Turns the file of a log that nobody writes to any more (it is ended, if need be) into an archive:
 * a zstd file that is read like the other, and from anywhere for the price of a block. Before it
 * takes the file's place it is unpacked and compared. Those who have the log open go on. One that
 * is an archive, or too small to gain by it, is left.
 *
 * Takes long: not on a thread that others wait for, and not two of one log at a time. Whenever it
 * is killed, the log is there, and the next call ends what was begun. Returns 0; -ENOENT; -EUCLEAN
 * for a damaged log, which is left; -EBUSY when it was not ended and another struct log can;
 * -ECANCELED soon after *stop was set; -ENOSPC also when the disk is nearly full; others.
 */
int log_compress(const char *directory, const char *name, const atomic_bool *stop);

/*
 * Removes a log's files, in whatever form; those who have it open can go on. Returns 0, -ENOENT or
 * another errno.
 */
int log_remove(const char *directory, const char *name);
