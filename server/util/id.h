/*
 * Resource ids: a prefix and 26 characters of lower-case Crockford base32 over 48 bits of
 * milliseconds since 1970 and 80 random bits. Sortable by time, safe in paths, hosts and labels.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define ID_SIZE 32 /* prefix of at most 5 characters, 26 more, NUL */

/* prefix: "sbx_" and the like. Ids of one process are strictly increasing. */
void id_make(const char *prefix, char ret_id[ID_SIZE]);

/* Whether the text is an id with that prefix. */
bool id_valid(const char *prefix, const char *text);

/* Random characters of the same alphabet, 5 bits each; count + 1 bytes with the NUL. */
void id_random(unsigned count, char *ret_text);
