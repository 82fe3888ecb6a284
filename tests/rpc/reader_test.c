/* Many readers of one command: each gets every byte, and none of them holds up the others. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/rpc/host_state.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define READERS 50
#define OUTPUT_BYTES (64ULL << 20)
#define MEMORY_BYTES (20U << 20)
#define SAMPLE_FRAMES 32

/* FNV-1a over bytes and their streams: order and content in one number. */
struct digest {
    uint64_t hash;
    uint64_t size;
};

static void digest_add(struct digest *digest, const Crownest__V1__LogOutput *output)
{
    for (size_t i = 0; i < output->data.len; i++) {
        digest->hash = (digest->hash ^ output->data.data[i]) * 1099511628211ULL;
        digest->hash = (digest->hash ^ (uint64_t)output->stream) * 1099511628211ULL;
    }
    digest->size += output->data.len;
}

struct reader {
    struct crownest_client *client;
    const char *command_id;
    pthread_t thread;
    struct digest digest;
    bool in_order;
    bool exited;
    int result;
    struct crownest_error error;
};

static void note(struct reader *reader, const Crownest__V1__CommandEvent *event)
{
    if (event->event_case == CROWNEST__V1__COMMAND_EVENT__EVENT_OUTPUT) {
        reader->in_order = reader->in_order && event->output->offset == reader->digest.size;
        digest_add(&reader->digest, event->output);
    }
    reader->exited |= event->event_case == CROWNEST__V1__COMMAND_EVENT__EVENT_EXITED;
}

static int open_log(struct crownest_client *client, const char *command_id,
                    struct crownest_command_stream_logs_reader **ret_reader,
                    struct crownest_error *error)
{
    Crownest__V1__StreamLogsRequest request = CROWNEST__V1__STREAM_LOGS_REQUEST__INIT;

    request.command_id = STEP_TEXT(command_id);
    request.follow = true;
    return crownest_command_stream_logs_open(client, &request, NULL, ret_reader, error);
}

static void *follow(void *arg)
{
    struct reader *reader = arg;
    struct crownest_command_stream_logs_reader *logs;
    Crownest__V1__StreamLogsResponse *message;

    reader->in_order = true;
    reader->result = open_log(reader->client, reader->command_id, &logs, &reader->error);
    if (reader->result < 0)
        return NULL;
    while ((reader->result = crownest_command_stream_logs_next(logs, &message, &reader->error)) >
           0) {
        note(reader, message->event);
        crownest__v1__stream_logs_response__free_unpacked(message, NULL);
    }
    crownest_command_stream_logs_free(logs);
    return NULL;
}

/* Half of the output comes before the readers, half after them. */
static const char burst[] = "i=0; while [ $i -lt 2000 ]; do echo out $i; echo err $i >&2;"
                            " i=$((i+1)); [ $i -ne 1000 ] ||"
                            " while [ ! -e go ]; do sleep 0.01; done; done";

static void fifty_readers_get_the_same_bytes(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    static struct reader readers[READERS];
    struct transcript whole;
    char sandbox_id[STEP_ID_SIZE];
    char command_id[STEP_ID_SIZE];

    step_create(client, "base", sandbox_id);
    step_start(client, sandbox_id, burst, command_id);
    for (size_t i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.client = client, .command_id = command_id};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, follow, &readers[i]), 0);
    }
    step_write(client, sandbox_id, "go", "", 0);
    for (size_t i = 0; i < READERS; i++)
        (void)pthread_join(readers[i].thread, NULL);
    step_read_log(client, command_id, 0, true, &whole);
    assert_int_equal(whole.exited->command->exit_code, 0);
    assert_int_equal(whole.size, 2 * (2000 * 5 + 10 + 90 * 2 + 900 * 3 + 1000 * 4));
    for (size_t i = 0; i < READERS; i++) {
        assert_done(readers[i].result, &readers[i].error);
        assert_true(readers[i].in_order);
        assert_true(readers[i].exited);
        assert_int_equal(readers[i].digest.size, whole.size);
        assert_true(readers[i].digest.hash == readers[0].digest.hash);
    }
    transcript_done(&whole);
    step_kill(client, sandbox_id);
}

/* Reads to the end; meanwhile looks at how much memory the server has. */
static struct digest read_all(struct crownest_command_stream_logs_reader *logs, pid_t server,
                              size_t *ret_peak)
{
    struct reader reader = {.in_order = true};
    Crownest__V1__StreamLogsResponse *message;
    unsigned frames = 0;
    int result;

    while ((result = crownest_command_stream_logs_next(logs, &message, &reader.error)) > 0) {
        note(&reader, message->event);
        crownest__v1__stream_logs_response__free_unpacked(message, NULL);
        if (frames++ % SAMPLE_FRAMES != 0)
            continue;
        size_t now = host_memory(server);

        *ret_peak = now > *ret_peak ? now : *ret_peak;
    }
    assert_done(result, &reader.error);
    assert_true(reader.in_order);
    assert_true(reader.exited);
    return reader.digest;
}

static void a_reader_that_reads_nothing_stalls_nobody_and_costs_little(void **state)
{
    struct service *service = service_of(state);
    struct crownest_client *client = service->client;
    struct crownest_command_stream_logs_reader *stalled;
    struct crownest_command_stream_logs_reader *other;
    struct crownest_error error;
    char sandbox_id[STEP_ID_SIZE];
    char command_id[STEP_ID_SIZE];

    step_create(client, "base", sandbox_id);
    step_do(client, sandbox_id, "head -c 1000000 /dev/zero");
    size_t before = host_memory(service->crownestd);
    size_t peak = before;
    /* A connection of its own: a stalled stream must not be read on another's behalf. */
    struct crownest_client *lazy = service_client(service, service->key);

    step_start(client, sandbox_id,
               "while [ ! -e go ]; do sleep 0.01; done; exec head -c 67108864 /dev/zero",
               command_id);
    assert_done(open_log(lazy, command_id, &stalled, &error), &error);
    assert_done(open_log(client, command_id, &other, &error), &error);
    step_write(client, sandbox_id, "go", "", 0);
    struct digest first = read_all(other, service->crownestd, &peak);

    assert_int_equal(first.size, OUTPUT_BYTES);
    print_message("memory of crownestd: %zu KiB before, %zu KiB at most\n", before / 1024,
                  peak / 1024);
    assert_true(!HOST_MEMORY_COUNTS || peak - before <= MEMORY_BYTES);
    /* It has ended for everybody but the one who did not look; who still gets all of it. */
    Crownest__V1__Command *command = step_command(client, command_id);

    assert_int_equal(command->exit_cause, CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_EXITED);
    crownest__v1__command__free_unpacked(command, NULL);
    step_kill(client, sandbox_id);
    struct digest second = read_all(stalled, service->crownestd, &peak);

    assert_int_equal(second.size, OUTPUT_BYTES);
    assert_true(first.hash == second.hash);
    crownest_command_stream_logs_free(stalled);
    crownest_command_stream_logs_free(other);
    crownest_client_free(lazy);
}

static void read_mine(struct crownest_client *client, char *command)
{
    Crownest__V1__StreamLogsRequest request = CROWNEST__V1__STREAM_LOGS_REQUEST__INIT;
    Crownest__V1__StreamLogsResponse *message;
    struct crownest_command_stream_logs_reader *reader;
    struct crownest_error error;

    request.command_id = command;
    request.follow = true;
    request.stream = CROWNEST__V1__LOG_STREAM__LOG_STREAM_STDERR;
    assert_done(crownest_command_stream_logs_open(client, &request, NULL, &reader, &error), &error);
    assert_int_equal(crownest_command_stream_logs_next(reader, &message, &error), 1);
    assert_int_equal(message->event->event_case, CROWNEST__V1__COMMAND_EVENT__EVENT_OUTPUT);
    /* What is in the other pipe then may come behind it. */
    assert_true(message->event->output->offset > 40U << 20);
    assert_int_equal(message->event->output->data.len, 5);
    crownest__v1__stream_logs_response__free_unpacked(message, NULL);
    assert_int_equal(crownest_command_stream_logs_next(reader, &message, &error), 1);
    assert_int_equal(message->event->event_case, CROWNEST__V1__COMMAND_EVENT__EVENT_EXITED);
    crownest__v1__stream_logs_response__free_unpacked(message, NULL);
    crownest_command_stream_logs_free(reader);
}

/* As it comes, and then at once. */
static void one_stream_is_read_past_much_of_the_other(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    char id[STEP_ID_SIZE];
    char command[STEP_ID_SIZE];

    step_create(client, "base", id);
    step_start(client, id, "head -c 50M /dev/zero; echo mine >&2", command);
    read_mine(client, command);
    read_mine(client, command);
    step_kill(client, id);
}

static void an_offset_beyond_the_end_is_refused(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    Crownest__V1__StreamLogsRequest request = CROWNEST__V1__STREAM_LOGS_REQUEST__INIT;
    Crownest__V1__StreamLogsResponse *message;
    struct crownest_command_stream_logs_reader *logs;
    struct crownest_error error;
    struct transcript ran;
    char sandbox_id[STEP_ID_SIZE];

    step_create(client, "base", sandbox_id);
    step_run_shell(client, sandbox_id, "echo four", &ran);
    request.command_id = ran.command_id;
    request.offset = ran.size + 1;
    assert_done(crownest_command_stream_logs_open(client, &request, NULL, &logs, &error), &error);
    assert_refused(crownest_command_stream_logs_next(logs, &message, &error), &error, 11,
                   "OFFSET_BEYOND_END", "offset");
    crownest_command_stream_logs_free(logs);
    transcript_done(&ran);
    step_kill(client, sandbox_id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fifty_readers_get_the_same_bytes),
        cmocka_unit_test(a_reader_that_reads_nothing_stalls_nobody_and_costs_little),
        cmocka_unit_test(one_stream_is_read_past_much_of_the_other),
        cmocka_unit_test(an_offset_beyond_the_end_is_refused),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup_pooled, service_teardown);
}
