#include "tools/cli/text.h"

#include <string.h>
#include <time.h>

/* How many bytes a UTF-8 character has, by its first one; 0: no character begins so. */
static size_t utf8_length(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first < 0xe0)
        return 2;
    if ((first & 0xf0) == 0xe0)
        return 3;
    return first >= 0xf0 && first < 0xf5 ? 4 : 0;
}

/* Decodes one character of `len` bytes; UINT32_MAX when it is not well-formed. */
static uint32_t utf8_decode(const unsigned char *at, size_t len)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t code = len == 1 ? at[0] : at[0] & (0x7fU >> len);

    for (size_t i = 1; i < len; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return UINT32_MAX;
        code = code << 6 | (at[i] & 0x3f);
    }
    if (code < smallest[len] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return UINT32_MAX;
    return code;
}

static bool is_harmful(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) ||       /* C0, DEL, C1 */
           code == 0x61c || code == 0x200e || code == 0x200f ||  /* direction marks */
           (code >= 0x2028 && code <= 0x202e) ||                 /* separators, embeddings */
           (code >= 0x2066 && code <= 0x2069) || code == 0xfeff; /* isolates, BOM */
}

/* Prints the character at `at`; returns how many bytes it took, 0 when more are needed. */
static size_t put_character(const unsigned char *at, size_t len, bool one_line, FILE *out)
{
    size_t need = utf8_length(at[0]);

    if (need > len)
        return 0;
    uint32_t code = need ? utf8_decode(at, need) : UINT32_MAX;
    if (code == UINT32_MAX) {
        fprintf(out, "\\x%02x", at[0]);
        return 1;
    }
    if (is_harmful(code) && (one_line || (code != '\n' && code != '\t')))
        fprintf(out, code < 0x100 ? "\\x%02x" : "\\u%04x", (unsigned)code);
    else
        (void)fwrite(at, 1, need, out);
    return need;
}

/* Prints what it can of the bytes; returns how many are left over. */
static size_t put_all(const unsigned char *at, size_t len, bool one_line, FILE *out)
{
    while (len) {
        size_t used = put_character(at, len, one_line, out);

        if (!used)
            break;
        at += used;
        len -= used;
    }
    return len;
}

void text_escape(struct text_escaper *escaper, const void *data, size_t len, FILE *out)
{
    const unsigned char *at = data;

    while (escaper->tail_len && len) {
        escaper->tail[escaper->tail_len++] = *at++;
        len--;
        size_t left = put_all(escaper->tail, escaper->tail_len, false, out);
        memmove(escaper->tail, escaper->tail + escaper->tail_len - left, left);
        escaper->tail_len = left;
    }
    size_t left = put_all(at, len, false, out);
    if (left) {
        memcpy(escaper->tail, at + len - left, left);
        escaper->tail_len = left;
    }
}

void text_escape_end(struct text_escaper *escaper, FILE *out)
{
    for (size_t i = 0; i < escaper->tail_len; i++)
        fprintf(out, "\\x%02x", escaper->tail[i]);
    escaper->tail_len = 0;
}

void text_print(const char *string, FILE *out)
{
    size_t len = strlen(string);
    size_t left = put_all((const unsigned char *)string, len, true, out);

    for (const char *at = string + len - left; *at; at++)
        fprintf(out, "\\x%02x", (unsigned char)*at);
}

void text_format(const char *string, char *ret_text, size_t size)
{
    FILE *out = fmemopen(ret_text, size, "w");

    ret_text[0] = '\0';
    if (!out)
        return;
    text_print(string, out);
    (void)fclose(out);
    ret_text[size - 1] = '\0';
}

void text_time(const Google__Protobuf__Timestamp *time, char ret_text[TEXT_TIME_SIZE])
{
    time_t seconds = time ? (time_t)time->seconds : 0;
    struct tm parts;

    if (!time || !gmtime_r(&seconds, &parts) ||
        !strftime(ret_text, TEXT_TIME_SIZE, "%Y-%m-%d %H:%M:%SZ", &parts))
        (void)snprintf(ret_text, TEXT_TIME_SIZE, "-");
}
