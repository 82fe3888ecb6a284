/* What a sandbox's logs and artifacts come to, from the records of its commands and artifacts. */
#include "server/meter/meter_private.h"

#include <stdlib.h>
#include <string.h>

#include "server/store/record.h"
#include "server/util/prototime.h"

#define BYTES_ARENA (4U << 20) /* more than a command's record, and an artifact's, may take */
#define US_PER_MS 1000

void bytes_add(struct metered_day **days, size_t *count, uint32_t day,
               const struct meter_bytes *bytes)
{
    size_t at = *count;

    while (at > 0 && (*days)[at - 1].day >= day)
        at--;
    if (at == *count || (*days)[at].day != day) {
        struct metered_day *more = realloc(*days, (*count + 1) * sizeof(*more));

        if (!more)
            abort();
        memmove(&more[at + 1], &more[at], (*count - at) * sizeof(*more));
        more[at] = (struct metered_day){.day = day};
        *days = more;
        (*count)++;
    }
    (*days)[at].bytes.log += bytes->log;
    (*days)[at].bytes.artifact += bytes->artifact;
    (*days)[at].bytes.egress += bytes->egress;
}

struct ids {
    struct buf list; /* each with its NUL */
};

static bool note_id(void *arg, const char *id, struct bytes value)
{
    struct ids *ids = arg;

    (void)value;
    buf_append(&ids->list, id, strlen(id) + 1);
    return true;
}

struct derivation {
    struct store *store;
    const char *project_id;
    struct metered_day **days;
    size_t *count;
};

static void add_command(const struct derivation *derivation, const char *id, struct arena *arena)
{
    struct schema_key key = schema_key("c", derivation->project_id, id, NULL);
    Crownest__Records__CommandRecord *record;

    if (record_get(derivation->store, &key, &crownest__records__command_record__descriptor, arena,
                   &record) < 0 ||
        !record->command || !record->command->end_time)
        return;
    struct meter_bytes bytes = {.log = record->command->log_bytes};

    bytes_add(derivation->days, derivation->count,
              day_number(prototime_ms(record->command->end_time) * US_PER_MS), &bytes);
}

static void add_artifact(const struct derivation *derivation, const char *id, struct arena *arena)
{
    struct schema_key key = schema_key("a", derivation->project_id, id, NULL);
    Crownest__V1__Artifact *artifact;

    if (record_get(derivation->store, &key, &crownest__v1__artifact__descriptor, arena, &artifact) <
        0)
        return;
    struct meter_bytes bytes = {.artifact = artifact->size_bytes};

    bytes_add(derivation->days, derivation->count,
              day_number(prototime_ms(artifact->create_time) * US_PER_MS), &bytes);
}

/* Every entry of an index of the sandbox's. */
static void add_each(const struct derivation *derivation, const char *index, const char *sandbox_id,
                     void (*add)(const struct derivation *derivation, const char *id,
                                 struct arena *arena))
{
    struct record_page all = {
        .prefix = schema_key(index, derivation->project_id, sandbox_id, ""),
        .start = "",
        .count = SIZE_MAX,
    };
    struct arena *arena = arena_new(BYTES_ARENA);
    struct ids ids = {0};
    char next[ID_SIZE];

    (void)record_page(derivation->store, &all, note_id, &ids, next, sizeof(next));
    for (size_t at = 0; at < ids.list.size;) {
        const char *id = (const char *)ids.list.data + at;

        add(derivation, id, arena);
        arena_reset(arena);
        at += strlen(id) + 1;
    }
    buf_done(&ids.list);
    arena_free(arena);
}

void bytes_derive(struct store *store, const char *project_id, const char *sandbox_id,
                  struct metered_day **ret_days, size_t *ret_count)
{
    struct derivation derivation = {
        .store = store, .project_id = project_id, .days = ret_days, .count = ret_count};

    *ret_days = NULL;
    *ret_count = 0;
    add_each(&derivation, "cs", sandbox_id, add_command);
    add_each(&derivation, "as", sandbox_id, add_artifact);
    egress_read(store, project_id, sandbox_id, ret_days, ret_count);
}
