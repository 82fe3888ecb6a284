/*
 * Everything at the same time: sandboxes made and killed under commands that run, streams that are
 * cut, cancels, uploads given up half-way, previews opened and visited. What each call answers is
 * not looked at; that the service survives it and leaves nothing is.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bindings/c/crownest_preview.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define THREADS 8
#define SECONDS 8

static struct service *service;
static atomic_bool over;
static atomic_uint cycles;

static void cut_run(struct crownest_client *client, const char *sandbox_id, unsigned events)
{
    struct crownest_error error;
    Crownest__V1__CommandSpec command =
        step_shell(sandbox_id, "setsid sleep 100 & while :; do echo xxxxxxxxxxxxxxxx; done");
    Crownest__V1__RunCommandRequest request = CROWNEST__V1__RUN_COMMAND_REQUEST__INIT;
    Crownest__V1__RunCommandResponse *message;
    Crownest__V1__CancelCommandRequest cancel = CROWNEST__V1__CANCEL_COMMAND_REQUEST__INIT;
    Crownest__V1__CancelCommandResponse *cancelled;
    struct crownest_command_run_reader *reader;
    char id[STEP_ID_SIZE] = "";

    request.command = &command;
    if (crownest_command_run_open(client, &request, NULL, &reader, &error) < 0)
        return;
    for (unsigned i = 0; i < events; i++) {
        if (crownest_command_run_next(reader, &message, &error) <= 0)
            break;
        if (message->event->event_case == CROWNEST__V1__COMMAND_EVENT__EVENT_STARTED)
            (void)snprintf(id, sizeof(id), "%s", message->event->started->command->command_id);
        crownest__v1__run_command_response__free_unpacked(message, NULL);
    }
    crownest_command_run_free(reader);
    cancel.command_id = id;
    if (events % 2 && crownest_command_cancel(client, &cancel, NULL, &cancelled, &error) == 0)
        crownest__v1__cancel_command_response__free_unpacked(cancelled, NULL);
}

static void half_write(struct crownest_client *client, const char *sandbox_id)
{
    static uint8_t data[200000];
    struct crownest_error error;
    Crownest__V1__WriteFileOpen open = CROWNEST__V1__WRITE_FILE_OPEN__INIT;
    Crownest__V1__WriteFileRequest request = CROWNEST__V1__WRITE_FILE_REQUEST__INIT;
    struct crownest_file_write_writer *writer;

    if (crownest_file_write_open(client, NULL, &writer, &error) < 0)
        return;
    open.sandbox_id = STEP_TEXT(sandbox_id);
    open.path = STEP_TEXT("half");
    request.part_case = CROWNEST__V1__WRITE_FILE_REQUEST__PART_OPEN;
    request.open = &open;
    int r = crownest_file_write_send(writer, &request, &error);

    request.part_case = CROWNEST__V1__WRITE_FILE_REQUEST__PART_DATA;
    request.data = (ProtobufCBinaryData){.data = data, .len = sizeof(data)};
    if (r == 0)
        (void)crownest_file_write_send(writer, &request, &error);
    crownest_file_write_free(writer);
}

static void open_preview(struct crownest_client *client, const char *sandbox_id)
{
    struct crownest_error error;
    Crownest__V1__CreatePreviewRequest request = CROWNEST__V1__CREATE_PREVIEW_REQUEST__INIT;
    Crownest__V1__CreatePreviewResponse *response;

    request.sandbox_id = STEP_TEXT(sandbox_id);
    request.port = 8080;
    if (crownest_preview_create(client, &request, NULL, &response, &error) == 0)
        crownest__v1__create_preview_response__free_unpacked(response, NULL);
}

struct killer {
    struct crownest_client *client;
    const char *id;
};

static void *kill_later(void *arg)
{
    const struct killer *killer = arg;
    struct crownest_error error;
    Crownest__V1__KillSandboxRequest request = CROWNEST__V1__KILL_SANDBOX_REQUEST__INIT;
    Crownest__V1__KillSandboxResponse *response;

    request.sandbox_id = STEP_TEXT(killer->id);
    if (crownest_sandbox_kill(killer->client, &request, NULL, &response, &error) == 0)
        crownest__v1__kill_sandbox_response__free_unpacked(response, NULL);
    return NULL;
}

static void *churn(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    struct crownest_client *client = service_client(service, service->key);

    while (!atomic_load(&over)) {
        struct crownest_error error;
        Crownest__V1__CreateSandboxRequest request = CROWNEST__V1__CREATE_SANDBOX_REQUEST__INIT;
        Crownest__V1__CreateSandboxResponse *response;
        Google__Protobuf__Duration ttl = GOOGLE__PROTOBUF__DURATION__INIT;
        pthread_t thread;

        ttl.seconds = 1 + rand_r(&seed) % 3;
        request.ttl = &ttl;
        if (crownest_sandbox_create(client, &request, NULL, &response, &error) < 0)
            continue;
        const char *id = response->sandbox->sandbox_id;
        struct killer killer = {client, id};

        for (unsigned i = 0; i < 1 + (unsigned)rand_r(&seed) % 3; i++)
            cut_run(client, id, (unsigned)rand_r(&seed) % 20);
        half_write(client, id);
        open_preview(client, id);
        bool kills =
            rand_r(&seed) % 4 != 0 && pthread_create(&thread, NULL, kill_later, &killer) == 0;

        cut_run(client, id, (unsigned)rand_r(&seed) % 20);
        if (kills)
            (void)pthread_join(thread, NULL);
        crownest__v1__create_sandbox_response__free_unpacked(response, NULL);
        (void)atomic_fetch_add(&cycles, 1);
    }
    crownest_client_free(client);
    return NULL;
}

static void everything_at_once(void **state)
{
    struct timespec rest = {.tv_sec = SECONDS};
    pthread_t threads[THREADS];

    service = service_of(state);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)), 0);
    (void)nanosleep(&rest, NULL);
    atomic_store(&over, true);
    for (size_t i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    assert_true(atomic_load(&cycles) > THREADS);
    print_message("%u sandboxes\n", atomic_load(&cycles));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_at_once),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
