/* Artifacts and tombstones are kept as long as their project says; the audit tells what went. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bindings/c/crownest_audit.h"
#include "bindings/c/crownest_project.h"
#include "tests/rpc/plans.h"
#include "tests/rpc/steps.h"

#define INVALID_ARGUMENT 3
#define NOT_FOUND 5
#define RESOURCE_EXHAUSTED 8

static struct crownest_error error;

/* Of the fixture's other project; 0: as it is. */
static int keep_for(const struct service *service, int64_t artifact_s, int64_t tombstone_s)
{
    Google__Protobuf__Duration artifacts = GOOGLE__PROTOBUF__DURATION__INIT;
    Google__Protobuf__Duration tombstones = GOOGLE__PROTOBUF__DURATION__INIT;
    Crownest__V1__UpdateProjectRequest request = CROWNEST__V1__UPDATE_PROJECT_REQUEST__INIT;
    Crownest__V1__UpdateProjectResponse *response;

    artifacts.seconds = artifact_s;
    tombstones.seconds = tombstone_s;
    request.project = STEP_TEXT(SERVICE_OTHER_PROJECT);
    request.artifact_retention = artifact_s ? &artifacts : NULL;
    request.tombstone_retention = tombstone_s ? &tombstones : NULL;
    int result =
        crownest_project_update(service->operator_client, &request, NULL, &response, &error);

    if (result == 0)
        crownest__v1__update_project_response__free_unpacked(response, NULL);
    return result;
}

static int get_artifact(struct crownest_client *client, const char *id)
{
    Crownest__V1__GetArtifactRequest request = CROWNEST__V1__GET_ARTIFACT_REQUEST__INIT;
    Crownest__V1__GetArtifactResponse *response;

    request.artifact_id = STEP_TEXT(id);
    int result = crownest_artifact_get(client, &request, NULL, &response, &error);

    if (result == 0)
        crownest__v1__get_artifact_response__free_unpacked(response, NULL);
    return result;
}

static int get_sandbox(struct crownest_client *client, const char *id)
{
    Crownest__V1__GetSandboxRequest request = CROWNEST__V1__GET_SANDBOX_REQUEST__INIT;
    Crownest__V1__GetSandboxResponse *response;

    request.sandbox_id = STEP_TEXT(id);
    int result = crownest_sandbox_get(client, &request, NULL, &response, &error);

    if (result == 0)
        crownest__v1__get_sandbox_response__free_unpacked(response, NULL);
    return result;
}

static int get_command(struct crownest_client *client, const char *id)
{
    Crownest__V1__GetCommandRequest request = CROWNEST__V1__GET_COMMAND_REQUEST__INIT;
    Crownest__V1__GetCommandResponse *response;

    request.command_id = STEP_TEXT(id);
    int result = crownest_command_get(client, &request, NULL, &response, &error);

    if (result == 0)
        crownest__v1__get_command_response__free_unpacked(response, NULL);
    return result;
}

static int remove_artifact(struct crownest_client *client, const char *id)
{
    Crownest__V1__DeleteArtifactRequest request = CROWNEST__V1__DELETE_ARTIFACT_REQUEST__INIT;
    Crownest__V1__DeleteArtifactResponse *response;

    request.artifact_id = STEP_TEXT(id);
    int result = crownest_artifact_delete(client, &request, NULL, &response, &error);

    if (result)
        return result;
    assert_string_equal(response->artifact->artifact_id, id);
    crownest__v1__delete_artifact_response__free_unpacked(response, NULL);
    return 0;
}

/* Until the sweeper was there: it looks every 5 s. */
static void await_gone(struct crownest_client *client, const char *id,
                       int (*get)(struct crownest_client *client, const char *id))
{
    struct timespec moment = {.tv_nsec = 50000000};

    while (get(client, id) == 0)
        (void)nanosleep(&moment, NULL);
    assert_int_equal(error.code, NOT_FOUND);
}

static int count_files(const struct service *service, const char *where)
{
    char line[256];
    int count = -1;

    (void)snprintf(line, sizeof(line), "find %s/server/data/%s -type f | wc -l", service->dir,
                   where);
    FILE *out = popen(line, "re");

    assert_non_null(out);
    assert_int_equal(fscanf(out, "%d", &count), 1);
    (void)pclose(out);
    return count;
}

/* The one entry of the action about the resource; by whom, and why. */
static void assert_audited(struct crownest_client *client, const char *action, const char *id,
                           const char *actor, const char *reason)
{
    Crownest__V1__ListAuditRequest request = CROWNEST__V1__LIST_AUDIT_REQUEST__INIT;
    Crownest__V1__ListAuditResponse *response;

    request.action = STEP_TEXT(action);
    request.resource_id = STEP_TEXT(id);
    assert_done(crownest_audit_list(client, &request, NULL, &response, &error), &error);
    assert_int_equal(response->n_entries, 1);
    assert_int_equal(strncmp(response->entries[0]->actor, actor, strlen(actor)), 0);
    assert_string_equal(response->entries[0]->reason, reason);
    crownest__v1__list_audit_response__free_unpacked(response, NULL);
}

static void retentions_have_bounds_and_a_plans(void **state)
{
    struct service *service = service_of(state);
    Google__Protobuf__Duration day = GOOGLE__PROTOBUF__DURATION__INIT;
    struct test_plan plan;

    assert_refused(keep_for(service, -1, 0), &error, INVALID_ARGUMENT, "ARTIFACT_RETENTION_INVALID",
                   "artifact_retention");
    assert_refused(keep_for(service, 0, 315360001), &error, INVALID_ARGUMENT,
                   "TOMBSTONE_RETENTION_INVALID", "tombstone_retention");
    day.seconds = 86400;
    test_plan_init(&plan, "brief");
    plan.plan.max_artifact_retention = &day;
    test_plan_use(service, &plan);
    assert_refused(keep_for(service, 86401, 0), &error, RESOURCE_EXHAUSTED, "QUOTA_RETENTION",
                   "artifact_retention");
    assert_int_equal(error.quota_limit, 86400);
    assert_done(keep_for(service, 86400, 86401), &error);
    assert_done(test_plan_give(service, "self-hosted", &error), &error);
}

static void a_deleted_artifact_goes_and_its_bytes_with_the_last(void **state)
{
    struct service *service = service_of(state);
    char sandbox[STEP_ID_SIZE];
    char ids[2][STEP_ID_SIZE];
    size_t size;
    int before = count_files(service, "blobs/sha256");

    step_create(service->client, "base", sandbox);
    step_write(service->client, sandbox, "/workspace/kept", "what is kept", 12);
    for (size_t i = 0; i < 2; i++)
        assert_done(
            step_try_collect(service->client, "", sandbox, "/workspace/kept", ids[i], &error),
            &error);
    assert_int_equal(count_files(service, "blobs/sha256"), before + 1);
    assert_refused(remove_artifact(service->other, ids[0]), &error, NOT_FOUND, "ARTIFACT_NOT_FOUND",
                   "artifact_id");
    assert_done(remove_artifact(service->client, ids[0]), &error);
    assert_refused(get_artifact(service->client, ids[0]), &error, NOT_FOUND, "ARTIFACT_NOT_FOUND",
                   "artifact_id");
    assert_refused(remove_artifact(service->client, ids[0]), &error, NOT_FOUND,
                   "ARTIFACT_NOT_FOUND", "artifact_id");
    free(step_download(service->client, ids[1], &size));
    assert_int_equal(size, 12);
    assert_done(remove_artifact(service->client, ids[1]), &error);
    assert_int_equal(count_files(service, "blobs/sha256"), before);
    assert_audited(service->client, "artifact.remove", ids[0], "key_", "");
    step_kill(service->client, sandbox);
}

static void what_has_been_kept_for_long_enough_goes(void **state)
{
    struct service *service = service_of(state);
    struct transcript transcript;
    char sandbox[STEP_ID_SIZE];
    char artifact[STEP_ID_SIZE];
    char command[STEP_ID_SIZE];
    size_t size;
    int logs = count_files(service, "logs");
    int blobs = count_files(service, "blobs/sha256");

    step_create(service->other, "base", sandbox);
    step_run_shell(service->other, sandbox, "echo kept > kept; echo kept", &transcript);
    (void)snprintf(command, sizeof(command), "%s", transcript.command_id);
    transcript_done(&transcript);
    assert_done(step_try_collect(service->other, "", sandbox, "/workspace/kept", artifact, &error),
                &error);
    step_kill(service->other, sandbox);
    assert_int_equal(count_files(service, "logs"), logs + 1);
    /* It holds for what has ended before, too. */
    assert_done(keep_for(service, 0, 1), &error);
    await_gone(service->other, sandbox, get_sandbox);
    assert_refused(get_command(service->other, command), &error, NOT_FOUND, "COMMAND_NOT_FOUND",
                   "command_id");
    /* An artifact has a time of its own. */
    free(step_download(service->other, artifact, &size));
    assert_int_equal(size, 5);
    assert_done(keep_for(service, 1, 0), &error);
    await_gone(service->other, artifact, get_artifact);
    service_crash_crownestd(service);
    service_come_back(service);
    assert_refused(get_sandbox(service->other, sandbox), &error, NOT_FOUND, "SANDBOX_NOT_FOUND",
                   "sandbox_id");
    struct timespec moment = {.tv_nsec = 50000000};

    while (count_files(service, "logs") > logs || count_files(service, "blobs/sha256") > blobs)
        (void)nanosleep(&moment, NULL);
    assert_audited(service->other, "sandbox.remove", sandbox, "system", "RETENTION");
    assert_audited(service->other, "artifact.remove", artifact, "system", "RETENTION");
    assert_done(keep_for(service, 86400, 86400), &error);
}

static void the_bytes_of_artifacts_are_bounded(void **state)
{
    struct service *service = service_of(state);
    struct test_plan plan;
    char sandbox[STEP_ID_SIZE];
    char first[STEP_ID_SIZE];
    char none[STEP_ID_SIZE];

    test_plan_init(&plan, "twenty");
    plan.plan.max_artifact_bytes = 20;
    test_plan_use(service, &plan);
    step_create(service->other, "base", sandbox);
    step_write(service->other, sandbox, "/workspace/twelve", "twelve bytes", 12);
    assert_done(step_try_collect(service->other, "", sandbox, "/workspace/twelve", first, &error),
                &error);
    for (int restarted = 0; restarted < 2; restarted++) {
        assert_quota(
            step_try_collect(service->other, "", sandbox, "/workspace/twelve", none, &error),
            &error, "QUOTA_ARTIFACT_BYTES", "artifact bytes", 20, 12);
        if (restarted == 0) {
            service_crash_crownestd(service);
            service_come_back(service);
        }
    }
    assert_done(remove_artifact(service->other, first), &error);
    assert_done(step_try_collect(service->other, "", sandbox, "/workspace/twelve", first, &error),
                &error);
    assert_done(remove_artifact(service->other, first), &error);
    step_kill(service->other, sandbox);
    assert_done(test_plan_give(service, "self-hosted", &error), &error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(retentions_have_bounds_and_a_plans),
        cmocka_unit_test(a_deleted_artifact_goes_and_its_bytes_with_the_last),
        cmocka_unit_test(the_bytes_of_artifacts_are_bounded),
        cmocka_unit_test(what_has_been_kept_for_long_enough_goes),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
