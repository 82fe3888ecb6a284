/*
 * Prints what others chose (names, paths, log bytes) so that it cannot drive the reader's terminal:
 * control characters, broken UTF-8 and characters that reorder text come out as \x1b or \u202e.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "google/protobuf/timestamp.pb-c.h"

/* What a stream's last piece left over: the beginning of a character. Start with zeros. */
struct text_escaper {
    unsigned char tail[4];
    size_t tail_len;
};

/* Prints bytes of a stream, which may end within a character. Newlines and tabs stay. */
void text_escape(struct text_escaper *escaper, const void *data, size_t len, FILE *out);

/* Prints what is left over at the end of a stream. */
void text_escape_end(struct text_escaper *escaper, FILE *out);

/* Prints a string on one line: newlines and tabs are escaped as well. */
void text_print(const char *string, FILE *out);

/* As text_print, into a buffer; cut at its size. */
void text_format(const char *string, char *ret_text, size_t size);

#define TEXT_TIME_SIZE 32

/* "2026-03-01 12:00:00Z", or "-" for NULL. */
void text_time(const Google__Protobuf__Timestamp *time, char ret_text[TEXT_TIME_SIZE]);
