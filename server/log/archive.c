#include "server/log/archive.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <zstd.h>

#include "server/log/le.h"
#include "server/log/private.h"
#include "server/util/buf.h"
#include "server/util/cleanup.h"

#define INDEX_MAGIC 0x5844494748434e43ULL /* "CNCHGIDX" */
#define FIXED 32                          /* the fields before the sizes of the blocks */
#define FOOTER 16
#define SKIPPABLE 8 /* zstd's own: magic and size */
#define INDEX_MAX (16U << 20)
#define MARK_SIZE 16

static void append32(struct buf *index, uint32_t value)
{
    uint8_t bytes[sizeof(value)];

    le_put32(bytes, value);
    buf_append(index, bytes, sizeof(bytes));
}

static void append64(struct buf *index, uint64_t value)
{
    uint8_t bytes[sizeof(value)];

    le_put64(bytes, value);
    buf_append(index, bytes, sizeof(bytes));
}

static size_t block_size(const struct archive *archive, size_t block)
{
    uint64_t begin = (uint64_t)block * ARCHIVE_BLOCK;
    uint64_t rest = archive->file_size - begin;

    return rest < ARCHIVE_BLOCK ? rest : ARCHIVE_BLOCK;
}

static size_t blocks_of(uint64_t file_size)
{
    return (file_size + ARCHIVE_BLOCK - 1) / ARCHIVE_BLOCK;
}

/* --- reading ------------------------------------------------------------------------------- */

static bool parse_blocks(struct archive *archive, const uint8_t *at, uint64_t data_size)
{
    uint64_t position = 0;

    archive->blocks = calloc(archive->block_count + 1, sizeof(*archive->blocks));
    if (!archive->blocks)
        abort();
    for (size_t i = 0; i < archive->block_count; i++) {
        uint32_t size = le_get32(at + 4 * i);

        if (size > ZSTD_COMPRESSBOUND(ARCHIVE_BLOCK))
            return false;
        position += size;
        archive->blocks[i + 1] = position;
    }
    return position == data_size;
}

static bool parse_marks(struct archive *archive, const uint8_t *at)
{
    struct log_mark last = {.position = FILE_HEADER};

    archive->marks = calloc(archive->mark_count + 1, sizeof(*archive->marks));
    if (!archive->marks)
        abort();
    for (size_t i = 0; i < archive->mark_count; i++) {
        struct log_mark mark = {.offset = le_get64(at + MARK_SIZE * i),
                                .position = le_get64(at + MARK_SIZE * i + 8)};

        if (mark.offset < last.offset || mark.position < last.position ||
            mark.offset > archive->log_size || mark.position >= archive->file_size)
            return false;
        archive->marks[i] = mark;
        last = mark;
    }
    return true;
}

/* data_size: of the blocks, all that is before the index. */
static bool parse_index(struct archive *archive, const uint8_t *at, size_t size, uint64_t data_size)
{
    if (size < FIXED)
        return false;
    archive->file_size = le_get64(at);
    archive->log_size = le_get64(at + 8);
    archive->block_count = le_get32(at + 20);
    archive->mark_count = le_get32(at + 24);
    if (le_get32(at + 16) != ARCHIVE_BLOCK || archive->file_size < FILE_HEADER ||
        archive->file_size > INT64_MAX || archive->block_count != blocks_of(archive->file_size) ||
        size != FIXED + 4 * archive->block_count + MARK_SIZE * archive->mark_count)
        return false;
    at += FIXED;
    return parse_blocks(archive, at, data_size) &&
           parse_marks(archive, at + 4 * archive->block_count);
}

/* The index and the footer behind it; the caller frees them. 0, -EUCLEAN, -EIO. */
static int read_index(int fd, uint8_t **ret_index, size_t *ret_size, uint64_t *ret_data_size)
{
    uint8_t footer[FOOTER];
    struct stat status;

    if (fstat(fd, &status) < 0)
        return -EIO;
    uint64_t file_size = (uint64_t)status.st_size;

    if (file_size < FOOTER + FIXED + SKIPPABLE)
        return -EUCLEAN;
    if (log_pread(fd, footer, FOOTER, file_size - FOOTER) != FOOTER)
        return -EIO;
    uint32_t size = le_get32(footer + 8);

    if (le_get64(footer) != INDEX_MAGIC || size > INDEX_MAX ||
        file_size < (uint64_t)size + FOOTER + SKIPPABLE)
        return -EUCLEAN;
    uint64_t data_size = file_size - FOOTER - size - SKIPPABLE;
    cleanup_free uint8_t *index = malloc(SKIPPABLE + size);

    if (!index)
        abort();
    if (log_pread(fd, index, SKIPPABLE + size, data_size) != SKIPPABLE + (int64_t)size)
        return -EIO;
    if (le_get32(index) != ZSTD_MAGIC_SKIPPABLE_START || le_get32(index + 4) != size + FOOTER ||
        frame_crc(bytes_of(index + SKIPPABLE, size)) != le_get32(footer + 12))
        return -EUCLEAN;
    *ret_index = index;
    index = NULL;
    *ret_size = size;
    *ret_data_size = data_size;
    return 0;
}

int archive_open(int fd, struct archive **ret_archive)
{
    cleanup_free uint8_t *index = NULL;
    uint64_t data_size;
    size_t size;
    int result = read_index(fd, &index, &size, &data_size);

    if (result < 0)
        return result;
    struct archive *archive = calloc(1, sizeof(*archive));

    if (!archive)
        abort();
    if (!parse_index(archive, index + SKIPPABLE, size, data_size)) {
        archive_free(archive);
        return -EUCLEAN;
    }
    *ret_archive = archive;
    return 0;
}

void archive_free(struct archive *archive)
{
    if (!archive)
        return;
    free(archive->blocks);
    free(archive->marks);
    free(archive);
}

/* Has the block in the cache. Returns 0, -EUCLEAN, -EIO. */
static int read_block(const struct archive *archive, int fd, struct archive_cache *cache,
                      size_t block)
{
    size_t packed_size = archive->blocks[block + 1] - archive->blocks[block];
    size_t size = block_size(archive, block);

    if (cache->size > 0 && cache->block == block)
        return 0;
    cleanup_free uint8_t *packed = malloc(packed_size ? packed_size : 1);

    if (!cache->data)
        cache->data = malloc(ARCHIVE_BLOCK);
    if (!packed || !cache->data)
        abort();
    cache->size = 0;
    int64_t got = log_pread(fd, packed, packed_size, archive->blocks[block]);

    if (got < 0)
        return (int)got;
    /* The frame has a checksum of its own. */
    if ((size_t)got != packed_size ||
        ZSTD_decompress(cache->data, ARCHIVE_BLOCK, packed, packed_size) != size)
        return -EUCLEAN;
    cache->block = block;
    cache->size = size;
    return 0;
}

int64_t archive_pread(const struct archive *archive, int fd, struct archive_cache *cache,
                      void *data, size_t size, uint64_t position)
{
    size_t total = 0;

    while (total < size && position + total < archive->file_size) {
        size_t block = (position + total) / ARCHIVE_BLOCK;
        size_t begin = (position + total) % ARCHIVE_BLOCK;
        int result = read_block(archive, fd, cache, block);

        if (result < 0)
            return result;
        size_t part = cache->size - begin;

        if (part > size - total)
            part = size - total;
        memcpy((uint8_t *)data + total, cache->data + begin, part);
        total += part;
    }
    return (int64_t)total;
}

void archive_cache_done(struct archive_cache *cache)
{
    free(cache->data);
    *cache = (struct archive_cache){0};
}

/* --- writing ------------------------------------------------------------------------------- */

/* The buffers of a writer. */
struct packer {
    ZSTD_CCtx *context;
    uint8_t *plain;
    uint8_t *packed;
};

static void packer_done(struct packer *packer)
{
    (void)ZSTD_freeCCtx(packer->context);
    free(packer->plain);
    free(packer->packed);
}

static void packer_init(struct packer *packer)
{
    packer->context = ZSTD_createCCtx();
    packer->plain = malloc(ARCHIVE_BLOCK);
    packer->packed = malloc(ZSTD_COMPRESSBOUND(ARCHIVE_BLOCK));
    if (!packer->context || !packer->plain || !packer->packed)
        abort();
    (void)ZSTD_CCtx_setParameter(packer->context, ZSTD_c_checksumFlag, 1);
}

/* Writes a block behind those before it. Returns 0 or -errno. */
static int write_block(struct archive *archive, struct packer *packer, size_t block, int from,
                       int to)
{
    size_t size = block_size(archive, block);
    int64_t got = log_pread(from, packer->plain, size, (uint64_t)block * ARCHIVE_BLOCK);

    if (got != (int64_t)size)
        return -EIO;
    size_t packed = ZSTD_compress2(packer->context, packer->packed,
                                   ZSTD_COMPRESSBOUND(ARCHIVE_BLOCK), packer->plain, size);

    if (ZSTD_isError(packed))
        return -ENOMEM;
    archive->blocks[block + 1] = archive->blocks[block] + packed;
    return log_write_at(to, &(struct iovec){packer->packed, packed}, 1, archive->blocks[block]);
}

static int write_index(const struct archive *archive, int to)
{
    cleanup_buf struct buf index = {0};
    size_t size = FIXED + 4 * archive->block_count + MARK_SIZE * archive->mark_count;

    append32(&index, ZSTD_MAGIC_SKIPPABLE_START);
    append32(&index, (uint32_t)size + FOOTER);
    append64(&index, archive->file_size);
    append64(&index, archive->log_size);
    append32(&index, ARCHIVE_BLOCK);
    append32(&index, (uint32_t)archive->block_count);
    append32(&index, (uint32_t)archive->mark_count);
    append32(&index, 0);
    for (size_t i = 0; i < archive->block_count; i++)
        append32(&index, (uint32_t)(archive->blocks[i + 1] - archive->blocks[i]));
    for (size_t i = 0; i < archive->mark_count; i++) {
        append64(&index, archive->marks[i].offset);
        append64(&index, archive->marks[i].position);
    }
    uint32_t crc = frame_crc(bytes_of(index.data + SKIPPABLE, size));

    append64(&index, INDEX_MAGIC);
    append32(&index, (uint32_t)size);
    append32(&index, crc);
    return log_write_at(to, &(struct iovec){index.data, index.size}, 1,
                        archive->blocks[archive->block_count]);
}

int archive_write(struct archive *archive, int from, int to, const atomic_bool *stop)
{
    struct packer packer;
    int result = 0;

    archive->block_count = blocks_of(archive->file_size);
    archive->blocks = calloc(archive->block_count + 1, sizeof(*archive->blocks));
    if (!archive->blocks)
        abort();
    packer_init(&packer);
    for (size_t i = 0; result == 0 && i < archive->block_count; i++)
        result = *stop ? -ECANCELED : write_block(archive, &packer, i, from, to);
    packer_done(&packer);
    return result < 0 ? result : write_index(archive, to);
}
