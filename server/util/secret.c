#include "server/util/secret.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#include "server/util/id.h"

#define SECRET_CHARACTERS 32

void secret_make(const char *prefix, char ret_secret[SECRET_SIZE])
{
    size_t size = strlen(prefix);

    memcpy(ret_secret, prefix, size);
    id_random(SECRET_CHARACTERS, ret_secret + size);
}

void secret_hash(const void *secret, size_t size, uint8_t ret_hash[SECRET_HASH_SIZE])
{
    (void)SHA256(secret, size, ret_hash);
}

void secret_hex(const uint8_t hash[SECRET_HASH_SIZE], char ret_hex[SECRET_HEX_SIZE])
{
    for (size_t i = 0; i < SECRET_HASH_SIZE; i++)
        (void)snprintf(ret_hex + 2 * i, 3, "%02x", hash[i]);
}

bool secret_equal(const uint8_t a[SECRET_HASH_SIZE], const uint8_t b[SECRET_HASH_SIZE])
{
    return CRYPTO_memcmp(a, b, SECRET_HASH_SIZE) == 0;
}

void secret_wipe(void *secret, size_t size)
{
    OPENSSL_cleanse(secret, size);
}
