/* Logs are kept as long as their project says; then reading one says why it is gone. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bindings/c/crownest_project.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define INVALID_ARGUMENT 3
#define NOT_FOUND 5
#define PERMISSION_DENIED 7

static struct crownest_error error;

/* The fixture's other project. Returns what the call did. */
static int update(const struct service *service, int64_t seconds, int32_t nanos)
{
    Google__Protobuf__Duration retention = GOOGLE__PROTOBUF__DURATION__INIT;
    Crownest__V1__UpdateProjectRequest request = CROWNEST__V1__UPDATE_PROJECT_REQUEST__INIT;
    Crownest__V1__UpdateProjectResponse *response;

    retention.seconds = seconds;
    retention.nanos = nanos;
    request.project = STEP_TEXT(SERVICE_OTHER_PROJECT);
    request.log_retention = &retention;
    int result =
        crownest_project_update(service->operator_client, &request, NULL, &response, &error);

    if (result)
        return result;
    assert_string_equal(response->project->name, SERVICE_OTHER_PROJECT);
    assert_int_equal(response->project->log_retention->seconds, seconds);
    crownest__v1__update_project_response__free_unpacked(response, NULL);
    return 0;
}

static int create(const struct service *service, int64_t seconds)
{
    Google__Protobuf__Duration retention = GOOGLE__PROTOBUF__DURATION__INIT;
    Crownest__V1__CreateProjectRequest request = CROWNEST__V1__CREATE_PROJECT_REQUEST__INIT;
    Crownest__V1__CreateProjectResponse *response;

    retention.seconds = seconds;
    request.name = STEP_TEXT("third");
    request.log_retention = &retention;
    int result =
        crownest_project_create(service->operator_client, &request, NULL, &response, &error);

    if (result)
        return result;
    assert_int_equal(response->project->log_retention->seconds, seconds);
    crownest__v1__create_project_response__free_unpacked(response, NULL);
    return 0;
}

static void a_retention_has_bounds(void **state)
{
    static const struct {
        int64_t seconds;
        int32_t nanos;
    } wrong[] = {{0, 0}, {0, 999000000}, {-1, 0}, {315360001, 0}, {1, -1}, {1, 1000000000}};
    struct service *service = service_of(state);

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_refused(update(service, wrong[i].seconds, wrong[i].nanos), &error, INVALID_ARGUMENT,
                       "LOG_RETENTION_INVALID", "log_retention");
    assert_refused(create(service, 0), &error, INVALID_ARGUMENT, "LOG_RETENTION_INVALID",
                   "log_retention");
    assert_done(create(service, 315360000), &error);
    assert_done(update(service, 315360000, 0), &error);
}

static void a_project_that_is_not_there_cannot_be_changed(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__UpdateProjectRequest request = CROWNEST__V1__UPDATE_PROJECT_REQUEST__INIT;
    Crownest__V1__UpdateProjectResponse *response;

    request.project = STEP_TEXT("missing");
    assert_refused(
        crownest_project_update(service->operator_client, &request, NULL, &response, &error),
        &error, NOT_FOUND, "PROJECT_NOT_FOUND", "project");
    request.project = STEP_TEXT(SERVICE_OTHER_PROJECT);
    assert_refused(crownest_project_update(service->other, &request, NULL, &response, &error),
                   &error, PERMISSION_DENIED, "OPERATOR_ONLY", "");
}

static void run(struct crownest_client *client, struct transcript *ret_transcript)
{
    char sandbox[STEP_ID_SIZE];

    step_create(client, "base", sandbox);
    step_run_shell(client, sandbox, "echo kept; exit 3", ret_transcript);
    step_kill(client, sandbox);
}

static void await_expiry(struct crownest_client *client, const char *command_id)
{
    struct timespec moment = {.tv_nsec = 50000000};
    bool expired = false;

    while (!expired) {
        Crownest__V1__Command *command = step_command(client, command_id);

        expired = command->log_expired;
        assert_int_equal(command->exit_code, 3);
        assert_int_equal(command->log_bytes, 5);
        crownest__v1__command__free_unpacked(command, NULL);
        (void)nanosleep(&moment, NULL);
    }
}

static void assert_log_expired(struct crownest_client *client, const char *command_id)
{
    Crownest__V1__StreamLogsRequest request = CROWNEST__V1__STREAM_LOGS_REQUEST__INIT;
    Crownest__V1__StreamLogsResponse *message;
    struct crownest_command_stream_logs_reader *reader;

    request.command_id = STEP_TEXT(command_id);
    assert_done(crownest_command_stream_logs_open(client, &request, NULL, &reader, &error), &error);
    assert_refused(crownest_command_stream_logs_next(reader, &message, &error), &error, NOT_FOUND,
                   "LOG_EXPIRED", "command_id");
    crownest_command_stream_logs_free(reader);
}

static void an_expired_log_is_told_from_one_that_was_lost(void **state)
{
    struct service *service = service_of(state);
    struct transcript brief;
    struct transcript kept;
    struct transcript again;

    run(service->other, &brief);
    run(service->client, &kept);
    /* It holds for what has ended before, too. */
    assert_done(update(service, 1, 0), &error);
    await_expiry(service->other, brief.command_id);
    assert_log_expired(service->other, brief.command_id);
    step_read_log(service->client, kept.command_id, 0, false, &again);
    assert_transcript_tail(&again, &kept);
    service_crash_crownestd(service);
    service_come_back(service);
    assert_log_expired(service->other, brief.command_id);
    transcript_done(&brief);
    transcript_done(&kept);
    transcript_done(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_retention_has_bounds),
        cmocka_unit_test(a_project_that_is_not_there_cannot_be_changed),
        cmocka_unit_test(an_expired_log_is_told_from_one_that_was_lost),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
