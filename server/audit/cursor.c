#include "server/audit/cursor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/audit/entry.h"

void audit_cursor_init(struct audit_cursor *cursor, struct store *store,
                       const struct audit_filter *filter, enum store_order order, uint64_t from)
{
    /* The index with the fewest entries that do not fit. */
    const char *type = filter->resource_id[0]  ? "er"
                       : filter->actor[0]      ? "ea"
                       : filter->project_id[0] ? "ep"
                                               : NULL;
    const char *id = filter->resource_id[0] ? filter->resource_id
                     : filter->actor[0]     ? filter->actor
                                            : filter->project_id;

    *cursor =
        (struct audit_cursor){.store = store, .filter = *filter, .order = order, .next = from};
    if (type)
        (void)snprintf(cursor->prefix, sizeof(cursor->prefix), "%s/%s/", type, id);
    else
        (void)snprintf(cursor->prefix, sizeof(cursor->prefix), "e/");
}

static bool note_number(void *arg, struct bytes key, struct bytes value)
{
    struct audit_cursor *cursor = arg;
    char text[STORE_SEQUENCE_SIZE];
    size_t prefix_size = strlen(cursor->prefix);

    (void)value;
    if (key.size - prefix_size != sizeof(text) - 1)
        return true;
    memcpy(text, key.data + prefix_size, sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    cursor->numbers[cursor->count++] = strtoull(text, NULL, 16);
    return cursor->count < CURSOR_NUMBERS;
}

static int refill(struct audit_cursor *cursor)
{
    char start[sizeof(cursor->prefix) + STORE_SEQUENCE_SIZE];
    char number[STORE_SEQUENCE_SIZE];

    cursor->count = 0;
    cursor->at = 0;
    store_sequence_text(cursor->next, number);
    (void)snprintf(start, sizeof(start), "%s%s", cursor->prefix, number);
    int r = store_scan(cursor->store, bytes_of_string(cursor->prefix), bytes_of_string(start),
                       cursor->order, note_number, cursor);

    if (r < 0 || cursor->count == 0)
        return r;
    uint64_t last = cursor->numbers[cursor->count - 1];

    if (cursor->order == STORE_ASCENDING)
        cursor->next = last + 1;
    else if (last > 0)
        cursor->next = last - 1;
    return 0;
}

static bool action_fits(const struct audit_filter *filter, const char *action)
{
    for (size_t i = 0; i < filter->action_count; i++) {
        size_t size = strlen(filter->actions[i]);

        if (strncmp(filter->actions[i], action, size) == 0 &&
            (action[size] == '\0' || action[size] == '.'))
            return true;
    }
    return filter->action_count == 0;
}

static bool fits(const struct audit_filter *filter, const Crownest__V1__AuditEntry *entry)
{
    if (filter->project_id[0] && strcmp(filter->project_id, entry->project_id) != 0)
        return false;
    if (filter->actor[0] && strcmp(filter->actor, entry->actor) != 0)
        return false;
    if (filter->outcome && filter->outcome != entry->outcome)
        return false;
    return action_fits(filter, entry->action);
}

int audit_cursor_next(struct audit_cursor *cursor, size_t visited, struct arena *arena,
                      Crownest__V1__AuditEntry **ret_entry)
{
    for (;;) {
        int r = cursor->at < cursor->count ? 0 : refill(cursor);

        if (r < 0 || cursor->count == 0)
            return r;
        if (visited-- == 0)
            return -EAGAIN;
        r = entry_read(cursor->store, cursor->numbers[cursor->at++], arena, ret_entry);
        if (r < 0)
            return r == -ENOENT ? -EUCLEAN : r;
        if (fits(&cursor->filter, *ret_entry))
            return 1;
    }
}

uint64_t audit_cursor_position(struct audit_cursor *cursor)
{
    if (cursor->at >= cursor->count && (refill(cursor) < 0 || cursor->count == 0))
        return 0;
    return cursor->numbers[cursor->at];
}
