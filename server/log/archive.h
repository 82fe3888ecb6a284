/*
 * A log's file in its compressed form: a zstd frame for each ARCHIVE_BLOCK bytes of the file, then
 * a skippable frame with the index, so that `zstd -d` gives the file back and any part of it is
 * read for the price of a block. All little-endian:
 *
 *   u64 size of the file, u64 size of the log; u32 block size, blocks, marks, 0
 *   u32 size of each block
 *   u64 offset, u64 position of each mark
 *   u64 magic; u32 size of the index up to here, without the magic; u32 CRC-32 of that
 *
 * An archive never changes once it has its name.
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define ARCHIVE_BLOCK (128U << 10)

struct log_mark;

struct archive {
    uint64_t file_size;
    uint64_t log_size;
    size_t block_count;
    uint64_t *blocks; /* where each begins, and where the last one ends */
    size_t mark_count;
    struct log_mark *marks; /* malloc'ed; who takes them sets NULL */
};

/* The block that was read last; all zero at first. */
struct archive_cache {
    uint8_t *data;
    size_t block;
    size_t size;
};

/* Returns 0, -EUCLEAN for what is no archive, -EIO. */
int archive_open(int fd, struct archive **ret_archive);
void archive_free(struct archive *archive);
/* As log_pread, of the file that the archive was made of; also -EUCLEAN. */
int64_t archive_pread(const struct archive *archive, int fd, struct archive_cache *cache,
                      void *data, size_t size, uint64_t position);
void archive_cache_done(struct archive_cache *cache);

/*
 * Writes the archive of a file of archive->file_size bytes; its blocks are filled in, the caller
 * frees them. Returns 0, -EIO, -ENOSPC, or -ECANCELED once *stop is true.
 */
int archive_write(struct archive *archive, int from, int to, const atomic_bool *stop);
