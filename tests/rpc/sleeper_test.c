/*
 * A reader that does not read costs a cursor: while a command produces much and one stream is not
 * read, the server's memory stays, the command goes on, and other readers get everything. How fast
 * these are beside it and alone is printed. When it wakes up it gets everything, too. How much:
 * CROWNEST_TEST_STREAM_MIB, 64 without it; for how long it sleeps at least: CROWNEST_TEST_SLEEP_S.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/rpc/host_state.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define DEFAULT_MIB 64
#define SLACK_BYTES (20U << 20)

static struct crownest_error error;

/* A stream that is opened, of which something is read, and which is then left alone. */
static struct crownest_command_stream_logs_reader *fall_asleep(struct crownest_client *client,
                                                               char *command, uint64_t *ret_bytes)
{
    Crownest__V1__StreamLogsRequest request = CROWNEST__V1__STREAM_LOGS_REQUEST__INIT;
    Crownest__V1__StreamLogsResponse *message;
    struct crownest_command_stream_logs_reader *reader;

    request.command_id = command;
    request.follow = true;
    assert_done(crownest_command_stream_logs_open(client, &request, NULL, &reader, &error), &error);
    assert_int_equal(crownest_command_stream_logs_next(reader, &message, &error), 1);
    assert_int_equal(message->event->event_case, CROWNEST__V1__COMMAND_EVENT__EVENT_OUTPUT);
    *ret_bytes = message->event->output->data.len;
    crownest__v1__stream_logs_response__free_unpacked(message, NULL);
    return reader;
}

static uint64_t read_rest(struct crownest_command_stream_logs_reader *reader, size_t *ret_memory,
                          pid_t server)
{
    Crownest__V1__StreamLogsResponse *message;
    uint64_t bytes = 0;
    unsigned count = 0;

    while (crownest_command_stream_logs_next(reader, &message, &error) > 0) {
        if (message->event->event_case == CROWNEST__V1__COMMAND_EVENT__EVENT_OUTPUT)
            bytes += message->event->output->data.len;
        crownest__v1__stream_logs_response__free_unpacked(message, NULL);
        if (++count % 256 == 0) {
            size_t now = host_memory(server);

            *ret_memory = now > *ret_memory ? now : *ret_memory;
        }
    }
    crownest_command_stream_logs_free(reader);
    return bytes;
}

static uint64_t read_all(struct crownest_client *client, char *command, size_t *ret_memory,
                         pid_t server)
{
    Crownest__V1__StreamLogsRequest request = CROWNEST__V1__STREAM_LOGS_REQUEST__INIT;
    struct crownest_command_stream_logs_reader *reader;

    request.command_id = command;
    request.follow = true;
    assert_done(crownest_command_stream_logs_open(client, &request, NULL, &reader, &error), &error);
    return read_rest(reader, ret_memory, server);
}

static double now_s(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Returns MiB/s. */
static double read_awake(struct service *service, char *command, uint64_t size, size_t *ret_memory)
{
    double start = now_s();

    assert_int_equal(read_all(service->client, command, ret_memory, service->crownestd), size);
    return (double)size / (1U << 20) / (now_s() - start);
}

static void a_sleeping_reader_costs_a_cursor(void **state)
{
    struct service *service = service_of(state);
    const char *text = getenv("CROWNEST_TEST_STREAM_MIB");
    uint64_t size = (text ? strtoul(text, NULL, 10) : DEFAULT_MIB) << 20;
    const char *sleep_s = getenv("CROWNEST_TEST_SLEEP_S");
    char sandbox[STEP_ID_SIZE];
    char command[STEP_ID_SIZE];
    char line[64];
    size_t most = 0;

    step_create(service->client, "base", sandbox);
    /* What a stream takes at all is no part of the question. */
    step_start(service->client, sandbox, "head -c 16777216 /dev/zero", command);
    assert_int_equal(read_all(service->client, command, &most, service->crownestd), 16U << 20);
    size_t before = host_memory(service->crownestd);

    (void)snprintf(line, sizeof(line), "echo; head -c %llu /dev/zero",
                   (unsigned long long)size - 1);
    step_start(service->client, sandbox, line, command);
    double alone = read_awake(service, command, size, &most);

    step_start(service->client, sandbox, line, command);
    struct crownest_client *sleepy = service_client(service, service->key);
    uint64_t first;
    struct crownest_command_stream_logs_reader *sleeper = fall_asleep(sleepy, command, &first);
    double asleep_s = now_s();

    most = before;
    double beside = read_awake(service, command, size, &most);

    while (sleep_s && now_s() - asleep_s < atof(sleep_s)) {
        size_t now = host_memory(service->crownestd);

        most = now > most ? now : most;
        (void)poll(NULL, 0, 100);
    }

    print_message("memory of crownestd: %zu KiB before, %zu KiB at the most, %llu MiB of output\n"
                  "a reader that is awake: %.0f MiB/s alone, %.0f MiB/s beside the sleeper\n",
                  before / 1024, most / 1024, (unsigned long long)(size >> 20), alone, beside);
    assert_true(!HOST_MEMORY_COUNTS || most <= before + SLACK_BYTES);
    assert_int_equal(first + read_rest(sleeper, &most, service->crownestd), size);
    crownest_client_free(sleepy);
    step_kill(service->client, sandbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sleeping_reader_costs_a_cursor),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
