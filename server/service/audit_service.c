#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/audit/cursor.h"
#include "server/audit/entry.h"
#include "server/service/check.h"
#include "server/service/service.h"
#include "server/util/cleanup.h"
#include "server/util/container_of.h"
#include "server/util/limits.h"

#define VISITED_AT_ONCE 256 /* by one pull of a stream */
#define WORD_MAX CHECK_WORD_MAX

static struct status damaged(void)
{
    return status_error(STATUS_DATA_LOSS, "AUDIT_DAMAGED",
                        "an entry of the audit is missing or cannot be read; `crownest audit "
                        "export` and `crownest audit verify` name it");
}

/* Which project: that of the caller, or all. */
static struct status fill_project(const struct rpc_call *call, bool all,
                                  struct audit_filter *filter)
{
    const struct rpc_caller *caller = rpc_call_caller(call);

    if (all && !caller->operator)
        return status_at(status_error(STATUS_PERMISSION_DENIED, "OPERATOR_ONLY",
                                      "a key sees the entries of its own project"),
                         "all_projects");
    filter->project_id = all ? "" : caller->project_id;
    return STATUS_OK_VALUE;
}

static struct status parse_token(const char *token, uint64_t *ret_from)
{
    char *end;

    *ret_from = UINT64_MAX;
    if (token[0] == '\0')
        return STATUS_OK_VALUE;
    *ret_from = strtoull(token, &end, 16);
    if (*end || strlen(token) != STORE_SEQUENCE_SIZE - 1 || !isxdigit((unsigned char)token[0]))
        return status_invalid("page_token", "PAGE_TOKEN_INVALID",
                              "a page_token is the next_page_token of the page before");
    return STATUS_OK_VALUE;
}

static struct status fill_list_filter(const struct rpc_call *call,
                                      const Crownest__V1__ListAuditRequest *request,
                                      struct audit_filter *filter)
{
    *filter = (struct audit_filter){.actor = request->actor,
                                    .resource_id = request->resource_id,
                                    .actions = {request->action},
                                    .action_count = request->action[0] ? 1 : 0,
                                    .outcome = request->outcome};
    struct status status = fill_project(call, request->all_projects, filter);

    if (status_is_ok(&status))
        status = check_word("actor", request->actor);
    if (status_is_ok(&status))
        status = check_word("resource_id", request->resource_id);
    if (status_is_ok(&status))
        status = check_word("action", request->action);
    if (status_is_ok(&status) && request->page_size > LIMIT_PAGE)
        status =
            status_invalid("page_size", "PAGE_SIZE_INVALID", "a page holds at most %d", LIMIT_PAGE);
    return status;
}

struct status service_audit_list(struct rpc_call *call,
                                 const Crownest__V1__ListAuditRequest *request,
                                 Crownest__V1__ListAuditResponse *response)
{
    struct arena *arena = rpc_call_arena(call);
    struct audit_cursor *cursor = arena_alloc(arena, sizeof(*cursor));
    size_t size = request->page_size ? request->page_size : LIMIT_PAGE_DEFAULT;
    struct audit_filter filter;
    uint64_t from;
    struct status status = fill_list_filter(call, request, &filter);
    int r = 1;

    if (status_is_ok(&status))
        status = parse_token(request->page_token, &from);
    if (!status_is_ok(&status))
        return status;
    audit_cursor_init(cursor, service_of(call)->store, &filter, STORE_DESCENDING, from);
    response->entries = arena_alloc(arena, size * sizeof(*response->entries));
    while (response->n_entries < size && r > 0) {
        r = audit_cursor_next(cursor, LIMIT_AUDIT_VISITED, arena,
                              &response->entries[response->n_entries]);
        response->n_entries += r > 0;
    }
    if (r < 0 && r != -EAGAIN)
        return damaged();
    uint64_t next = r == 0 ? 0 : audit_cursor_position(cursor);

    if (next > 0) {
        response->next_page_token = arena_alloc(arena, STORE_SEQUENCE_SIZE);
        store_sequence_text(next, response->next_page_token);
    }
    return STATUS_OK_VALUE;
}

/* Following */

struct watch {
    struct audit *audit;
    struct audit_follower follower;
    struct rpc_waker *waker;
    struct audit_cursor cursor;
    uint64_t told; /* the client knows that nothing fits up to here */
    char project_id[ID_SIZE];
    char resource_id[WORD_MAX + 1];
    char actions[AUDIT_ACTIONS_MAX][WORD_MAX + 1];
};

static atomic_uint watches;

static void watch_grown(struct audit_follower *follower)
{
    rpc_waker_wake(container_of(follower, struct watch, follower)->waker);
}

static struct status check_watch(const Crownest__V1__WatchAuditRequest *request)
{
    struct status status = check_word("resource_id", request->resource_id);

    if (status_is_ok(&status))
        status = check_actions(request->actions, request->n_actions);
    if (status_is_ok(&status) && request->live_only && request->after_sequence > 0)
        status = status_invalid("live_only", "WATCH_INVALID",
                                "after_sequence says where to go on from; with live_only it is 0");
    return status;
}

/* The filter's strings, which the request does not keep. */
static void watch_keep(struct watch *watch, const Crownest__V1__WatchAuditRequest *request,
                       struct audit_filter *filter)
{
    (void)snprintf(watch->project_id, sizeof(watch->project_id), "%s", filter->project_id);
    (void)snprintf(watch->resource_id, sizeof(watch->resource_id), "%s", request->resource_id);
    *filter = (struct audit_filter){.project_id = watch->project_id,
                                    .actor = "",
                                    .resource_id = watch->resource_id,
                                    .action_count = request->n_actions};
    for (size_t i = 0; i < request->n_actions; i++) {
        (void)snprintf(watch->actions[i], sizeof(watch->actions[i]), "%s", request->actions[i]);
        filter->actions[i] = watch->actions[i];
    }
}

static struct status watch_open(struct rpc_call *call, const void *request, void **ret_state)
{
    const Crownest__V1__WatchAuditRequest *asked = request;
    struct service *service = service_of(call);
    struct audit_filter filter;
    struct status status = check_watch(asked);

    if (status_is_ok(&status))
        status = fill_project(call, asked->all_projects, &filter);
    if (!status_is_ok(&status))
        return status;
    if (atomic_fetch_add(&watches, 1) >= LIMIT_AUDIT_WATCHES) {
        atomic_fetch_sub(&watches, 1);
        return status_error(STATUS_RESOURCE_EXHAUSTED, "WATCH_LIMIT",
                            "%d streams of the audit are open; end one first", LIMIT_AUDIT_WATCHES);
    }
    struct watch *watch = calloc(1, sizeof(*watch));

    if (!watch)
        abort();
    watch_keep(watch, asked, &filter);
    watch->told = asked->live_only ? store_last_entry(service->store) : asked->after_sequence;
    audit_cursor_init(&watch->cursor, service->store, &filter, STORE_ASCENDING, watch->told + 1);
    /* Its first response says so. */
    watch->told = UINT64_MAX;
    watch->audit = service->audit;
    watch->waker = rpc_call_waker(call);
    watch->follower.grown = watch_grown;
    audit_follow(service->audit, &watch->follower);
    *ret_state = watch;
    return STATUS_OK_VALUE;
}

static enum rpc_pull watch_pull(struct rpc_call *call, void *state, void *response,
                                struct status *ret_status)
{
    struct watch *watch = state;
    Crownest__V1__WatchAuditResponse *message = response;
    uint64_t last = store_last_entry(watch->cursor.store);
    int r =
        audit_cursor_next(&watch->cursor, VISITED_AT_ONCE, rpc_call_arena(call), &message->entry);

    if (r > 0) {
        message->sequence = message->entry->sequence;
        watch->told = message->sequence;
        return RPC_PULL_MESSAGE;
    }
    message->entry = NULL;
    if (r < 0 && r != -EAGAIN) {
        *ret_status = damaged();
        return RPC_PULL_END;
    }
    if (r == -EAGAIN) {
        message->sequence = watch->cursor.numbers[watch->cursor.at] - 1;
        watch->told = message->sequence;
        return RPC_PULL_MESSAGE;
    }
    if (watch->told == UINT64_MAX || last >= watch->told + VISITED_AT_ONCE) {
        message->sequence = last;
        watch->told = last;
        return RPC_PULL_MESSAGE;
    }
    return RPC_PULL_WAIT;
}

static void watch_close(void *state)
{
    struct watch *watch = state;

    audit_unfollow(watch->audit, &watch->follower);
    rpc_waker_unref(watch->waker);
    free(watch);
    atomic_fetch_sub(&watches, 1);
}

const struct rpc_server_stream_ops service_audit_watch = {
    .open = watch_open, .pull = watch_pull, .close = watch_close};

/* Exporting */

struct export
{
    struct store *store;
    uint64_t next;
    uint64_t last;
};

static struct status export_open(struct rpc_call *call, const void *request, void **ret_state)
{
    const Crownest__V1__ExportAuditRequest *asked = request;
    struct service *service = service_of(call);

    if (asked->to_sequence > 0 && asked->to_sequence < asked->from_sequence)
        return status_invalid("to_sequence", "RANGE_INVALID", "it lies before from_sequence");
    /* So that the end of the file is signed; what cannot be signed now is exported all the same. */
    if (asked->to_sequence == 0)
        (void)audit_checkpoint(service->audit);
    struct export *export = calloc(1, sizeof(*export));

    if (!export)
        abort();
    export->store = service->store;
    export->next = asked->from_sequence ? asked->from_sequence : 1;
    export->last = store_last_entry(service->store);
    if (asked->to_sequence > 0 && asked->to_sequence < export->last)
        export->last = asked->to_sequence;
    *ret_state = export;
    return STATUS_OK_VALUE;
}

static enum rpc_pull export_pull(struct rpc_call *call, void *state, void *response,
                                 struct status *ret_status)
{
    struct export *export = state;
    Crownest__V1__ExportAuditResponse *message = response;
    cleanup_buf struct buf lines = {0};
    struct arena *arena = rpc_call_arena(call);

    while (export->next <= export->last && lines.size < LIMIT_STREAM_CHUNK / 2) {
        Crownest__V1__AuditEntry *entry;

        if (entry_read(export->store, export->next, arena, &entry) < 0) {
            *ret_status =
                status_error(STATUS_DATA_LOSS, "AUDIT_DAMAGED",
                             "entry %" PRIu64 " is missing or cannot be read", export->next);
            return RPC_PULL_END;
        }
        entry_line(entry, &lines);
        export->next++;
    }
    *ret_status = STATUS_OK_VALUE;
    if (lines.size == 0)
        return RPC_PULL_END;
    message->data.data = arena_memdup(arena, lines.data, lines.size);
    message->data.len = lines.size;
    return RPC_PULL_MESSAGE;
}

const struct rpc_server_stream_ops service_audit_export = {
    .open = export_open, .pull = export_pull, .close = free};

struct status service_audit_get_key(struct rpc_call *call,
                                    const Crownest__V1__GetAuditKeyRequest *request,
                                    Crownest__V1__GetAuditKeyResponse *response)
{
    (void)request;
    response->public_key.data = arena_alloc(rpc_call_arena(call), AUDIT_KEY_SIZE);
    response->public_key.len = AUDIT_KEY_SIZE;
    audit_public_key(service_of(call)->audit, response->public_key.data);
    return STATUS_OK_VALUE;
}

/* Refusals */

/* "SandboxService.Create" is `sandbox.create`. */
static void method_action(const char *name, char *ret_action, size_t size)
{
    const char *service = strstr(name, "Service.");
    size_t at = 0;

    for (const char *c = name; *c && at + 3 < size; c++) {
        if (c == service)
            c += sizeof("Service") - 1;
        if (isupper((unsigned char)*c) && c > name && c[-1] != '.')
            ret_action[at++] = '_';
        ret_action[at++] = (char)tolower((unsigned char)*c);
    }
    ret_action[at] = '\0';
}

void service_denied(struct rpc_call *call, const struct status *status)
{
    struct audit_actor by = service_actor(call);
    char action[64];

    method_action(rpc_call_method(call)->name, action, sizeof(action));
    audit_denied(service_of(call)->audit,
                 &(struct audit_entry){.actor = &by,
                                       .action = action,
                                       .project_id = rpc_call_caller(call)->project_id,
                                       .outcome = AUDIT_DENIED,
                                       .reason = status->reason,
                                       .detail = status->message});
}
