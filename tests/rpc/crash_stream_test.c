/*
 * A command's output is read while the service is killed again and again: each time the reader goes
 * on at its offset, and in the end it has every byte once. How much: CROWNEST_TEST_STREAM_MIB, 48
 * without it; how often: CROWNEST_TEST_KILLS, 8.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define DEFAULT_MIB 48
#define DEFAULT_KILLS 8

static struct crownest_error error;

struct reading {
    EVP_MD_CTX *hash;
    uint64_t offset;
    uint64_t frames;
    bool exited;
};

static unsigned long number_of(const char *name, unsigned long fallback)
{
    const char *text = getenv(name);

    return text ? strtoul(text, NULL, 10) : fallback;
}

static void take(struct reading *reading, Crownest__V1__CommandEvent *event)
{
    if (event->event_case == CROWNEST__V1__COMMAND_EVENT__EVENT_EXITED) {
        assert_int_equal(event->exited->command->exit_code, 0);
        assert_int_equal(event->exited->command->log_bytes, reading->offset);
        reading->exited = true;
        return;
    }
    assert_int_equal(event->event_case, CROWNEST__V1__COMMAND_EVENT__EVENT_OUTPUT);
    assert_false(reading->exited);
    assert_int_equal(event->output->offset, reading->offset);
    assert_int_equal(
        EVP_DigestUpdate(reading->hash, event->output->data.data, event->output->data.len), 1);
    reading->offset += event->output->data.len;
    reading->frames++;
}

/* From where it is to the end, or to an offset. False: the service is gone. */
static bool read_on(struct crownest_client *client, char *command, uint64_t until,
                    struct reading *reading)
{
    Crownest__V1__StreamLogsRequest request = CROWNEST__V1__STREAM_LOGS_REQUEST__INIT;
    Crownest__V1__StreamLogsResponse *message;
    struct crownest_command_stream_logs_reader *reader;
    int result;

    request.command_id = command;
    request.offset = reading->offset;
    request.follow = true;
    assert_done(crownest_command_stream_logs_open(client, &request, NULL, &reader, &error), &error);
    while ((result = crownest_command_stream_logs_next(reader, &message, &error)) > 0) {
        take(reading, message->event);
        crownest__v1__stream_logs_response__free_unpacked(message, NULL);
        if (reading->offset >= until)
            break;
    }
    crownest_command_stream_logs_free(reader);
    return result >= 0;
}

/* What `seq` prints, as far as `size` bytes go, line by line. Returns the last number. */
static unsigned long expect(EVP_MD_CTX *hash, uint64_t size)
{
    char line[32];
    unsigned long number = 0;
    uint64_t total = 0;

    while (total < size) {
        int length = snprintf(line, sizeof(line), "%lu\n", ++number);

        assert_int_equal(EVP_DigestUpdate(hash, line, (size_t)length), 1);
        total += (uint64_t)length;
    }
    return number;
}

static void every_byte_arrives_once(void **state)
{
    struct service *service = service_of(state);
    uint64_t size = number_of("CROWNEST_TEST_STREAM_MIB", DEFAULT_MIB) << 20;
    unsigned long kills = number_of("CROWNEST_TEST_KILLS", DEFAULT_KILLS);
    unsigned seed = (unsigned)number_of("CROWNEST_TEST_SEED", 1);
    struct reading reading = {.hash = EVP_MD_CTX_new()};
    EVP_MD_CTX *expected = EVP_MD_CTX_new();
    uint8_t digests[2][EVP_MAX_MD_SIZE];
    char sandbox[STEP_ID_SIZE];
    char command[STEP_ID_SIZE];
    char line[64];

    assert_int_equal(EVP_DigestInit(reading.hash, EVP_sha256()), 1);
    assert_int_equal(EVP_DigestInit(expected, EVP_sha256()), 1);
    (void)snprintf(line, sizeof(line), "seq %lu", expect(expected, size));
    step_create(service->client, "base", sandbox);
    step_start(service->client, sandbox, line, command);
    for (unsigned long i = 0; i < kills; i++) {
        uint64_t step = size / (kills + 1);
        uint64_t until = i * step + (uint64_t)rand_r(&seed) % step;

        (void)read_on(service->client, command, until, &reading);
        service_crash_crownestd(service);
        service_come_back(service);
    }
    assert_true(read_on(service->client, command, UINT64_MAX, &reading));
    assert_true(reading.exited);
    assert_int_equal(EVP_DigestFinal(reading.hash, digests[0], NULL), 1);
    assert_int_equal(EVP_DigestFinal(expected, digests[1], NULL), 1);
    assert_memory_equal(digests[0], digests[1], 32);
    print_message("%llu bytes in %llu frames, %lu kills, seed of the moments %u\n",
                  (unsigned long long)reading.offset, (unsigned long long)reading.frames, kills,
                  (unsigned)number_of("CROWNEST_TEST_SEED", 1));
    EVP_MD_CTX_free(reading.hash);
    EVP_MD_CTX_free(expected);
    step_kill(service->client, sandbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_arrives_once),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
