#include "server/meter/verify.h"

#include <stdlib.h>
#include <string.h>

#include "server/meter/meter_private.h"
#include "server/meter/usage_row.h"
#include "server/store/record.h"

#define PAGE 200
#define ITEM_ARENA_BYTES (1U << 20)
#define ROWS "rows:" /* begins the tokens of the second part: rows, after all sandboxes */

struct verifying {
    struct meter *meter;
    const char *project_id;
    struct arena *arena; /* of the call */
    Crownest__V1__VerifyUsageResponse *response;
    const char *sandbox_id; /* the one that is looked at */
    struct arena *item;     /* for it alone */
};

static void fail(struct verifying *verifying, uint32_t day, const char *problem)
{
    Crownest__V1__VerifyUsageResponse *response = verifying->response;
    char text[DAY_TEXT_SIZE];

    if (response->problem[0])
        return;
    day_text(day, text);
    response->problem = arena_strdup(verifying->arena, problem);
    response->sandbox_id = arena_strdup(verifying->arena, verifying->sandbox_id);
    response->day = arena_strdup(verifying->arena, day ? text : "");
}

static bool rows_equal(const Crownest__Records__UsageRow *a, const Crownest__Records__UsageRow *b)
{
    return a->rate_millis == b->rate_millis && a->running_us == b->running_us &&
           a->paused_us == b->paused_us && a->log_bytes == b->log_bytes &&
           a->artifact_bytes == b->artifact_bytes && a->egress_bytes == b->egress_bytes &&
           a->first == b->first && strcmp(a->key_id, b->key_id) == 0 &&
           strcmp(a->pricing_version, b->pricing_version) == 0;
}

static void compare_row(void *arg, uint32_t day, const Crownest__Records__UsageRow *expected)
{
    struct verifying *verifying = arg;
    struct schema_key key = usage_row_key(verifying->project_id, day, verifying->sandbox_id);
    Crownest__Records__UsageRow *row;

    if (record_get(verifying->meter->store, &key, &crownest__records__usage_row__descriptor,
                   verifying->item, &row) < 0)
        fail(verifying, day, "the day's row is missing");
    else if (!rows_equal(row, expected))
        fail(verifying, day, "the day's row is not what the intervals come to");
    verifying->response->rows++;
}

static void check_sandbox(struct verifying *verifying, const char *id)
{
    struct schema_key key = schema_key("s", verifying->project_id, id, NULL);
    Crownest__Records__SandboxRecord *record;

    verifying->sandbox_id = id;
    if (record_get(verifying->meter->store, &key, &crownest__records__sandbox_record__descriptor,
                   verifying->item, &record) < 0) {
        fail(verifying, 0, "its record cannot be read");
        return;
    }
    verifying->response->sandboxes++;
    if (!record->meter)
        return;
    bool ended = record->sandbox && record->sandbox->end_time;
    const char *fault = timeline_fault(record->meter, ended);

    if (fault)
        fail(verifying, 0, fault);
    else if (!pricing_find(record->meter->pricing_version)->version[0])
        fail(verifying, 0, "its pricing version is unknown");
    else if (ended)
        usage_row_each(record->meter, 0, compare_row, verifying);
}

struct found {
    struct arena *arena;
    char *names[PAGE];
    size_t count;
};

static bool note_name(void *arg, const char *name, struct bytes value)
{
    struct found *found = arg;

    (void)value;
    found->names[found->count++] = arena_strdup(found->arena, name);
    return true;
}

/* What lies below the prefix, from start on. ret_next: "" at the end. */
static int list(struct verifying *verifying, const char *type, const char *start,
                struct found *ret_found, char *ret_next, size_t next_size)
{
    struct record_page page = {
        .prefix = schema_key(type, verifying->project_id, "", NULL), .start = start, .count = PAGE};

    *ret_found = (struct found){.arena = verifying->arena};
    return record_page(verifying->meter->store, &page, note_name, ret_found, ret_next, next_size);
}

struct search {
    uint32_t day;
    bool found;
};

static void find_day(void *arg, uint32_t day, const Crownest__Records__UsageRow *row)
{
    struct search *search = arg;

    (void)row;
    search->found |= day == search->day;
}

/* Each row belongs to a day of a sandbox that has ended, unless its tombstone is gone. */
static void check_row(struct verifying *verifying, const char *name)
{
    struct search search = {.day = (uint32_t)strtoul(name, NULL, 10)};
    const char *id = strchr(name, '/');
    struct schema_key key = schema_key("s", verifying->project_id, id ? id + 1 : "", NULL);
    Crownest__Records__SandboxRecord *record;

    verifying->sandbox_id = id ? id + 1 : "";
    verifying->response->rows++;
    if (record_get(verifying->meter->store, &key, &crownest__records__sandbox_record__descriptor,
                   verifying->item, &record) < 0 ||
        !record->meter)
        return;
    if (record->sandbox && record->sandbox->end_time)
        usage_row_each(record->meter, 0, find_day, &search);
    if (!search.found)
        fail(verifying, search.day, "a row for a day on which it did not live");
}

struct status verify_page(struct meter *meter, const char *project_id, const char *page_token,
                          struct arena *arena, Crownest__V1__VerifyUsageResponse *response)
{
    struct verifying verifying = {
        .meter = meter, .project_id = project_id, .arena = arena, .response = response};
    bool rows = strncmp(page_token, ROWS, strlen(ROWS)) == 0;
    const char *start = rows ? page_token + strlen(ROWS) : page_token;
    char next[ID_SIZE + 16];
    struct found found;

    if (!rows && start[0] && !id_valid("sbx_", start))
        return status_invalid("page_token", "PAGE_TOKEN_INVALID",
                              "a page_token is the next_page_token of the page before");
    if (list(&verifying, rows ? "ud" : "s", start, &found, next, sizeof(next)) < 0)
        return status_unavailable("STORE_FAILED", "the database cannot be read");
    for (size_t i = 0; i < found.count; i++) {
        verifying.item = arena_new(ITEM_ARENA_BYTES);
        if (rows)
            check_row(&verifying, found.names[i]);
        else
            check_sandbox(&verifying, found.names[i]);
        arena_free(verifying.item);
    }
    if (rows && next[0])
        response->next_page_token = arena_printf(arena, ROWS "%s", next);
    else if (!rows)
        response->next_page_token = arena_strdup(arena, next[0] ? next : ROWS);
    return STATUS_OK_VALUE;
}
