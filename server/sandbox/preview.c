#include "server/sandbox/preview.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/store/record.h"
#include "server/util/clock.h"
#include "server/util/limits.h"
#include "server/util/prototime.h"

#define ARENA_BYTES (64U << 10)

struct audit_entry preview_entry(const Crownest__V1__Preview *preview, const char *action,
                                 const struct audit_actor *by)
{
    return (struct audit_entry){.actor = by,
                                .action = action,
                                .resource_id = preview->preview_id,
                                .project_id = preview->project_id,
                                .sandbox_id = preview->sandbox_id};
}

static void put_preview(struct store_batch *batch, Crownest__V1__Preview *preview,
                        char ret_token[SECRET_SIZE])
{
    Crownest__Records__PreviewRecord record = CROWNEST__RECORDS__PREVIEW_RECORD__INIT;
    struct schema_key key = schema_key("p", preview->project_id, preview->preview_id, NULL);
    uint8_t hash[SECRET_HASH_SIZE];

    secret_make("cnp_", ret_token);
    secret_hash(ret_token, strlen(ret_token), hash);
    record.preview = preview;
    record.token_hash = (ProtobufCBinaryData){.data = hash, .len = sizeof(hash)};
    record_put(batch, &key, &record.base);
}

/* The host's label is the id with `-` for `_`, which no host name holds. */
static char *preview_url(const struct previews *previews, const char *id, struct arena *arena)
{
    char *url =
        arena_printf(arena, "http://%s.%s:%u/", id, previews->domain, (unsigned)previews->port);
    char *underscore = strchr(url, '_');

    if (underscore)
        *underscore = '-';
    return url;
}

static bool count_visit(void *arg, struct bytes key, struct bytes value)
{
    unsigned *count = arg;

    (void)key;
    (void)value;
    return ++*count < LIMIT_PREVIEWS_PER_SANDBOX;
}

struct status preview_create(const struct previews *previews, const struct sandbox *sandbox,
                             uint32_t port, struct store_batch *batch, struct arena *arena,
                             Crownest__V1__Preview **ret_preview, char ret_token[SECRET_SIZE])
{
    const char *project_id = sandbox_project(sandbox);
    struct schema_key all = schema_key("ps", project_id, sandbox_id(sandbox), "");
    unsigned count = 0;
    char id[ID_SIZE];

    (void)store_scan(previews->store, schema_bytes(&all), bytes_of(NULL, 0), STORE_ASCENDING,
                     count_visit, &count);
    if (count >= LIMIT_PREVIEWS_PER_SANDBOX)
        return status_error(STATUS_RESOURCE_EXHAUSTED, "PREVIEW_LIMIT",
                            "the sandbox has its maximum of %d previews; delete one first",
                            LIMIT_PREVIEWS_PER_SANDBOX);
    Crownest__V1__Preview *preview = arena_alloc(arena, sizeof(*preview));

    id_make("prv_", id);
    crownest__v1__preview__init(preview);
    preview->preview_id = arena_strdup(arena, id);
    preview->project_id = arena_strdup(arena, project_id);
    preview->sandbox_id = arena_strdup(arena, sandbox_id(sandbox));
    preview->port = port;
    preview->url = preview_url(previews, id, arena);
    preview->create_time = prototime_from_us(arena, clock_wall_us());
    struct schema_key owner = schema_key("pi", id, NULL, NULL);
    struct schema_key by_sandbox = schema_key("ps", project_id, sandbox_id(sandbox), id);

    put_preview(batch, preview, ret_token);
    record_put_string(batch, &owner, project_id);
    record_put_string(batch, &by_sandbox, "");
    *ret_preview = preview;
    return STATUS_OK_VALUE;
}

static int read_preview(const struct previews *previews, const char *project_id,
                        const char *preview_id, struct arena *arena,
                        Crownest__Records__PreviewRecord **ret_record)
{
    struct schema_key key = schema_key("p", project_id, preview_id, NULL);

    if (!id_valid("prv_", preview_id))
        return -ENOENT;
    return record_get(previews->store, &key, &crownest__records__preview_record__descriptor, arena,
                      ret_record);
}

struct status preview_get(const struct previews *previews, const char *project_id,
                          const char *preview_id, struct arena *arena,
                          Crownest__V1__Preview **ret_preview)
{
    Crownest__Records__PreviewRecord *record;

    if (read_preview(previews, project_id, preview_id, arena, &record) < 0)
        return status_at(status_error(STATUS_NOT_FOUND, "PREVIEW_NOT_FOUND",
                                      "no preview with this id in this project"),
                         "preview_id");
    *ret_preview = record->preview;
    return STATUS_OK_VALUE;
}

struct status preview_renew(const struct previews *previews, const char *project_id,
                            const char *preview_id, struct store_batch *batch, struct arena *arena,
                            Crownest__V1__Preview **ret_preview, char ret_token[SECRET_SIZE])
{
    struct status status = preview_get(previews, project_id, preview_id, arena, ret_preview);

    if (status_is_ok(&status))
        put_preview(batch, *ret_preview, ret_token);
    return status;
}

struct status preview_delete(const struct previews *previews, const char *project_id,
                             const char *preview_id, const struct audit_actor *by,
                             struct arena *arena, Crownest__V1__Preview **ret_preview)
{
    struct status status = preview_get(previews, project_id, preview_id, arena, ret_preview);

    if (!status_is_ok(&status))
        return status;
    struct audit_entry entry = preview_entry(*ret_preview, "preview.delete", by);
    struct schema_key key = schema_key("p", project_id, preview_id, NULL);
    struct schema_key owner = schema_key("pi", preview_id, NULL, NULL);
    struct schema_key by_sandbox =
        schema_key("ps", project_id, (*ret_preview)->sandbox_id, preview_id);
    struct store_batch *batch = store_batch_new();

    audit_add(batch, &entry);
    record_delete(batch, &key);
    record_delete(batch, &owner);
    record_delete(batch, &by_sandbox);
    return record_commit(previews->store, batch);
}

/* The record of a preview whose project is not known, and its sandbox when that runs. */
static enum preview_state find(const struct previews *previews, const char *preview_id,
                               struct arena *arena, Crownest__Records__PreviewRecord **ret_record,
                               struct sandbox **ret_sandbox)
{
    struct schema_key owner = schema_key("pi", preview_id, NULL, NULL);
    char project_id[ID_SIZE];

    if (!id_valid("prv_", preview_id) ||
        record_get_string(previews->store, &owner, project_id, sizeof(project_id)) < 0 ||
        read_preview(previews, project_id, preview_id, arena, ret_record) < 0 ||
        (*ret_record)->token_hash.len != SECRET_HASH_SIZE)
        return PREVIEW_MISSING;
    struct status status = sandboxes_running(previews->sandboxes, project_id,
                                             (*ret_record)->preview->sandbox_id, ret_sandbox);

    return status_is_ok(&status) ? PREVIEW_OPEN : PREVIEW_ENDED;
}

enum preview_state preview_look(const struct previews *previews, const char *preview_id,
                                uint8_t ret_token_hash[SECRET_HASH_SIZE],
                                char ret_sandbox_id[ID_SIZE])
{
    struct arena *arena = arena_new(ARENA_BYTES);
    Crownest__Records__PreviewRecord *record;
    struct sandbox *sandbox = NULL;
    enum preview_state state = find(previews, preview_id, arena, &record, &sandbox);

    if (state != PREVIEW_MISSING) {
        memcpy(ret_token_hash, record->token_hash.data, SECRET_HASH_SIZE);
        (void)snprintf(ret_sandbox_id, ID_SIZE, "%s", record->preview->sandbox_id);
    }
    sandbox_unref(sandbox);
    arena_free(arena);
    return state;
}

int preview_connect(const struct previews *previews, const char *preview_id)
{
    struct arena *arena = arena_new(ARENA_BYTES);
    Crownest__Records__PreviewRecord *record;
    struct sandbox *sandbox = NULL;
    int fd = -ENOENT;

    if (find(previews, preview_id, arena, &record, &sandbox) == PREVIEW_OPEN) {
        int r = nest_connect(sandbox_nest(sandbox), (uint16_t)record->preview->port, &fd);

        fd = r < 0 ? r : fd;
    }
    sandbox_unref(sandbox);
    arena_free(arena);
    return fd;
}
