#include "server/webhook/signature.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/util/buf.h"
#include "server/util/cleanup.h"

#define SECRET_PREFIX "cnw_"
#define SECRET_BITS 160

_Static_assert(SECRET_HASH_SIZE == WEBHOOK_KEY_SIZE, "an HMAC is as long as a key");

static int read_key(const char *file, uint8_t ret_key[WEBHOOK_KEY_SIZE], struct err *err)
{
    cleanup_fd int fd = open(file, O_RDONLY | O_CLOEXEC);
    uint8_t data[WEBHOOK_KEY_SIZE + 1];

    if (fd < 0)
        return -errno;
    if (read(fd, data, sizeof(data)) != WEBHOOK_KEY_SIZE)
        return err_set(err, EINVAL, "%s does not hold the %d bytes of a key", file,
                       WEBHOOK_KEY_SIZE);
    memcpy(ret_key, data, WEBHOOK_KEY_SIZE);
    secret_wipe(data, sizeof(data));
    return 0;
}

/* Whole and on disk before it has its name: secrets that were told are worth nothing without it. */
static int write_key(const char *file, const uint8_t key[WEBHOOK_KEY_SIZE])
{
    char next[PATH_MAX];

    if (snprintf(next, sizeof(next), "%s.next", file) >= (int)sizeof(next))
        return -ENAMETOOLONG;
    cleanup_fd int fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0)
        return -errno;
    ssize_t written = write(fd, key, WEBHOOK_KEY_SIZE);

    if (written != WEBHOOK_KEY_SIZE)
        return written < 0 ? -errno : -ENOSPC;
    return fsync(fd) < 0 || rename(next, file) < 0 ? -errno : 0;
}

int webhook_key_open(const char *file, uint8_t ret_key[WEBHOOK_KEY_SIZE], struct err *err)
{
    int r = read_key(file, ret_key, err);

    if (r == -ENOENT) {
        if (RAND_bytes(ret_key, WEBHOOK_KEY_SIZE) != 1)
            abort();
        r = write_key(file, ret_key);
    }
    if (r < 0 && r != -EINVAL)
        (void)err_set(err, -r, "the key of webhooks %s: %s", file, strerror(-r));
    return r;
}

static void hmac(const void *key, size_t key_size, struct bytes data,
                 uint8_t ret_mac[SECRET_HASH_SIZE])
{
    unsigned size = SECRET_HASH_SIZE;

    if (!HMAC(EVP_sha256(), key, (int)key_size, data.data, data.size, ret_mac, &size))
        abort();
}

/* Five bits a character, as ids have them. */
static void append_base32(const uint8_t *bits, unsigned count, char *ret_text)
{
    static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
    size_t size = 0;

    for (unsigned at = 0; at < count; at += 5) {
        unsigned pair =
            (unsigned)bits[at / 8] << 8 | (at / 8 + 1 < count / 8 ? bits[at / 8 + 1] : 0);

        ret_text[size++] = alphabet[pair >> (11 - at % 8) & 31];
    }
    ret_text[size] = '\0';
}

void webhook_secret(const uint8_t key[WEBHOOK_KEY_SIZE], const char *webhook_id,
                    char ret_secret[SECRET_SIZE])
{
    uint8_t mac[SECRET_HASH_SIZE];

    _Static_assert(sizeof(SECRET_PREFIX) + SECRET_BITS / 5 <= SECRET_SIZE, "a secret fits");
    hmac(key, WEBHOOK_KEY_SIZE, bytes_of_string(webhook_id), mac);
    memcpy(ret_secret, SECRET_PREFIX, sizeof(SECRET_PREFIX) - 1);
    append_base32(mac, SECRET_BITS, ret_secret + sizeof(SECRET_PREFIX) - 1);
    secret_wipe(mac, sizeof(mac));
}

void webhook_sign(const char *secret, uint64_t seconds, struct bytes body,
                  char ret_signature[WEBHOOK_SIGNATURE_SIZE])
{
    cleanup_buf struct buf text = {0};
    uint8_t mac[SECRET_HASH_SIZE];
    char hex[SECRET_HEX_SIZE];
    char time[32];
    int size = snprintf(time, sizeof(time), "%" PRIu64 ".", seconds);

    buf_append(&text, time, (size_t)size);
    buf_append(&text, body.data, body.size);
    hmac(secret, strlen(secret), buf_bytes(&text), mac);
    secret_hex(mac, hex);
    (void)snprintf(ret_signature, WEBHOOK_SIGNATURE_SIZE, "t=%" PRIu64 ",v1=%s", seconds, hex);
}
