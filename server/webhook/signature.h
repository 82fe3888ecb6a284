/*
 * What a delivery is signed with. The secret of a webhook is not stored: it is derived from a key
 * of the installation and the webhook's id, so that it can be said again to whoever retries.
 * Functions may be called from any thread.
 */
#pragma once

#include <stdint.h>

#include "server/util/bytes.h"
#include "server/util/err.h"
#include "server/util/secret.h"

#define WEBHOOK_KEY_SIZE 32
#define WEBHOOK_SIGNATURE_SIZE 96

/* Reads the file, or makes it with a new key, readable by its owner only. Returns 0 or -errno. */
int webhook_key_open(const char *file, uint8_t ret_key[WEBHOOK_KEY_SIZE], struct err *err);

/* "cnw_" and 160 bits. */
void webhook_secret(const uint8_t key[WEBHOOK_KEY_SIZE], const char *webhook_id,
                    char ret_secret[SECRET_SIZE]);

/* "t=<seconds>,v1=<HMAC-SHA256 of "<seconds>.<body>" in hex>" */
void webhook_sign(const char *secret, uint64_t seconds, struct bytes body,
                  char ret_signature[WEBHOOK_SIGNATURE_SIZE]);
