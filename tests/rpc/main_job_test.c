/*
 * The main job: create a sandbox, write a file, run it with its output streaming, collect what it
 * made, kill the sandbox; afterwards log and artifact are still there, byte for byte.
 */
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

static const char program[] =
    "import os, sys, time\n"
    "print('first', flush=True)\n"
    "while not os.path.exists('/workspace/go'):\n"
    "    time.sleep(0.005)\n"
    "sys.stderr.write('told to go\\n'); sys.stderr.flush()\n"
    "for i in range(2000):\n"
    "    print('line', i)\n"
    "sys.stdout.flush()\n"
    "sys.stderr.write('done\\n'); sys.stderr.flush()\n"
    "open('/workspace/report.html', 'wb').write(bytes(range(256)) * 1000)\n";

static struct crownest_error error;

/* The artifact of the job, as the last message of Run tells it. */
static void assert_report(struct crownest_client *client, const Crownest__V1__Artifact *artifact,
                          const char *sandbox_id, const char *command_id)
{
    uint8_t hash[SHA256_DIGEST_LENGTH];
    char digest[80] = "sha256:";
    size_t size;
    uint8_t *content = step_download(client, artifact->artifact_id, &size);

    assert_int_equal(size, 256000);
    assert_int_equal(artifact->size_bytes, 256000);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(content[i], i & 255);
    (void)SHA256(content, size, hash);
    for (size_t i = 0; i < sizeof(hash); i++)
        (void)snprintf(digest + 7 + 2 * i, 3, "%02x", hash[i]);
    assert_string_equal(artifact->digest, digest);
    assert_string_equal(artifact->name, "report");
    assert_string_equal(artifact->path, "/workspace/report.html");
    assert_string_equal(artifact->sandbox_id, sandbox_id);
    assert_string_equal(artifact->command_id, command_id);
    free(content);
}

static void assert_listed(struct crownest_client *client, const char *sandbox_id,
                          const char *artifact_id)
{
    Crownest__V1__ListArtifactsRequest request = CROWNEST__V1__LIST_ARTIFACTS_REQUEST__INIT;
    Crownest__V1__ListArtifactsResponse *response;

    request.sandbox_id = STEP_TEXT(sandbox_id);
    assert_done(crownest_artifact_list(client, &request, NULL, &response, &error), &error);
    assert_int_equal(response->n_artifacts, 1);
    assert_string_equal(response->artifacts[0]->artifact_id, artifact_id);
    crownest__v1__list_artifacts_response__free_unpacked(response, NULL);
}

/*
 * The program prints, and goes on only when it sees a file that we write after its first output
 * came: so output that came only at the end would never come.
 */
static void run_job(struct crownest_client *client, const char *sandbox_id,
                    struct transcript *transcript)
{
    static Crownest__V1__CollectItem item = CROWNEST__V1__COLLECT_ITEM__INIT;
    Crownest__V1__CollectItem *items[] = {&item};
    Crownest__V1__CommandSpec command = step_shell(sandbox_id, "python3 main.py");
    Crownest__V1__RunCommandRequest request = CROWNEST__V1__RUN_COMMAND_REQUEST__INIT;
    Crownest__V1__RunCommandResponse *message;
    struct crownest_command_run_reader *reader;
    bool told = false;
    int result;

    item.path = STEP_TEXT("/workspace/report.html");
    item.name = STEP_TEXT("report");
    command.collect = items;
    command.n_collect = 1;
    request.command = &command;
    assert_done(crownest_command_run_open(client, &request, NULL, &reader, &error), &error);
    while ((result = crownest_command_run_next(reader, &message, &error)) > 0) {
        transcript_add(transcript, message->event);
        crownest__v1__run_command_response__free_unpacked(message, NULL);
        if (transcript->size > 0 && !told) {
            Crownest__V1__Command *running = step_command(client, transcript->command_id);

            assert_int_equal(running->exit_cause, CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_UNSPECIFIED);
            crownest__v1__command__free_unpacked(running, NULL);
            step_write(client, sandbox_id, "go", "", 0);
            told = true;
        }
    }
    assert_done(result, &error);
    assert_true(told);
    crownest_command_run_free(reader);
}

static void assert_output(const struct transcript *transcript)
{
    char *out = transcript_text(transcript, CROWNEST__V1__LOG_STREAM__LOG_STREAM_STDOUT);
    char *err = transcript_text(transcript, CROWNEST__V1__LOG_STREAM__LOG_STREAM_STDERR);

    assert_string_equal(err, "told to go\ndone\n");
    assert_int_equal(strncmp(out, "first\nline 0\nline 1\n", 20), 0);
    assert_string_equal(out + strlen(out) - 10, "line 1999\n");
    free(out);
    free(err);
}

static void assert_tombstone(struct crownest_client *client, const char *sandbox_id)
{
    Crownest__V1__Sandbox *sandbox = step_sandbox(client, sandbox_id);

    assert_int_equal(sandbox->state, CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_KILLED);
    assert_int_equal(sandbox->end_cause, CROWNEST__V1__END_CAUSE__END_CAUSE_KILLED);
    assert_non_null(sandbox->end_time);
    assert_true(sandbox->cpu_usec > 0);
    crownest__v1__sandbox__free_unpacked(sandbox, NULL);
}

/* From the start, from inside a frame, and from the very end. */
static void assert_log_kept(struct crownest_client *client, const struct transcript *ran)
{
    const uint64_t offsets[] = {0, 1, 3, ran->size / 2, ran->size - 1, ran->size};

    for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
        for (int follow = 0; follow < 2; follow++) {
            struct transcript log;

            step_read_log(client, ran->command_id, offsets[i], follow, &log);
            assert_transcript_tail(&log, ran);
            assert_non_null(log.exited);
            assert_int_equal(log.exited->command->log_bytes, ran->size);
            transcript_done(&log);
        }
    }
}

static void the_main_job_streams_collects_and_outlives_its_sandbox(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    struct transcript ran = {0};
    char sandbox_id[STEP_ID_SIZE];

    step_create(client, "python", sandbox_id);
    step_write(client, sandbox_id, "main.py", program, strlen(program));
    run_job(client, sandbox_id, &ran);
    assert_output(&ran);
    assert_int_equal(ran.exited->command->exit_cause, CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_EXITED);
    assert_int_equal(ran.exited->command->exit_code, 0);
    assert_int_equal(ran.exited->n_collect_failures, 0);
    assert_int_equal(ran.exited->n_artifacts, 1);
    assert_true(ran.exited->command->usage->cpu_usec > 0);
    assert_true(ran.exited->command->usage->max_rss_bytes > 0);
    assert_report(client, ran.exited->artifacts[0], sandbox_id, ran.command_id);
    assert_listed(client, sandbox_id, ran.exited->artifacts[0]->artifact_id);
    step_kill(client, sandbox_id);
    assert_tombstone(client, sandbox_id);
    assert_log_kept(client, &ran);
    assert_report(client, ran.exited->artifacts[0], sandbox_id, ran.command_id);
    assert_listed(client, sandbox_id, ran.exited->artifacts[0]->artifact_id);
    transcript_done(&ran);
}

static void a_second_kill_returns_the_same_tombstone(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    char sandbox_id[STEP_ID_SIZE];

    step_create(client, "base", sandbox_id);
    step_kill(client, sandbox_id);
    Crownest__V1__Sandbox *first = step_sandbox(client, sandbox_id);

    step_kill(client, sandbox_id);
    Crownest__V1__Sandbox *second = step_sandbox(client, sandbox_id);

    assert_int_equal(first->end_time->seconds, second->end_time->seconds);
    assert_int_equal(first->end_time->nanos, second->end_time->nanos);
    crownest__v1__sandbox__free_unpacked(first, NULL);
    crownest__v1__sandbox__free_unpacked(second, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_main_job_streams_collects_and_outlives_its_sandbox),
        cmocka_unit_test(a_second_kill_returns_the_same_tombstone),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup_pooled, service_teardown);
}
