/*
 * Whatever bytes a log's file has: opening, reading, going on and compressing end, with offsets
 * that follow each other. The first byte says which form of file the others are.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libdeflate.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/log/private.h"
#include "server/util/cleanup.h"

#define NAME "fuzzed"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* Makes checksums right, so that more is tried than these. */
static void repair_archive(uint8_t *data, size_t size)
{
    uint32_t index_size;

    if (size < 16)
        return;
    memcpy(&index_size, data + size - 8, sizeof(index_size));
    if (index_size > size - 16)
        return;
    uint32_t crc = libdeflate_crc32(0, data + size - 16 - index_size, index_size);

    memcpy(data + size - 4, &crc, sizeof(crc));
}

static void repair(uint8_t *data, size_t size)
{
    static const uint8_t magic[] = {'C', 'F', 'R', 'M'};

    for (size_t at = 0; at + FRAME_HEADER <= size; at++) {
        if (memcmp(data + at, magic, sizeof(magic)) != 0)
            continue;
        uint32_t crc = libdeflate_crc32(0, data + at + 8, FRAME_HEADER - 8);

        memcpy(data + at + 4, &crc, sizeof(crc));
    }
}

static void place(const char *directory, const uint8_t *data, size_t size)
{
    struct log_path path;
    cleanup_free uint8_t *bytes = malloc(size + 1);

    require(bytes && log_path_make(directory, NAME, &path) == 0);
    require(log_path_make_directories(directory, &path) == 0);
    memcpy(bytes, data, size);
    bool archive = size > 0 && bytes[0] == 'a';

    if (archive)
        repair_archive(bytes + 1, size - 1);
    else
        repair(bytes, size);
    cleanup_fd int fd =
        open(archive ? path.archive : path.file, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    require(fd >= 0 && (size < 2 || write(fd, bytes + 1, size - 1) == (ssize_t)size - 1));
}

/* Returns the reader's last answer. */
static int read_all(struct log *log, enum log_stream only)
{
    struct log_reader *reader;
    struct log_frame frame;
    uint64_t offset = 0;
    int result;

    require(log_reader_new(log, 0, NULL, NULL, &reader) == 0);
    if (only)
        log_reader_choose(reader, only);
    while ((result = log_reader_next(reader, &frame)) == 1 || result == -EAGAIN) {
        if (result == -EAGAIN)
            continue;
        require(only ? frame.offset >= offset : frame.offset == offset);
        offset = frame.stream == LOG_GAP ? frame.gap_end : frame.offset + frame.payload.size;
    }
    require(result == 0 || result == -EUCLEAN);
    log_reader_free(reader);
    return result;
}

static void try(const char *directory)
{
    static const atomic_bool never;
    struct log *log = NULL;
    uint64_t offset;

    if (log_open(directory, NAME, &log, NULL) < 0)
        return;
    int before = read_all(log, 0);

    (void)read_all(log, LOG_STDERR);
    if (log_tail_lines(log, 2, 0, &offset) == 0)
        require(offset <= log_size(log));
    bool goes_on = log_append(log, LOG_STDOUT, 1, bytes_of("x", 1)) == 0;

    require(read_all(log, 0) == before);
    require(log_end(log) == 0 || !goes_on);
    log_unref(log);
    log = NULL;
    require(log_open(directory, NAME, &log, NULL) == 0);
    require(read_all(log, 0) == before || !goes_on);
    log_unref(log);
    (void)log_compress(directory, NAME, &never);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char directory[] = "/tmp/log_fuzz.XXXXXX";

    require(mkdtemp(directory));
    place(directory, data, size);
    try(directory);
    require(nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
    return 0;
}
