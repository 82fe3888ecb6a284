#include "server/audit/signer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct signer {
    EVP_PKEY *key;
};

static int read_key(const char *file, EVP_PKEY **ret_key, struct err *err)
{
    FILE *in = fopen(file, "re");

    if (!in)
        return -errno;
    EVP_PKEY *key = PEM_read_PrivateKey(in, NULL, NULL, NULL);

    (void)fclose(in);
    if (!key || !EVP_PKEY_is_a(key, "ED25519")) {
        EVP_PKEY_free(key);
        return err_set(err, EINVAL, "%s holds no Ed25519 key in PEM", file);
    }
    *ret_key = key;
    return 0;
}

/* Whole and on disk before it has its name: a checkpoint is worth nothing once its key is lost. */
static int write_key(const char *file, EVP_PKEY *key)
{
    char next[PATH_MAX];

    if (snprintf(next, sizeof(next), "%s.next", file) >= (int)sizeof(next))
        return -ENAMETOOLONG;
    int fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *out = fd < 0 ? NULL : fdopen(fd, "w");

    if (!out)
        return -errno;
    bool written = PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) == 1 &&
                   fflush(out) == 0 && fsync(fd) == 0;

    if (fclose(out) != 0 || !written)
        return -EIO;
    return rename(next, file) < 0 ? -errno : 0;
}

int signer_open(const char *file, struct signer **ret_signer, struct err *err)
{
    EVP_PKEY *key = NULL;
    int r = read_key(file, &key, err);

    if (r == -ENOENT) {
        key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
        if (!key)
            abort();
        r = write_key(file, key);
    }
    if (r < 0 && r != -EINVAL)
        (void)err_set(err, -r, "the audit's key %s: %s", file, strerror(-r));
    if (r < 0) {
        EVP_PKEY_free(key);
        return r;
    }
    struct signer *signer = calloc(1, sizeof(*signer));

    if (!signer)
        abort();
    signer->key = key;
    *ret_signer = signer;
    return 0;
}

void signer_free(struct signer *signer)
{
    if (!signer)
        return;
    EVP_PKEY_free(signer->key);
    free(signer);
}

void signer_public_key(const struct signer *signer, uint8_t ret_key[SIGNER_KEY_SIZE])
{
    size_t size = SIGNER_KEY_SIZE;

    if (EVP_PKEY_get_raw_public_key(signer->key, ret_key, &size) != 1)
        abort();
}

void signer_sign(const struct signer *signer, const void *text, size_t size,
                 uint8_t ret_signature[SIGNATURE_SIZE])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    size_t signature_size = SIGNATURE_SIZE;

    if (!context || EVP_DigestSignInit(context, NULL, NULL, NULL, signer->key) != 1 ||
        EVP_DigestSign(context, ret_signature, &signature_size, text, size) != 1)
        abort();
    EVP_MD_CTX_free(context);
}

size_t checkpoint_text(uint64_t sequence, const uint8_t previous[CHECKPOINT_HASH_SIZE],
                       char ret_text[CHECKPOINT_TEXT_SIZE])
{
    int size = snprintf(ret_text, CHECKPOINT_TEXT_SIZE, "crownest audit checkpoint %" PRIu64 " ",
                        sequence);

    for (size_t i = 0; i < CHECKPOINT_HASH_SIZE; i++)
        size += snprintf(ret_text + size, CHECKPOINT_TEXT_SIZE - (size_t)size, "%02x", previous[i]);
    return (size_t)size;
}

bool signature_valid(const uint8_t key[SIGNER_KEY_SIZE], const void *text, size_t size,
                     const uint8_t signature[SIGNATURE_SIZE])
{
    EVP_PKEY *public = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, SIGNER_KEY_SIZE);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool valid = public && context &&
                 EVP_DigestVerifyInit(context, NULL, NULL, NULL, public) == 1 &&
                 EVP_DigestVerify(context, signature, SIGNATURE_SIZE, text, size) == 1;

    EVP_MD_CTX_free(context);
    EVP_PKEY_free(public);
    return valid;
}
