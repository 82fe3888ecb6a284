#include "server/webhook/batch.h"

#include <errno.h>
#include <stdio.h>

#include "server/audit/entry.h"
#include "server/util/cleanup.h"
#include "server/util/limits.h"

#define ARENA_BYTES (4U << 20)
#define VISITED_AT_ONCE 256
#define ROUNDS 16 /* of those, while nothing fits */

static void append_text(struct buf *out, const char *text)
{
    buf_append(out, text, strlen(text));
}

/* Whether it had room. */
static bool add(struct batch *batch, const Crownest__V1__AuditEntry *entry)
{
    cleanup_buf struct buf line = {0};

    entry_line(entry, &line);
    /* Its newline makes room for the comma, and two bytes end the body. */
    if (batch->count == LIMIT_WEBHOOK_ENTRIES ||
        (batch->count > 0 && batch->body.size + line.size + 2 > LIMIT_WEBHOOK_BODY))
        return false;
    if (batch->count++ == 0)
        batch->first = entry->sequence;
    else
        append_text(&batch->body, ",");
    buf_append(&batch->body, line.data, line.size - 1);
    batch->last = entry->sequence;
    return true;
}

static int fill(struct audit_cursor *cursor, uint64_t upto, struct arena *arena,
                struct batch *batch)
{
    unsigned rounds = 0;

    for (;;) {
        Crownest__V1__AuditEntry *entry;
        int r = audit_cursor_next(cursor, VISITED_AT_ONCE, arena, &entry);
        bool added = r > 0 && (upto == 0 || entry->sequence <= upto) && add(batch, entry);

        arena_reset(arena);
        if (r == -EAGAIN && (upto > 0 || (batch->count == 0 && rounds++ < ROUNDS)))
            continue;
        if (r == -EAGAIN)
            batch->looked = cursor->numbers[cursor->at] - 1;
        if (!added)
            return r < 0 && r != -EAGAIN ? r : 0;
    }
}

int batch_read(struct store *store, const struct audit_filter *filter, const char *webhook_id,
               uint64_t after, uint64_t upto, struct batch *ret_batch)
{
    struct arena *arena = arena_new(ARENA_BYTES);
    struct audit_cursor cursor;

    /* Before the first look: what is written during it may be missed. */
    ret_batch->looked = store_last_entry(store);
    audit_cursor_init(&cursor, store, filter, STORE_ASCENDING, after + 1);
    append_text(&ret_batch->body, "{\"webhook_id\":\"");
    append_text(&ret_batch->body, webhook_id);
    append_text(&ret_batch->body, "\",\"entries\":[");
    int r = fill(&cursor, upto, arena, ret_batch);

    append_text(&ret_batch->body, "]}");
    arena_free(arena);
    return r;
}

void batch_done(struct batch *batch)
{
    buf_done(&batch->body);
}
