#include "server/meter/usage.h"

#include <stdlib.h>
#include <string.h>

#include "server/meter/meter_private.h"
#include "server/meter/usage_row.h"
#include "server/store/record.h"
#include "server/util/cleanup.h"
#include "server/util/limits.h"

#define ROW_ARENA_BYTES 16384

struct sum {
    uint64_t sandboxes;
    uint64_t running_us;
    uint64_t paused_us;
    amount_units units;
    amount_money money;
    struct meter_bytes bytes;
};

struct group {
    char name[ID_SIZE]; /* the day, key or sandbox */
    uint32_t day;
    struct sum sum;
    UT_hash_handle hh;
};

/* One that lived when the adding began. */
struct seen {
    char sandbox_id[ID_SIZE];
    UT_hash_handle hh;
};

struct adding {
    const struct usage_query *query;
    struct arena *arena;
    struct group *groups; /* by name */
    struct seen *seen;    /* by sandbox_id */
    struct sum total;
    const char *sandbox_id; /* of the row that is being added */
    bool too_many;
};

static void add_row(struct sum *sum, const Crownest__Records__UsageRow *row, bool is_first)
{
    const struct pricing *pricing = pricing_find(row->pricing_version);
    amount_units units = amount_used(row->rate_millis, pricing, row->running_us, row->paused_us);

    sum->sandboxes += is_first;
    sum->running_us += row->running_us;
    sum->paused_us += row->paused_us;
    sum->units += units;
    sum->money += amount_cost(units, pricing);
    sum->bytes.log += row->log_bytes;
    sum->bytes.artifact += row->artifact_bytes;
    sum->bytes.egress += row->egress_bytes;
}

static void group_name(const struct adding *adding, uint32_t day,
                       const Crownest__Records__UsageRow *row, char ret_name[ID_SIZE])
{
    switch (adding->query->group_by) {
    case CROWNEST__V1__USAGE_GROUP__USAGE_GROUP_DAY:
        (void)snprintf(ret_name, ID_SIZE, "%08u", day);
        break;
    case CROWNEST__V1__USAGE_GROUP__USAGE_GROUP_KEY:
        (void)snprintf(ret_name, ID_SIZE, "%s", row->key_id);
        break;
    case CROWNEST__V1__USAGE_GROUP__USAGE_GROUP_SANDBOX:
        (void)snprintf(ret_name, ID_SIZE, "%s", adding->sandbox_id);
        break;
    default:
        ret_name[0] = '\0';
    }
}

/* NULL when there are too many. */
static struct group *group_of(struct adding *adding, uint32_t day,
                              const Crownest__Records__UsageRow *row)
{
    struct group *group;
    char name[ID_SIZE];

    group_name(adding, day, row, name);
    HASH_FIND_STR(adding->groups, name, group);
    if (group)
        return group;
    if (HASH_COUNT(adding->groups) >= USAGE_GROUPS_MAX) {
        adding->too_many = true;
        return NULL;
    }
    group = arena_alloc(adding->arena, sizeof(*group));
    memcpy(group->name, name, sizeof(name));
    group->day = day;
    HASH_ADD_STR(adding->groups, name, group);
    return group;
}

static void add(void *arg, uint32_t day, const Crownest__Records__UsageRow *row)
{
    struct adding *adding = arg;
    const struct usage_query *query = adding->query;
    bool by_day = query->group_by == CROWNEST__V1__USAGE_GROUP__USAGE_GROUP_DAY;
    bool is_first = row->first || day == query->from_day;

    if (day < query->from_day || day > query->to_day ||
        (query->key_id[0] && strcmp(query->key_id, row->key_id) != 0) ||
        (query->sandbox_id[0] && strcmp(query->sandbox_id, adding->sandbox_id) != 0))
        return;
    struct group *group = group_of(adding, day, row);

    if (!group)
        return;
    add_row(&group->sum, row, by_day || is_first);
    add_row(&adding->total, row, is_first);
}

/* With its bytes, as if it ended now. In the arena; called with the mutex held. */
static Crownest__Records__Meter living_part(const struct metered *metered, struct arena *arena)
{
    Crownest__Records__Meter part = *metered->part;

    part.bytes = arena_alloc(arena, (metered->day_count + 1) * sizeof(*part.bytes));
    part.n_bytes = metered->day_count;
    for (size_t i = 0; i < metered->day_count; i++) {
        part.bytes[i] = arena_alloc(arena, sizeof(*part.bytes[i]));
        crownest__records__meter_bytes__init(part.bytes[i]);
        part.bytes[i]->day = metered->days[i].day;
        part.bytes[i]->log_bytes = metered->days[i].bytes.log;
        part.bytes[i]->artifact_bytes = metered->days[i].bytes.artifact;
        part.bytes[i]->egress_bytes = metered->days[i].bytes.egress;
    }
    return part;
}

static void add_living(struct meter *meter, struct adding *adding)
{
    struct metered *metered;
    struct metered *next;

    lock_scope(&meter->mutex);
    HASH_ITER(hh, meter->living, metered, next)
    {
        struct seen *seen;

        if (strcmp(metered->project_id, adding->query->project_id) != 0)
            continue;
        seen = arena_alloc(adding->arena, sizeof(*seen));
        memcpy(seen->sandbox_id, metered->sandbox_id, sizeof(seen->sandbox_id));
        HASH_ADD_STR(adding->seen, sandbox_id, seen);
        Crownest__Records__Meter part = living_part(metered, adding->arena);

        adding->sandbox_id = metered->sandbox_id;
        usage_row_each(&part, meter_now(&part), add, adding);
    }
}

/* The key ends in `<yyyymmdd>/<sandbox>`. */
static bool visit_row(void *arg, struct bytes key, struct bytes value)
{
    struct adding *adding = arg;
    struct schema_key text = {0};
    struct seen *seen;

    if (key.size >= sizeof(text.text))
        return true;
    memcpy(text.text, key.data, key.size);
    const char *sandbox_id = strrchr(text.text, '/');

    if (!sandbox_id || sandbox_id - text.text < 8)
        return true;
    uint32_t day = (uint32_t)strtoul(sandbox_id - 8, NULL, 10);

    sandbox_id++;
    if (day > adding->query->to_day)
        return false;
    HASH_FIND_STR(adding->seen, sandbox_id, seen);
    if (seen)
        return true;
    struct arena *arena = arena_new(ROW_ARENA_BYTES);
    Crownest__Records__UsageRow *row =
        crownest__records__usage_row__unpack(arena_allocator(arena), value.size, value.data);

    adding->sandbox_id = sandbox_id;
    if (row)
        add(adding, day, row);
    arena_free(arena);
    return !adding->too_many;
}

static Crownest__V1__Usage *usage_new(const struct sum *sum, struct arena *arena)
{
    Crownest__V1__Usage *usage = arena_alloc(arena, sizeof(*usage));

    crownest__v1__usage__init(usage);
    usage->sandboxes = sum->sandboxes;
    usage->running_usec = sum->running_us;
    usage->paused_usec = sum->paused_us;
    usage->compute_unit_usec = amount_unit_us(sum->units);
    usage->amount_usd_micros = amount_usd_micros(sum->money);
    usage->log_bytes = sum->bytes.log;
    usage->artifact_bytes = sum->bytes.artifact;
    usage->egress_bytes = sum->bytes.egress;
    return usage;
}

static int by_name(const struct group *a, const struct group *b)
{
    return strcmp(a->name, b->name);
}

static void fill(struct adding *adding, Crownest__V1__GetUsageResponse *response)
{
    struct arena *arena = adding->arena;
    struct group *group;
    struct group *next;

    HASH_SRT(hh, adding->groups, by_name);
    response->groups =
        arena_alloc(arena, (HASH_COUNT(adding->groups) + 1) * sizeof(*response->groups));
    HASH_ITER(hh, adding->groups, group, next)
    {
        Crownest__V1__Usage *usage = usage_new(&group->sum, arena);
        char day[DAY_TEXT_SIZE];

        day_text(group->day, day);
        if (adding->query->group_by == CROWNEST__V1__USAGE_GROUP__USAGE_GROUP_DAY)
            usage->day = arena_strdup(arena, day);
        else if (adding->query->group_by == CROWNEST__V1__USAGE_GROUP__USAGE_GROUP_KEY)
            usage->key_id = group->name;
        else if (adding->query->group_by == CROWNEST__V1__USAGE_GROUP__USAGE_GROUP_SANDBOX)
            usage->sandbox_id = group->name;
        response->groups[response->n_groups++] = usage;
    }
    response->total = usage_new(&adding->total, arena);
}

struct status usage_get(struct meter *meter, const struct usage_query *query, struct arena *arena,
                        Crownest__V1__GetUsageResponse *response)
{
    struct adding adding = {.query = query, .arena = arena};
    struct schema_key rows = schema_key("ud", query->project_id, "", NULL);
    struct schema_key start = usage_row_key(query->project_id, query->from_day, "");

    add_living(meter, &adding);
    int r = store_scan(meter->store, schema_bytes(&rows), schema_bytes(&start), STORE_ASCENDING,
                       visit_row, &adding);

    if (r == 0 && !adding.too_many)
        fill(&adding, response);
    HASH_CLEAR(hh, adding.groups);
    HASH_CLEAR(hh, adding.seen);
    if (r < 0)
        return status_unavailable("STORE_FAILED", "the database cannot be read");
    if (adding.too_many)
        return status_error(STATUS_RESOURCE_EXHAUSTED, "TOO_MANY_GROUPS",
                            "more than %d groups: ask for fewer days, or one key",
                            USAGE_GROUPS_MAX);
    return STATUS_OK_VALUE;
}
