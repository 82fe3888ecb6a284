/* An Ed25519 key in a file, and what it signs. Functions may be called from any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/util/err.h"

#define SIGNATURE_SIZE 64
#define SIGNER_KEY_SIZE 32 /* of a public key */
#define CHECKPOINT_HASH_SIZE 32
#define CHECKPOINT_TEXT_SIZE 128

struct signer;

/* Reads the PEM file, or makes it with a new key, readable by its owner only. Returns 0 or -errno.
 */
int signer_open(const char *file, struct signer **ret_signer, struct err *err);
void signer_free(struct signer *signer);

void signer_public_key(const struct signer *signer, uint8_t ret_key[SIGNER_KEY_SIZE]);
void signer_sign(const struct signer *signer, const void *text, size_t size,
                 uint8_t ret_signature[SIGNATURE_SIZE]);

/* The text that a checkpoint's signature is of; returns its size. */
size_t checkpoint_text(uint64_t sequence, const uint8_t previous[CHECKPOINT_HASH_SIZE],
                       char ret_text[CHECKPOINT_TEXT_SIZE]);

bool signature_valid(const uint8_t key[SIGNER_KEY_SIZE], const void *text, size_t size,
                     const uint8_t signature[SIGNATURE_SIZE]);
