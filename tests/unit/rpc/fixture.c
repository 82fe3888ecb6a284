#include "tests/unit/rpc/fixture.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/descriptors.h"
#include "server/util/cleanup.h"

struct fixture fixture = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void count(unsigned *counter)
{
    lock_scope(&fixture.mutex);
    (*counter)++;
    (void)pthread_cond_broadcast(&fixture.changed);
}

static void wait_while_held(void)
{
    lock_scope(&fixture.mutex);
    fixture.blocked++;
    (void)pthread_cond_broadcast(&fixture.changed);
    while (fixture.hold)
        (void)pthread_cond_wait(&fixture.changed, &fixture.mutex);
    fixture.blocked--;
}

unsigned fixture_read(const unsigned *counter)
{
    lock_scope(&fixture.mutex);
    return *counter;
}

void fixture_wait(const unsigned *counter, unsigned value)
{
    struct timespec end;
    int code = 0;

    (void)clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 20;
    lock_scope(&fixture.mutex);
    while (*counter < value && code == 0)
        code = pthread_cond_timedwait(&fixture.changed, &fixture.mutex, &end);
    assert_true(*counter >= value);
}

void fixture_hold(bool hold)
{
    lock_scope(&fixture.mutex);
    fixture.hold = hold;
    (void)pthread_cond_broadcast(&fixture.changed);
}

/* Handlers */

/* As a handler does that asks now and then. */
static void work_until_cancelled(struct rpc_call *call)
{
    count(&fixture.endless);
    while (!rpc_call_cancelled(call))
        (void)usleep(1000);
    count(&fixture.cancelled);
}

static struct status get(struct rpc_call *call, const void *request_message, void *response_message)
{
    const Crownest__V1__GetSandboxRequest *request = request_message;
    Crownest__V1__GetSandboxResponse *response = response_message;

    if (strcmp(request->sandbox_id, "error") == 0) {
        struct status status =
            status_invalid("sandbox_id", "SANDBOX_ID_INVALID", "%s", "not an id \xc3\xa4");

        status.retryable = true;
        status.retry_after_ms = 1500;
        status.admitted = STATUS_ADMITTED_UNKNOWN;
        return status;
    }
    if (strcmp(request->sandbox_id, "block") == 0)
        wait_while_held();
    if (strcmp(request->sandbox_id, "endless") == 0)
        work_until_cancelled(call);
    response->sandbox = arena_alloc(rpc_call_arena(call), sizeof(*response->sandbox));
    crownest__v1__sandbox__init(response->sandbox);
    response->sandbox->sandbox_id = request->sandbox_id;
    response->sandbox->project_id = (char *)(uintptr_t)rpc_call_caller(call)->project_id;
    return STATUS_OK_VALUE;
}

static struct status unserved(struct rpc_call *call, const void *request, void *response)
{
    (void)request;
    (void)response;
    return status_error(STATUS_INTERNAL, "TEST_UNSERVED", "%s", rpc_call_method(call)->name);
}

struct source {
    enum { COUNT, FLOOD, WAKE, FAIL } kind;
    uint64_t sent, total;
};

static struct status logs_open(struct rpc_call *call, const void *request_message, void **ret_state)
{
    static const char *const kinds[] = {"count", "flood", "wake", "error"};
    const Crownest__V1__StreamLogsRequest *request = request_message;
    struct source *source = calloc(1, sizeof(*source));

    assert_non_null(source);
    source->total = request->offset;
    for (unsigned i = 0; i < 4; i++)
        if (strcmp(request->command_id, kinds[i]) == 0)
            source->kind = i;
    if (source->kind == WAKE) {
        lock_scope(&fixture.mutex);
        rpc_waker_unref(fixture.waker);
        fixture.waker = rpc_call_waker(call);
    }
    *ret_state = source;
    count(&fixture.opens);
    return STATUS_OK_VALUE;
}

static enum rpc_pull logs_pull(struct rpc_call *call, void *state, void *response_message,
                               struct status *ret_status)
{
    struct source *source = state;
    Crownest__V1__StreamLogsResponse *response = response_message;
    struct arena *arena = rpc_call_arena(call);

    count(&fixture.pulls);
    if (source->kind == FAIL) {
        *ret_status = status_error(STATUS_DATA_LOSS, "LOG_DAMAGED", "the log is damaged");
        return RPC_PULL_END;
    }
    if (source->kind == COUNT && source->sent == source->total)
        return RPC_PULL_END;
    if (source->kind == WAKE && source->sent == fixture_read(&fixture.emitted))
        return RPC_PULL_WAIT;
    response->event = arena_alloc(arena, sizeof(*response->event));
    crownest__v1__command_event__init(response->event);
    response->event->event_case = CROWNEST__V1__COMMAND_EVENT__EVENT_OUTPUT;
    response->event->output = arena_alloc(arena, sizeof(*response->event->output));
    crownest__v1__log_output__init(response->event->output);
    response->event->output->offset = source->sent++;
    if (source->kind == FLOOD)
        response->event->output->data =
            (ProtobufCBinaryData){.len = 60000, .data = arena_alloc(arena, 60000)};
    return RPC_PULL_MESSAGE;
}

static void logs_close(void *state)
{
    free(state);
    count(&fixture.closes);
}

static struct status write_open(struct rpc_call *call, void **ret_state)
{
    (void)call;
    *ret_state = &fixture;
    count(&fixture.opens);
    return STATUS_OK_VALUE;
}

static struct status write_message(struct rpc_call *call, void *state, const void *request_message)
{
    const Crownest__V1__WriteFileRequest *request = request_message;

    (void)call;
    (void)state;
    wait_while_held();
    if (request->part_case == CROWNEST__V1__WRITE_FILE_REQUEST__PART_OPEN)
        return status_error(STATUS_FAILED_PRECONDITION, "TEST_REFUSED", "no files here");
    fixture.bytes += request->data.len;
    count(&fixture.messages);
    return STATUS_OK_VALUE;
}

static struct status write_finish(struct rpc_call *call, void *state, void *response_message)
{
    Crownest__V1__WriteFileResponse *response = response_message;

    (void)call;
    (void)state;
    response->size_bytes = fixture.bytes;
    count(&fixture.finishes);
    return STATUS_OK_VALUE;
}

static void write_close(void *state)
{
    (void)state;
    count(&fixture.closes);
}

static struct status may_call(void *context, const struct rpc_caller *caller)
{
    struct fixture *owner = context;

    (void)caller;
    lock_scope(&owner->mutex);
    return owner->revoked
               ? status_error(STATUS_UNAUTHENTICATED, "KEY_REVOKED", "the key was revoked")
               : STATUS_OK_VALUE;
}

static struct status authorize(void *context, struct rpc_call *call, bool local,
                               struct rpc_caller *ret_caller)
{
    struct fixture *owner = context;
    const char *key = rpc_call_metadata(call, "x-key");

    if (key && strcmp(key, "wrong") == 0)
        return status_error(STATUS_UNAUTHENTICATED, "KEY_UNKNOWN", "no such key");
    struct status status = may_call(context, ret_caller);

    if (!status_is_ok(&status))
        return status;
    lock_scope(&owner->mutex);
    owner->blocked += owner->hold_authorize;
    (void)pthread_cond_broadcast(&owner->changed);
    while (owner->hold_authorize)
        (void)pthread_cond_wait(&owner->changed, &owner->mutex);
    owner->local = local;
    ret_caller->operator= local;
    memcpy(ret_caller->project_id, "prj_test", sizeof("prj_test"));
    return STATUS_OK_VALUE;
}

/* Set-up */

static const struct rpc_handler *handlers(void)
{
    static const struct rpc_server_stream_ops logs = {logs_open, logs_pull, logs_close};
    static const struct rpc_client_stream_ops files = {write_open, write_message, write_finish,
                                                       write_close};
    static struct rpc_handler table[RPC_METHOD_COUNT];

    for (unsigned i = 0; i < RPC_METHOD_COUNT; i++) {
        if (rpc_methods[i].client_streaming)
            table[i].client_stream = &files;
        else if (rpc_methods[i].server_streaming)
            table[i].server_stream = &logs;
        else
            table[i].unary = unserved;
    }
    table[RPC_SANDBOX_GET].unary = get;
    return table;
}

void fixture_connect(struct client *client, bool local)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    rpc_server_adopt(fixture.server, pair[0], local);
    client_init(client, pair[1]);
}

int fixture_setup(void **state)
{
    struct rpc_server_options options = {.handlers = handlers(),
                                         .descriptors = descriptors_bytes(),
                                         .authorize = authorize,
                                         .recheck = may_call,
                                         .context = &fixture};
    struct err err = {0};

    (void)state;
    fixture =
        (struct fixture){.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    if (rpc_server_new(&options, &fixture.server, &err) < 0) {
        print_error("%s\n", err.message);
        return -1;
    }
    fixture_connect(&fixture.client, false);
    return 0;
}

int fixture_teardown(void **state)
{
    (void)state;
    fixture_hold(false);
    client_done(&fixture.client);
    rpc_waker_unref(fixture.waker);
    rpc_server_free(fixture.server);
    return 0;
}

void fixture_emit(void)
{
    lock_scope(&fixture.mutex);
    fixture.emitted++;
    rpc_waker_wake(fixture.waker);
}

void fixture_logs(struct client_call *call, const char *kind, uint64_t offset)
{
    Crownest__V1__StreamLogsRequest request = CROWNEST__V1__STREAM_LOGS_REQUEST__INIT;

    request.command_id = (char *)(uintptr_t)kind;
    request.offset = offset;
    client_start(&fixture.client, call, PATH_LOGS);
    client_send_message(call, &request.base);
    client_close(call);
}
