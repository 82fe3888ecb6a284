#include "server/audit/entry.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "server/util/cleanup.h"

static void append_text(struct buf *out, const char *text)
{
    buf_append(out, text, strlen(text));
}

static bool is_plain(char c)
{
    return (unsigned char)c >= 0x20 && c != '"' && c != '\\' && c != 0x7f;
}

/* As JSON needs it, and not a byte more: a text has one form only. */
static void append_string(struct buf *out, const char *text)
{
    append_text(out, "\"");
    while (*text) {
        size_t plain = 0;
        char escape[8];

        while (is_plain(text[plain]))
            plain++;
        buf_append(out, text, plain);
        text += plain;
        if (!*text)
            break;
        (void)snprintf(escape, sizeof(escape), "\\u%04x", (unsigned)(unsigned char)*text++);
        append_text(out, escape);
    }
    append_text(out, "\"");
}

static void append_member(struct buf *out, const char *name, const char *text)
{
    if (!text[0])
        return;
    append_text(out, ",\"");
    append_text(out, name);
    append_text(out, "\":");
    append_string(out, text);
}

static void append_hex(struct buf *out, const ProtobufCBinaryData *bytes)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < bytes->len; i++) {
        const char pair[2] = {digits[bytes->data[i] >> 4], digits[bytes->data[i] & 15]};

        buf_append(out, pair, sizeof(pair));
    }
}

static void append_bytes(struct buf *out, const char *name, const ProtobufCBinaryData *bytes)
{
    if (bytes->len == 0)
        return;
    append_text(out, ",\"");
    append_text(out, name);
    append_text(out, "\":\"");
    append_hex(out, bytes);
    append_text(out, "\"");
}

static const char *outcome_name(Crownest__V1__AuditOutcome outcome)
{
    switch (outcome) {
    case CROWNEST__V1__AUDIT_OUTCOME__AUDIT_OUTCOME_OK:
        return "ok";
    case CROWNEST__V1__AUDIT_OUTCOME__AUDIT_OUTCOME_DENIED:
        return "denied";
    case CROWNEST__V1__AUDIT_OUTCOME__AUDIT_OUTCOME_FAILED:
        return "failed";
    case CROWNEST__V1__AUDIT_OUTCOME__AUDIT_OUTCOME_BEGUN:
        return "begun";
    default:
        return "";
    }
}

static void append_head(struct buf *out, const Crownest__V1__AuditEntry *entry)
{
    time_t seconds = entry->time ? (time_t)entry->time->seconds : 0;
    int micros = entry->time ? entry->time->nanos / 1000 : 0;
    struct tm parts;
    char text[96];
    char when[32];

    (void)gmtime_r(&seconds, &parts);
    (void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &parts);
    (void)snprintf(text, sizeof(text), "{\"sequence\":%" PRIu64 ",\"time\":\"%s.%06dZ\"",
                   entry->sequence, when, micros);
    append_text(out, text);
}

/* A member that is empty is left out, so that lines of today stay what they are with more members.
 */
void entry_text(const Crownest__V1__AuditEntry *entry, struct buf *ret_text)
{
    append_head(ret_text, entry);
    append_member(ret_text, "actor", entry->actor);
    append_member(ret_text, "request_id", entry->request_id);
    append_member(ret_text, "action", entry->action);
    append_member(ret_text, "outcome", outcome_name(entry->outcome));
    append_member(ret_text, "resource_id", entry->resource_id);
    append_member(ret_text, "project_id", entry->project_id);
    append_member(ret_text, "sandbox_id", entry->sandbox_id);
    append_member(ret_text, "reason", entry->reason);
    append_member(ret_text, "detail", entry->detail);
    append_bytes(ret_text, "public_key", &entry->public_key);
    append_bytes(ret_text, "signature", &entry->signature);
    append_bytes(ret_text, "previous_hash", &entry->previous_hash);
}

void entry_line(const Crownest__V1__AuditEntry *entry, struct buf *ret_line)
{
    entry_text(entry, ret_line);
    append_text(ret_line, ENTRY_HASH_MEMBER);
    append_hex(ret_line, &entry->hash);
    append_text(ret_line, "\"}\n");
}

int entry_read(struct store *store, uint64_t sequence, struct arena *arena,
               Crownest__V1__AuditEntry **ret_entry)
{
    uint8_t *hash = arena_alloc(arena, STORE_HASH_SIZE);
    cleanup_buf struct buf value = {0};
    int r = store_entry(store, sequence, &value, hash);

    if (r < 0)
        return r;
    Crownest__V1__AuditEntry *entry =
        crownest__v1__audit_entry__unpack(arena_allocator(arena), value.size, value.data);

    if (!entry)
        return -EUCLEAN;
    entry->hash = (ProtobufCBinaryData){.data = hash, .len = STORE_HASH_SIZE};
    *ret_entry = entry;
    return 0;
}
