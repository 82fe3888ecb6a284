/* What the files of this folder share about a log; nobody else includes it, but its test. */
#pragma once

#include <limits.h>
#include <pthread.h>
#include <sys/uio.h>

#include "server/log/archive.h"
#include "server/log/frame.h"
#include "server/log/log.h"

/* The files of a log: the plain one or its archive; for a moment both, and the plain one counts. */
struct log_path {
    char directory[PATH_MAX];
    char file[PATH_MAX];
    char archive[PATH_MAX];
    char unfinished[PATH_MAX]; /* an archive that is being written */
};

/* Where a frame begins, by offset and in the file. One for each LOG_INDEX_STEP bytes of file. */
struct log_mark {
    uint64_t offset;
    uint64_t position;
};

#define LOG_INDEX_STEP (256U << 10)

/*
 * append_lock is held during file operations and taken first; lock only guards the fields, so that
 * a disk that stalls the writer does not stall those who ask. follow_lock is taken alone.
 */
struct log {
    unsigned references; /* atomic */
    int fd;
    char *directory;         /* of the file itself */
    struct archive *archive; /* NULL: the file is a plain one */
    pthread_mutex_t append_lock;

    pthread_mutex_t lock;
    uint64_t position;           /* where the next frame lies */
    uint64_t offset;             /* after the last byte that is in the file, or in a written gap */
    uint64_t size;               /* offset, and what was not kept since */
    uint64_t limit;              /* of position */
    int error;                   /* the first failure to write but a full disk, final */
    enum log_gap_reason missing; /* why size is more than offset */
    int refusal;                 /* why nothing can be appended, ever: ended, damaged, a view */
    int read_error;              /* what readers get at the end: damage found while opening */
    bool full;                   /* nothing more is kept */
    bool ended;
    bool finished;          /* the end is in the file, and not announced yet */
    struct log_mark *marks; /* ascending */
    size_t mark_count;
    size_t mark_capacity;

    pthread_mutex_t follow_lock;
    pthread_cond_t follow_idle; /* a wake that somebody waits for has returned */
    struct log_reader *followers;
};

struct log_reader {
    struct log *log;
    uint64_t offset;   /* of the next byte to deliver */
    uint64_t position; /* of the next frame in the file */
    int error;
    enum log_stream only; /* 0: all */
    struct {
        uint8_t *data;
        uint64_t position; /* in the file */
        size_t size;
    } window;
    struct archive_cache cache;

    /* Under the log's follow_lock. */
    log_wake_fn *wake;
    void *wake_arg;
    unsigned waking; /* calls of wake under way */
    bool caught_up;  /* has seen the end since the last wake */
    struct log_reader *previous;
    struct log_reader *next;
};

/* Notes a frame that begins at position; holds the lock, or is alone with the log. */
void log_mark(struct log *log, uint64_t offset, uint64_t position);
/*
 * Writes extent and checksum of the frame at the log's position, whose payload of this size lies in
 * the file already, and counts it in. Returns 0 or -errno.
 */
int log_close_frame(struct log *log, struct frame *frame, size_t size);
/* Calls the followers that had seen the end, or all. Holds no lock. */
void log_wake_followers(struct log *log, bool all);
int log_path_make(const char *directory, const char *name, struct log_path *ret_path);
int log_path_make_directories(const char *directory, const struct log_path *path);
int log_sync_directory(const char *path);
/* Writes everything or fails: 0, -ENOSPC, -EIO. Changes the parts. */
int log_write_at(int fd, struct iovec *parts, int count, uint64_t position);
/* Reads up to size bytes; fewer only at the end of the file. Returns the count or -EIO. */
int64_t log_pread(int fd, void *data, size_t size, uint64_t position);
/*
 * Finds the end and the marks of a file that was written before. cut: whether to remove what was
 * cut off. Returns 0 or -errno; damage is no error, it is noted in the log.
 */
int log_scan(struct log *log, bool cut);
/* log_create with another limit than LIMIT_LOG_BYTES. */
int log_create_limited(const char *directory, const char *name, uint64_t limit,
                       struct log **ret_log, struct err *err);
