/* Making the archive of an ended log, and putting it in the place of its file. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "server/log/private.h"
#include "server/util/cleanup.h"

/* What has no more bytes takes one block of the disk in either form. */
#define TOO_SMALL 4096

/* What is left of the disk for those who cannot wait. */
#define SPARE (256ULL << 20)

/* Whether the archive, read as it will be, has every byte of the file. Returns 0 or -errno. */
static int compare(int file, int unfinished, const atomic_bool *stop)
{
    cleanup_free uint8_t *expected = malloc(ARCHIVE_BLOCK);
    cleanup_free uint8_t *unpacked = malloc(ARCHIVE_BLOCK);
    struct archive_cache cache = {0};
    struct archive *archive;

    if (!expected || !unpacked)
        abort();
    int result = archive_open(unfinished, &archive);

    if (result < 0)
        return result;
    for (uint64_t at = 0; result == 0 && at < archive->file_size; at += ARCHIVE_BLOCK) {
        int64_t got = archive_pread(archive, unfinished, &cache, unpacked, ARCHIVE_BLOCK, at);

        if (got <= 0 || log_pread(file, expected, (size_t)got, at) != got ||
            memcmp(expected, unpacked, (size_t)got) != 0)
            result = -EIO;
        else if (*stop)
            result = -ECANCELED;
    }
    archive_cache_done(&cache);
    archive_free(archive);
    return result;
}

static int write_archive(struct log *log, uint64_t file_size, int unfinished,
                         const atomic_bool *stop)
{
    struct archive archive = {.file_size = file_size,
                              .log_size = log->size,
                              .marks = log->marks,
                              .mark_count = log->mark_count};
    int result = archive_write(&archive, log->fd, unfinished, stop);

    free(archive.blocks);
    if (result == 0)
        result = compare(log->fd, unfinished, stop);
    if (result == 0 && fsync(unfinished) < 0)
        result = -errno;
    return result;
}

/* The archive is whole and on disk. Each step leaves a log that can be opened. */
static int put_in_place(const struct log_path *path)
{
    if (rename(path->unfinished, path->archive) < 0)
        return -errno;
    int result = log_sync_directory(path->directory);

    if (result < 0)
        return result;
    return unlink(path->file) < 0 ? -errno : log_sync_directory(path->directory);
}

/* For a second copy, which may come out no smaller. */
static bool has_room(int fd, uint64_t size)
{
    struct statvfs disk;

    return fstatvfs(fd, &disk) == 0 && (uint64_t)disk.f_bavail * disk.f_frsize >= size + SPARE;
}

static int compress(const struct log_path *path, struct log *log, const atomic_bool *stop)
{
    struct stat status;

    if (fstat(log->fd, &status) < 0)
        return -EIO;
    if (status.st_size <= TOO_SMALL)
        return 0;
    if (!has_room(log->fd, (uint64_t)status.st_size))
        return -ENOSPC;
    cleanup_fd int unfinished =
        open(path->unfinished, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (unfinished < 0)
        return -errno;
    int result = write_archive(log, (uint64_t)status.st_size, unfinished, stop);

    if (result == 0)
        return put_in_place(path);
    (void)unlink(path->unfinished);
    return result;
}

int log_compress(const char *directory, const char *name, const atomic_bool *stop)
{
    struct log_path path;
    struct log *log;
    int result = log_path_make(directory, name, &path);

    if (result == 0)
        result = log_open(directory, name, &log, NULL);
    if (result < 0)
        return result;
    if (log->read_error)
        result = log->read_error;
    else if (!log->ended)
        result = log_end(log);
    if (result == 0 && !log->archive)
        result = compress(&path, log, stop);
    log_unref(log);
    return result;
}
