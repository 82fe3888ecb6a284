/*
 * Exactly once: sixty-four who ask for the same at the same time, with one request_id, get one
 * sandbox and one run of a command, and each of them is told all of it. What becomes of that when
 * the service is killed in between is asked by tests/fault.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/rpc/leftovers.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define PARALLEL 64
#define CONNECTIONS 4
#define OUTPUT_SIZE 256

/* One of those who ask; asserts belong to the test's own thread. */
struct asker {
    struct crownest_client *client;
    const char *sandbox_id;
    pthread_barrier_t *barrier;
    pthread_t thread;
    struct crownest_error error;
    int result;
    char id[STEP_ID_SIZE]; /* of what was made */
    char output[OUTPUT_SIZE];
    size_t size;
    int exit_code;
};

static struct asker askers[PARALLEL];

/* All at once, over a few connections. */
static void ask_together(const struct service *service, const char *sandbox_id,
                         void *(*ask)(void *asker))
{
    struct crownest_client *clients[CONNECTIONS];
    pthread_barrier_t barrier;

    assert_int_equal(pthread_barrier_init(&barrier, NULL, PARALLEL), 0);
    for (size_t i = 0; i < CONNECTIONS; i++)
        clients[i] = service_client(service, service->key);
    for (size_t i = 0; i < PARALLEL; i++) {
        askers[i] = (struct asker){.client = clients[i % CONNECTIONS],
                                   .sandbox_id = sandbox_id,
                                   .barrier = &barrier,
                                   .exit_code = -1};
        assert_int_equal(pthread_create(&askers[i].thread, NULL, ask, &askers[i]), 0);
    }
    for (size_t i = 0; i < PARALLEL; i++)
        (void)pthread_join(askers[i].thread, NULL);
    for (size_t i = 0; i < CONNECTIONS; i++)
        crownest_client_free(clients[i]);
    (void)pthread_barrier_destroy(&barrier);
}

static void assert_told_the_same(void)
{
    for (size_t i = 0; i < PARALLEL; i++) {
        assert_done(askers[i].result, &askers[i].error);
        assert_string_equal(askers[i].id, askers[0].id);
    }
}

static void *create_once(void *arg)
{
    struct asker *asker = arg;
    Crownest__V1__CreateSandboxRequest request = CROWNEST__V1__CREATE_SANDBOX_REQUEST__INIT;
    Crownest__V1__CreateSandboxResponse *response;

    request.request_id = STEP_TEXT("one-sandbox");
    (void)pthread_barrier_wait(asker->barrier);
    asker->result =
        crownest_sandbox_create(asker->client, &request, NULL, &response, &asker->error);
    if (asker->result < 0)
        return NULL;
    (void)snprintf(asker->id, STEP_ID_SIZE, "%s", response->sandbox->sandbox_id);
    crownest__v1__create_sandbox_response__free_unpacked(response, NULL);
    return NULL;
}

static void sixty_four_creates_make_one_sandbox(void **state)
{
    struct service *service = service_of(state);
    char other[STEP_ID_SIZE];

    step_create(service->client, "base", other);
    struct leftovers before = leftovers_count(service, other);

    ask_together(service, NULL, create_once);
    assert_told_the_same();
    struct leftovers after = leftovers_count(service, other);

    assert_int_equal(after.sandboxes, before.sandboxes + 1);
    step_do(service->client, askers[0].id, "true");
    step_kill(service->client, askers[0].id);
    step_kill(service->client, other);
}

static void note(struct asker *asker, const Crownest__V1__CommandEvent *event)
{
    if (event->event_case == CROWNEST__V1__COMMAND_EVENT__EVENT_STARTED)
        (void)snprintf(asker->id, STEP_ID_SIZE, "%s", event->started->command->command_id);
    if (event->event_case == CROWNEST__V1__COMMAND_EVENT__EVENT_EXITED)
        asker->exit_code = event->exited->command->exit_code;
    if (event->event_case != CROWNEST__V1__COMMAND_EVENT__EVENT_OUTPUT ||
        asker->size + event->output->data.len >= OUTPUT_SIZE)
        return;
    memcpy(asker->output + asker->size, event->output->data.data, event->output->data.len);
    asker->size += event->output->data.len;
}

static void *run_once(void *arg)
{
    struct asker *asker = arg;
    Crownest__V1__CommandSpec command =
        step_shell(asker->sandbox_id, "echo ran >> count; echo output; exit 7");
    Crownest__V1__RunCommandRequest request = CROWNEST__V1__RUN_COMMAND_REQUEST__INIT;
    Crownest__V1__RunCommandResponse *message;
    struct crownest_command_run_reader *reader;

    request.request_id = STEP_TEXT("one-run");
    request.command = &command;
    (void)pthread_barrier_wait(asker->barrier);
    asker->result =
        crownest_command_run_open(asker->client, &request, NULL, &reader, &asker->error);
    if (asker->result < 0)
        return NULL;
    while ((asker->result = crownest_command_run_next(reader, &message, &asker->error)) > 0) {
        note(asker, message->event);
        crownest__v1__run_command_response__free_unpacked(message, NULL);
    }
    crownest_command_run_free(reader);
    return NULL;
}

static void sixty_four_runs_run_one_command(void **state)
{
    struct service *service = service_of(state);
    char sandbox_id[STEP_ID_SIZE];
    size_t size;

    step_create(service->client, "base", sandbox_id);
    struct leftovers before = leftovers_count(service, sandbox_id);

    ask_together(service, sandbox_id, run_once);
    assert_told_the_same();
    for (size_t i = 0; i < PARALLEL; i++) {
        assert_string_equal(askers[i].output, "output\n");
        assert_int_equal(askers[i].exit_code, 7);
    }
    struct leftovers after = leftovers_count(service, sandbox_id);
    /* It says from inside how often it ran. */
    char *count = (char *)step_read(service->client, sandbox_id, "count", &size);

    assert_int_equal(after.commands, before.commands + 1);
    assert_string_equal(count, "ran\n");
    free(count);
    step_kill(service->client, sandbox_id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sixty_four_creates_make_one_sandbox),
        cmocka_unit_test(sixty_four_runs_run_one_command),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup_pooled, service_teardown);
}
