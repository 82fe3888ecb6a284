#include "server/artifact/blob.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <uthash.h>

#include "server/util/cleanup.h"
#include "server/util/failpoint.h"
#include "server/util/id.h"

#define PREFIX "sha256:"
#define HEX_DIGITS 64
#define COPY_BYTES (128U << 10)
#define NAME_CHARACTERS 26

/* The digest's directory and, in it, its file. */
struct place {
    char directory[3];
    char file[HEX_DIGITS + 1];
};

/* A blob that is about to be recorded. */
struct pin {
    char hex[HEX_DIGITS + 1];
    unsigned count;
    UT_hash_handle hh;
};

struct blob_store {
    int unfinished; /* directory of what is being copied */
    int finished;   /* directory of the digests' directories */
    pthread_mutex_t mutex;
    struct pin *pins; /* under the mutex, as is each removal */
};

static int open_directory(int at, const char *path)
{
    if (mkdirat(at, path, 0700) < 0 && errno != EEXIST)
        return -errno;
    int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

static void cleanup_dir_fn(DIR **dir)
{
    if (*dir)
        (void)closedir(*dir);
}

/* Nothing is being copied when a store is opened: all of it is from before a crash. */
static int remove_unfinished(int directory)
{
    int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir __attribute__((cleanup(cleanup_dir_fn))) = fd < 0 ? NULL : fdopendir(fd);

    if (!dir)
        return -errno;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(directory, entry->d_name, 0) < 0)
            return -errno;
    }
    return 0;
}

/*
 * All at once and in advance, because a blob is only safe when its directory's name is: the first
 * to store in a directory would otherwise have to keep the others waiting for that.
 */
static int make_finished(int directory)
{
    for (unsigned i = 0; i < 256; i++) {
        char name[3];

        (void)snprintf(name, sizeof(name), "%02x", i);
        if (mkdirat(directory, name, 0700) < 0 && errno != EEXIST)
            return -errno;
    }
    return fsync(directory) < 0 ? -errno : 0;
}

int blob_store_open(const char *directory, struct blob_store **ret_store, struct err *err)
{
    cleanup_fd int root = open_directory(AT_FDCWD, directory);

    if (root < 0)
        return err_set(err, -root, "cannot open %s: %s", directory, strerror(-root));
    cleanup_fd int unfinished = open_directory(root, "tmp");
    cleanup_fd int finished = open_directory(root, "sha256");
    int result = unfinished < 0 ? unfinished : finished < 0 ? finished : 0;

    if (result == 0)
        result = remove_unfinished(unfinished);
    if (result == 0)
        result = make_finished(finished);
    if (result == 0 && fsync(root) < 0)
        result = -errno;
    if (result < 0)
        return err_set(err, -result, "cannot prepare %s: %s", directory, strerror(-result));
    struct blob_store *store = malloc(sizeof(*store));

    if (!store)
        return err_set(err, ENOMEM, "no memory for the store of blobs");
    store->unfinished = take_fd(&unfinished);
    store->finished = take_fd(&finished);
    store->pins = NULL;
    (void)pthread_mutex_init(&store->mutex, NULL);
    *ret_store = store;
    return 0;
}

void blob_store_close(struct blob_store *store)
{
    struct pin *pin;
    struct pin *next;

    if (!store)
        return;
    HASH_ITER(hh, store->pins, pin, next)
    {
        HASH_DEL(store->pins, pin);
        free(pin);
    }
    (void)pthread_mutex_destroy(&store->mutex);
    (void)close(store->unfinished);
    (void)close(store->finished);
    free(store);
}

static void pin_blob(struct blob_store *store, const char *hex)
{
    struct pin *pin = NULL;

    lock_scope(&store->mutex);
    HASH_FIND_STR(store->pins, hex, pin);
    if (!pin) {
        pin = calloc(1, sizeof(*pin));
        if (!pin)
            abort();
        (void)snprintf(pin->hex, sizeof(pin->hex), "%s", hex);
        HASH_ADD_STR(store->pins, hex, pin);
    }
    pin->count++;
}

static void unpin_blob(struct blob_store *store, const char *hex)
{
    struct pin *pin = NULL;

    lock_scope(&store->mutex);
    HASH_FIND_STR(store->pins, hex, pin);
    if (pin && --pin->count == 0) {
        HASH_DEL(store->pins, pin);
        free(pin);
    }
}

static int write_all(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, data, FAILPOINT_SIZE("artifact.write", size));

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -errno;
        data += written;
        size -= (size_t)written;
    }
    return 0;
}

/* Reads instead of mapping: a mapped file that is cut short ends the process with SIGBUS. */
static int copy(int from, int to, uint64_t limit, EVP_MD_CTX *digest, uint64_t *ret_size)
{
    cleanup_free uint8_t *data = malloc(COPY_BYTES);
    uint64_t size = 0;

    if (!data)
        return -ENOMEM;
    for (;;) {
        ssize_t got = read(from, data, COPY_BYTES);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        size += (uint64_t)got;
        if (size > limit)
            return -EFBIG;
        int result = FAILPOINT_ERROR("artifact.copy");

        if (result == 0)
            result = write_all(to, data, (size_t)got);
        if (result < 0)
            return result;
        if (EVP_DigestUpdate(digest, data, (size_t)got) != 1)
            return -EIO;
    }
    *ret_size = size;
    return fsync(to) < 0 ? -errno : 0;
}

static int copy_and_digest(int from, int to, uint64_t limit, struct place *ret_place,
                           uint64_t *ret_size)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    int result = -ENOMEM;

    if (digest && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1)
        result = copy(from, to, limit, digest, ret_size);
    if (result == 0 && EVP_DigestFinal_ex(digest, hash, NULL) != 1)
        result = -EIO;
    EVP_MD_CTX_free(digest);
    if (result < 0)
        return result;
    for (size_t i = 0; i < HEX_DIGITS / 2; i++)
        (void)snprintf(ret_place->file + 2 * i, 3, "%02x", hash[i]);
    memcpy(ret_place->directory, ret_place->file, 2);
    ret_place->directory[2] = '\0';
    return 0;
}

/*
 * A link instead of a rename, because it leaves alone what is there. The directory is synced in
 * either case: who made the existing name may not have come so far yet.
 */
static int publish(struct blob_store *store, const char *temporary, const struct place *place)
{
    cleanup_fd int directory =
        openat(store->finished, place->directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (directory < 0)
        return -errno;
    if (linkat(store->unfinished, temporary, directory, place->file, 0) < 0 && errno != EEXIST)
        return -errno;
    return fsync(directory) < 0 ? -errno : 0;
}

int blob_put(struct blob_store *store, int from_fd, uint64_t limit,
             char ret_digest[BLOB_DIGEST_SIZE], uint64_t *ret_size, struct err *err)
{
    char temporary[NAME_CHARACTERS + 1];
    struct place place;
    uint64_t size = 0;

    id_random(NAME_CHARACTERS, temporary);
    cleanup_fd int fd =
        openat(store->unfinished, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);

    if (fd < 0)
        return err_set(err, errno, "cannot make a blob: %s", strerror(errno));
    int result = copy_and_digest(from_fd, fd, limit, &place, &size);

    FAILPOINT("artifact.copied");
    if (result == 0) {
        /* Before it has its name: a removal that comes between would otherwise take it away. */
        pin_blob(store, place.file);
        result = publish(store, temporary, &place);
        if (result < 0)
            unpin_blob(store, place.file);
    }
    FAILPOINT("artifact.published");
    (void)unlinkat(store->unfinished, temporary, 0);
    if (result == -EFBIG)
        return err_set(err, EFBIG, "the file is larger than %llu bytes", (unsigned long long)limit);
    if (result < 0)
        return err_set(err, -result, "cannot store a blob: %s", strerror(-result));
    (void)snprintf(ret_digest, BLOB_DIGEST_SIZE, PREFIX "%s", place.file);
    *ret_size = size;
    return 0;
}

/* The 64 digits, or NULL for what is no digest. */
static const char *hex_of(const char *digest)
{
    if (strncmp(digest, PREFIX, strlen(PREFIX)) != 0)
        return NULL;
    const char *hex = digest + strlen(PREFIX);

    if (strlen(hex) != HEX_DIGITS || strspn(hex, "0123456789abcdef") != HEX_DIGITS)
        return NULL;
    return hex;
}

void blob_unpin(struct blob_store *store, const char *digest)
{
    const char *hex = hex_of(digest);

    if (hex)
        unpin_blob(store, hex);
}

bool blob_remove(struct blob_store *store, const char *digest, blob_wanted_fn *wanted, void *arg)
{
    const char *hex = hex_of(digest);
    char path[3 + HEX_DIGITS + 1];
    struct pin *pin = NULL;

    if (!hex)
        return false;
    (void)snprintf(path, sizeof(path), "%.2s/%s", hex, hex);
    lock_scope(&store->mutex);
    HASH_FIND_STR(store->pins, hex, pin);
    if (pin || wanted(arg, digest))
        return false;
    return unlinkat(store->finished, path, 0) == 0 || errno == ENOENT;
}

/* Returns whether to go on. */
static bool visit_directory(const struct blob_store *store, const char *name, blob_visit_fn *visit,
                            void *arg)
{
    int fd = openat(store->finished, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir __attribute__((cleanup(cleanup_dir_fn))) = fd < 0 ? NULL : fdopendir(fd);

    if (!dir)
        return true;
    for (struct dirent *entry; (entry = readdir(dir));) {
        char digest[BLOB_DIGEST_SIZE];

        (void)snprintf(digest, sizeof(digest), PREFIX "%.64s", entry->d_name);
        if (hex_of(digest) && !visit(arg, digest))
            return false;
    }
    return true;
}

void blob_each(struct blob_store *store, blob_visit_fn *visit, void *arg)
{
    for (unsigned i = 0; i < 256; i++) {
        char name[3];

        (void)snprintf(name, sizeof(name), "%02x", i);
        if (!visit_directory(store, name, visit, arg))
            return;
    }
}

int blob_open(struct blob_store *store, const char *digest)
{
    const char *hex = hex_of(digest);
    char path[3 + HEX_DIGITS + 1];

    if (!hex)
        return -EINVAL;
    (void)snprintf(path, sizeof(path), "%.2s/%s", hex, hex);
    int fd = openat(store->finished, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}
