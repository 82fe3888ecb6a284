#include "server/artifact/collect.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "server/artifact/artifacts.h"
#include "server/util/cleanup.h"
#include "server/util/clock.h"
#include "server/util/id.h"
#include "server/util/limits.h"
#include "server/util/path.h"
#include "server/util/prototime.h"
#include "server/util/utf8.h"

#define NAME_BYTES_MAX 255

/* One collection: the files that were opened, before any is copied. */
struct collection {
    const struct collect_options *options;
    struct arena *arena;
    uint64_t bytes_left;
    size_t count;
    struct found {
        int fd;
        const char *name;
        const char *path;
    } files[LIMIT_COLLECT_FILES];
};

static char *item_field(struct arena *arena, const char *field, size_t item, const char *member)
{
    return arena_printf(arena, "%s[%zu].%s", field, item, member);
}

static struct status check_name(const Crownest__V1__CollectItem *item, const char *field)
{
    if (item->name[0] == '\0')
        return STATUS_OK_VALUE;
    if (path_is_glob(item->path))
        return status_invalid(field, "COLLECT_NAME_INVALID",
                              "a name goes with a path without wildcards");
    if (strlen(item->name) > NAME_BYTES_MAX || strchr(item->name, '/'))
        return status_invalid(field, "COLLECT_NAME_INVALID",
                              "a name has at most %d bytes and no `/`", NAME_BYTES_MAX);
    return STATUS_OK_VALUE;
}

struct status collect_check(Crownest__V1__CollectItem *const *items, size_t count,
                            const char *field)
{
    struct status status = STATUS_OK_VALUE;

    if (count > LIMIT_COLLECT_ITEMS)
        return status_invalid(field, "COLLECT_TOO_MANY", "at most %d items can be collected",
                              LIMIT_COLLECT_ITEMS);
    for (size_t i = 0; i < count && status_is_ok(&status); i++) {
        char at[64];

        (void)snprintf(at, sizeof(at), "%.40s[%zu].path", field, i);
        status = path_check(items[i]->path, at, "COLLECT_PATH_INVALID");
        (void)snprintf(at, sizeof(at), "%.40s[%zu].name", field, i);
        if (status_is_ok(&status))
            status = check_name(items[i], at);
    }
    return status;
}

static struct status open_failed(int error, const char *path)
{
    switch (-error) {
    case ENOENT:
    case ENOTDIR:
        return status_error(STATUS_NOT_FOUND, "COLLECT_NO_MATCH", "no file at %.200s", path);
    case EACCES:
    case EPERM:
        return status_error(STATUS_PERMISSION_DENIED, "COLLECT_PERMISSION",
                            "the sandbox's user may not read %.200s", path);
    case ELOOP:
    case EISDIR:
    case EINVAL:
    case ENXIO:
    case EXDEV:
        return status_error(STATUS_FAILED_PRECONDITION, "COLLECT_NOT_REGULAR",
                            "%.200s is not a regular file, or a symlink leads to it: collect the "
                            "file itself",
                            path);
    default:
        return status_unavailable("COLLECT_FAILED", "%.200s could not be opened: %s", path,
                                  strerror(-error));
    }
}

static struct status open_file(struct collection *collection, const char *path, const char *name)
{
    struct found *found = &collection->files[collection->count];
    uint64_t size;
    struct stat st;

    if (collection->count == LIMIT_COLLECT_FILES)
        return status_error(STATUS_RESOURCE_EXHAUSTED, "COLLECT_TOO_MANY",
                            "more than %d files match", LIMIT_COLLECT_FILES);
    int r = nest_read(collection->options->nest, path, NEST_NO_SYMLINKS, &found->fd, &size);

    if (r < 0)
        return open_failed(r, path);
    /* nest-init looked already; it is not believed. */
    if (fstat(found->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        (void)close(found->fd);
        return open_failed(-EINVAL, path);
    }
    found->path = arena_strdup(collection->arena, path);
    found->name = arena_strdup(collection->arena, name);
    collection->count++;
    return STATUS_OK_VALUE;
}

struct glob_walk {
    struct arena *arena;
    size_t count;
    const char *paths[LIMIT_COLLECT_FILES + 1];
};

static bool glob_visit(void *arg, const struct nest_entry *entry, struct bytes name)
{
    struct glob_walk *walk = arg;

    if (!S_ISREG(entry->type))
        return true;
    char *path = arena_alloc(walk->arena, name.size + 1);

    memcpy(path, name.data, name.size);
    /* A name that is no path of ours cannot be asked for again. */
    if (strlen(path) == name.size && path[0] == '/' && !strstr(path, "/../"))
        walk->paths[walk->count++] = path;
    return walk->count <= LIMIT_COLLECT_FILES;
}

static struct status open_matches(struct collection *collection, const char *pattern)
{
    struct glob_walk walk = {.arena = collection->arena};
    struct status status = STATUS_OK_VALUE;
    int r = nest_glob(collection->options->nest, pattern, glob_visit, &walk);

    if (r < 0)
        return open_failed(r, pattern);
    if (walk.count == 0)
        return open_failed(-ENOENT, pattern);
    for (size_t i = 0; i < walk.count && status_is_ok(&status); i++)
        status = open_file(collection, walk.paths[i], path_base(walk.paths[i]));
    return status;
}

static struct status open_item(struct collection *collection, const Crownest__V1__CollectItem *item)
{
    if (path_is_glob(item->path))
        return open_matches(collection, item->path);
    return open_file(collection, item->path, item->name[0] ? item->name : path_base(item->path));
}

static Crownest__V1__Artifact *artifact_new(const struct collection *collection,
                                            const struct found *file, const char *digest,
                                            uint64_t size)
{
    const struct collect_options *options = collection->options;
    struct arena *arena = collection->arena;
    Crownest__V1__Artifact *artifact = arena_alloc(arena, sizeof(*artifact));
    char id[ID_SIZE];

    id_make("art_", id);
    crownest__v1__artifact__init(artifact);
    artifact->artifact_id = arena_strdup(arena, id);
    artifact->project_id = arena_strdup(arena, options->project_id);
    artifact->sandbox_id = arena_strdup(arena, options->sandbox_id);
    artifact->command_id = arena_strdup(arena, options->command_id);
    artifact->name = utf8_lossy(arena, bytes_of_string(file->name));
    artifact->path = utf8_lossy(arena, bytes_of_string(file->path));
    artifact->size_bytes = size;
    artifact->digest = arena_strdup(arena, digest);
    artifact->create_time = prototime_from_us(arena, clock_wall_us());
    return artifact;
}

/* Counts it, once its size is known; what is refused is not kept. */
static struct status count_file(struct collection *collection, const char *digest, uint64_t size)
{
    const struct collect_options *options = collection->options;
    struct quota_amounts amounts = {{[QUOTA_ARTIFACT_BYTES] = size}};
    struct status status = quota_take(options->quotas, options->project_id, &amounts);

    if (!status_is_ok(&status))
        blob_unpin(options->blobs, digest);
    return status;
}

/* Whether it is the plan that has no room for more than so much. */
static struct status check_room(const struct collection *collection, uint64_t limit)
{
    const struct collect_options *options = collection->options;
    struct quota_amounts amounts = {{[QUOTA_ARTIFACT_BYTES] = limit + 1}};
    struct status status = quota_take(options->quotas, options->project_id, &amounts);

    if (status_is_ok(&status))
        quota_give(options->quotas, options->project_id, &amounts);
    return status;
}

static struct status copy_failed(const struct found *file, int error)
{
    if (error == -EFBIG)
        return status_error(STATUS_RESOURCE_EXHAUSTED, "ARTIFACT_TOO_LARGE",
                            "%.160s is larger than %llu bytes, or makes its collection larger than "
                            "%llu",
                            file->path, LIMIT_ARTIFACT_BYTES, LIMIT_COLLECT_BYTES);
    if (error == -ENOSPC || error == -EDQUOT)
        return status_unavailable("DISK_FULL",
                                  "the service's disk has no room for %.160s: ask its operator to "
                                  "make room, then try again",
                                  file->path);
    return status_unavailable("ARTIFACT_STORE_FAILED", "%.200s could not be stored: %s", file->path,
                              strerror(-error));
}

static struct status keep_file(struct collection *collection, const struct found *file,
                               struct collect_result *result)
{
    char digest[BLOB_DIGEST_SIZE];
    uint64_t size;
    uint64_t limit = collection->bytes_left < LIMIT_ARTIFACT_BYTES ? collection->bytes_left
                                                                   : LIMIT_ARTIFACT_BYTES;
    uint64_t left = quota_left(collection->options->quotas, collection->options->project_id,
                               QUOTA_ARTIFACT_BYTES);
    struct status status = STATUS_OK_VALUE;

    if (left < limit)
        limit = left;
    int r = blob_put(collection->options->blobs, file->fd, limit, digest, &size, NULL);

    if (r == -EFBIG && left == limit)
        status = check_room(collection, limit);
    if (r < 0)
        return status_is_ok(&status) ? copy_failed(file, r) : status;
    status = count_file(collection, digest, size);
    if (!status_is_ok(&status))
        return status;
    collection->bytes_left -= size;
    result->artifacts[result->artifact_count++] = artifact_new(collection, file, digest, size);
    return status;
}

static void collection_start(struct collection *collection, const struct collect_options *options,
                             struct arena *arena, struct collect_result *result)
{
    collection->options = options;
    collection->arena = arena;
    collection->bytes_left = LIMIT_COLLECT_BYTES;
    collection->count = 0;
    *result = (struct collect_result){0};
    result->artifacts = arena_alloc(arena, LIMIT_COLLECT_FILES * sizeof(*result->artifacts));
    result->failures = arena_alloc(arena, (options->item_count + 1) * sizeof(*result->failures));
}

static void collection_close(struct collection *collection)
{
    for (size_t i = 0; i < collection->count; i++)
        (void)close(collection->files[i].fd);
    collection->count = 0;
}

struct status collect_all(const struct collect_options *options, struct arena *arena,
                          struct collect_result *ret_result)
{
    struct collection collection;
    struct status status = STATUS_OK_VALUE;

    collection_start(&collection, options, arena, ret_result);
    for (size_t i = 0; i < options->item_count && status_is_ok(&status); i++) {
        status = open_item(&collection, options->items[i]);
        if (!status_is_ok(&status))
            status = status_at(status, item_field(arena, options->field, i, "path"));
    }
    for (size_t i = 0; i < collection.count && status_is_ok(&status); i++)
        status = keep_file(&collection, &collection.files[i], ret_result);
    collection_close(&collection);
    if (!status_is_ok(&status))
        collect_settle(options, ret_result, false);
    return status;
}

void collect_settle(const struct collect_options *options, const struct collect_result *result,
                    bool recorded)
{
    for (size_t i = 0; i < result->artifact_count; i++) {
        const Crownest__V1__Artifact *artifact = result->artifacts[i];
        struct quota_amounts amounts = {{[QUOTA_ARTIFACT_BYTES] = artifact->size_bytes}};

        blob_unpin(options->blobs, artifact->digest);
        if (!recorded)
            quota_give(options->quotas, options->project_id, &amounts);
    }
}

static void add_failure(struct collect_result *result, struct arena *arena, const char *path,
                        const struct status *status)
{
    Crownest__V1__CollectFailure *failure = arena_alloc(arena, sizeof(*failure));

    crownest__v1__collect_failure__init(failure);
    failure->path = arena_strdup(arena, path);
    failure->reason = arena_strdup(arena, status->reason);
    failure->message = arena_strdup(arena, status->message);
    result->failures[result->failure_count++] = failure;
}

void collect_some(const struct collect_options *options, struct arena *arena,
                  struct collect_result *ret_result)
{
    struct collection collection;

    collection_start(&collection, options, arena, ret_result);
    for (size_t i = 0; i < options->item_count; i++) {
        struct status status = open_item(&collection, options->items[i]);

        for (size_t f = 0; f < collection.count && status_is_ok(&status); f++) {
            if (ret_result->artifact_count < LIMIT_COLLECT_FILES)
                status = keep_file(&collection, &collection.files[f], ret_result);
        }
        collection_close(&collection);
        if (!status_is_ok(&status))
            add_failure(ret_result, arena, options->items[i]->path, &status);
    }
}

uint64_t collect_bytes(const struct collect_result *result)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < result->artifact_count; i++)
        bytes += result->artifacts[i]->size_bytes;
    return bytes;
}

void collect_record(struct store_batch *batch, const struct collect_result *result,
                    const struct audit_actor *by)
{
    for (size_t i = 0; i < result->artifact_count; i++) {
        const Crownest__V1__Artifact *artifact = result->artifacts[i];

        artifact_put(batch, artifact);
        audit_add(batch, &(struct audit_entry){.actor = by,
                                               .action = "artifact.collect",
                                               .resource_id = artifact->artifact_id,
                                               .project_id = artifact->project_id,
                                               .sandbox_id = artifact->sandbox_id,
                                               .detail = artifact->digest});
    }
}
