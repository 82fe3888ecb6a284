/* Secrets that clients hold: random, shown once, stored as their SHA-256. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECRET_SIZE 40 /* prefix of at most 5 characters, 32 of 5 random bits each, NUL */
#define SECRET_HASH_SIZE 32
#define SECRET_HEX_SIZE 65

void secret_make(const char *prefix, char ret_secret[SECRET_SIZE]);
void secret_hash(const void *secret, size_t size, uint8_t ret_hash[SECRET_HASH_SIZE]);
void secret_hex(const uint8_t hash[SECRET_HASH_SIZE], char ret_hex[SECRET_HEX_SIZE]);
/* In constant time. */
bool secret_equal(const uint8_t a[SECRET_HASH_SIZE], const uint8_t b[SECRET_HASH_SIZE]);
void secret_wipe(void *secret, size_t size);
