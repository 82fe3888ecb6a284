#include "tools/cli/audit_check.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <openssl/sha.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_SIZE (64U << 10)
#define HASH_MEMBER ",\"hash\":\""
#define TAIL_SIZE                                                                                  \
    (sizeof(HASH_MEMBER) - 1 + 2 * AUDIT_HASH_SIZE + 3) /* up to `"}` and a newline                \
                                                         */

/* What a line says of itself. */
struct line {
    uint64_t sequence;
    uint8_t previous[AUDIT_HASH_SIZE];
    bool checkpoint;
    uint8_t key[SIGNER_KEY_SIZE];
    uint8_t signature[SIGNATURE_SIZE];
};

__attribute__((format(printf, 3, 4))) static int wrong(struct audit_check *check, uint64_t sequence,
                                                       const char *format, ...)
{
    char what[160];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    (void)snprintf(check->wrong, sizeof(check->wrong), "entry %" PRIu64 " (line %" PRIu64 "): %s",
                   sequence, check->line, what);
    return -EBADMSG;
}

/* Lower-case, exactly so many. */
static bool from_hex(const char *hex, size_t size, uint8_t *ret_bytes)
{
    static const char digits[] = "0123456789abcdef";

    if (!hex || strlen(hex) != 2 * size)
        return false;
    for (size_t i = 0; i < size; i++) {
        const char *high = strchr(digits, hex[2 * i]);
        const char *low = strchr(digits, hex[2 * i + 1]);

        if (!high || !low)
            return false;
        ret_bytes[i] = (uint8_t)((high - digits) << 4 | (low - digits));
    }
    return true;
}

int audit_check_add_key(struct audit_check *check, const char *hex)
{
    if (check->key_count == AUDIT_KEYS_MAX ||
        !from_hex(hex, SIGNER_KEY_SIZE, check->keys[check->key_count]))
        return -EINVAL;
    check->key_count++;
    check->pinned = true;
    return 0;
}

static int read_members(struct audit_check *check, uint64_t expected, const json_t *root,
                        struct line *ret_line)
{
    const char *action = json_string_value(json_object_get(root, "action"));

    ret_line->sequence = (uint64_t)json_integer_value(json_object_get(root, "sequence"));
    if (!from_hex(json_string_value(json_object_get(root, "previous_hash")), AUDIT_HASH_SIZE,
                  ret_line->previous))
        return wrong(check, expected, "it names no previous_hash");
    ret_line->checkpoint = action && !strcmp(action, "audit.checkpoint");
    if (ret_line->checkpoint && (!from_hex(json_string_value(json_object_get(root, "public_key")),
                                           SIGNER_KEY_SIZE, ret_line->key) ||
                                 !from_hex(json_string_value(json_object_get(root, "signature")),
                                           SIGNATURE_SIZE, ret_line->signature)))
        return wrong(check, expected, "a checkpoint without a signature");
    return 0;
}

/* Checks the text against its hash, and takes it apart. */
static int read_line(struct audit_check *check, const char *text, size_t size,
                     struct line *ret_line, uint8_t ret_hash[AUDIT_HASH_SIZE])
{
    uint64_t expected = check->last + 1;
    char hex[2 * AUDIT_HASH_SIZE + 1];
    uint8_t said[AUDIT_HASH_SIZE];

    if (size <= TAIL_SIZE ||
        memcmp(text + size - TAIL_SIZE, HASH_MEMBER, sizeof(HASH_MEMBER) - 1) != 0 ||
        memcmp(text + size - 3, "\"}\n", 3) != 0)
        return wrong(check, expected, "the line is no entry, or not whole");
    memcpy(hex, text + size - TAIL_SIZE + sizeof(HASH_MEMBER) - 1, sizeof(hex) - 1);
    hex[sizeof(hex) - 1] = '\0';
    (void)SHA256((const uint8_t *)text, size - TAIL_SIZE, ret_hash);
    if (!from_hex(hex, AUDIT_HASH_SIZE, said) || memcmp(said, ret_hash, AUDIT_HASH_SIZE) != 0)
        return wrong(check, expected, "its hash is not that of its text: it was changed");
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);

    if (!json_is_object(root)) {
        json_decref(root);
        return wrong(check, expected, "the line is no JSON object");
    }
    int r = read_members(check, expected, root, ret_line);

    json_decref(root);
    return r;
}

static int check_signature(struct audit_check *check, const struct line *line)
{
    char text[CHECKPOINT_TEXT_SIZE];
    size_t size = checkpoint_text(line->sequence, line->previous, text);

    if (!signature_valid(line->key, text, size, line->signature))
        return wrong(check, line->sequence, "its signature is not that of its key");
    if (check->key_count == 0) {
        memcpy(check->keys[0], line->key, SIGNER_KEY_SIZE);
        check->key_count = 1;
    }
    for (size_t i = 0; i < check->key_count; i++) {
        if (memcmp(check->keys[i], line->key, SIGNER_KEY_SIZE) == 0) {
            check->checkpoints++;
            check->last_signed = line->sequence;
            return 0;
        }
    }
    return wrong(check, line->sequence, "it is signed with another key");
}

int audit_check_line(struct audit_check *check, const char *text, size_t size)
{
    static const uint8_t none[AUDIT_HASH_SIZE];
    uint8_t hash[AUDIT_HASH_SIZE];
    struct line line = {0};

    check->line++;
    int r = read_line(check, text, size, &line, hash);

    if (r < 0)
        return r;
    if (check->first == 0 && line.sequence > 0)
        check->first = line.sequence;
    else if (line.sequence != check->last + 1)
        return wrong(check, check->last + 1, "it is missing: entry %" PRIu64 " follows",
                     line.sequence);
    if (line.sequence == 1)
        memcpy(check->previous, none, sizeof(none));
    else if (check->first == line.sequence)
        memcpy(check->previous, line.previous, sizeof(line.previous));
    if (memcmp(line.previous, check->previous, AUDIT_HASH_SIZE) != 0)
        return wrong(check, line.sequence,
                     "it does not follow the entry before: one was exchanged");
    if (line.checkpoint)
        r = check_signature(check, &line);
    check->last = line.sequence;
    memcpy(check->previous, hash, sizeof(hash));
    return r;
}

int audit_check_file(struct audit_check *check, FILE *in)
{
    char *line = malloc(LINE_MAX_SIZE);
    int r = line ? 0 : -ENOMEM;

    while (r == 0) {
        size_t size = 0;
        int c = EOF;

        while (size < LINE_MAX_SIZE && (c = getc(in)) != EOF) {
            line[size++] = (char)c;
            if (c == '\n')
                break;
        }
        if (size == 0)
            break;
        r = audit_check_line(check, line, size);
    }
    if (r == 0 && ferror(in))
        r = -EIO;
    free(line);
    return r;
}
