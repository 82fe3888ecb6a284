/* The service on a disk that fails: what it says, that nothing is half done, and that it heals. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define UNAVAILABLE 14

static struct crownest_error error;

static char *fail_file(const struct service *service, char path[SERVICE_PATH_SIZE])
{
    (void)snprintf(path, SERVICE_PATH_SIZE, "%s/server/data/fail", service->dir);
    return path;
}

static void break_disk(const struct service *service)
{
    char path[SERVICE_PATH_SIZE];
    int fd = open(fail_file(service, path), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    (void)close(fd);
}

static void mend_disk(const struct service *service)
{
    char path[SERVICE_PATH_SIZE];

    assert_int_equal(unlink(fail_file(service, path)), 0);
}

static size_t count_sandboxes(struct crownest_client *client)
{
    Crownest__V1__ListSandboxesRequest request = CROWNEST__V1__LIST_SANDBOXES_REQUEST__INIT;
    Crownest__V1__ListSandboxesResponse *response;

    assert_done(crownest_sandbox_list(client, &request, NULL, &response, &error), &error);
    size_t count = response->n_sandboxes;

    crownest__v1__list_sandboxes_response__free_unpacked(response, NULL);
    return count;
}

static void the_first_error_is_said_and_nothing_is_half_done(void **state)
{
    struct service *service = service_of(state);
    struct crownest_client *client = service->client;
    struct crownest_stream *health = step_watch_health(client, "");
    char before[STEP_ID_SIZE];
    char id[STEP_ID_SIZE];

    step_await_health(health, true);
    step_create(client, "base", before);
    break_disk(service);
    assert_refused(step_try_create(client, "one", "base", id, &error), &error, UNAVAILABLE,
                   "STORE_FAILED", "");
    assert_true(error.retryable);
    step_await_health(health, false);
    assert_refused(step_try_create(client, "two", "base", id, &error), &error, UNAVAILABLE,
                   "STORE_FAILED", "");
    crownest__v1__sandbox__free_unpacked(step_sandbox(client, before), NULL);
    mend_disk(service);
    step_await_health(health, true);
    assert_int_equal(count_sandboxes(client), 1);
    assert_done(step_try_create(client, "one", "base", id, &error), &error);
    assert_int_equal(count_sandboxes(client), 2);
    crownest_stream_free(health);
    /* What could not be created is not in the way of the others' end. */
    service_stop(service);
    service_come_back(service);
    Crownest__V1__Sandbox *sandbox = step_sandbox(service->client, id);

    assert_int_equal(sandbox->end_cause, CROWNEST__V1__END_CAUSE__END_CAUSE_KILLED);
    crownest__v1__sandbox__free_unpacked(sandbox, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_error_is_said_and_nothing_is_half_done),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup_failing_disk, service_teardown);
}
