/* Sandboxes from jails that were ready: each its own, none with a trace of another. */
#include <stdio.h>
#include <string.h>

#include "tests/rpc/host_state.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define LIVES 12
#define AT_ONCE 8

/* Fails when the sandbox has a trace of an earlier life; then leaves traces of its own. */
static void live(struct crownest_client *client, const char *id)
{
    step_do(
        client, id,
        "test -z \"$(find /workspace /tmp /dev/shm -mindepth 1)\" && test $(hostname) = sandbox && "
        "test $CROWNEST_SANDBOX_ID != \"\" && test ! -e /home/user/trace && "
        "touch /workspace/trace /tmp/trace /dev/shm/trace /home/user/trace && "
        "(setsid sleep 1000 &)");
}

static void a_life_finds_no_trace_of_another(void **state)
{
    struct crownest_client *client = service_of(state)->client;

    for (int i = 0; i < LIVES; i++) {
        char id[STEP_ID_SIZE];

        step_create(client, "base", id);
        live(client, id);
        step_kill(client, id);
    }
}

static void more_than_are_ready_are_built(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    char ids[AT_ONCE][STEP_ID_SIZE];

    for (int i = 0; i < AT_ONCE; i++)
        step_create(client, "base", ids[i]);
    for (int i = 0; i < AT_ONCE; i++) {
        live(client, ids[i]);
        for (int other = 0; other < i; other++)
            assert_string_not_equal(ids[i], ids[other]);
    }
    for (int i = 0; i < AT_ONCE; i++)
        step_kill(client, ids[i]);
}

static void limits_are_those_that_were_asked_for(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    const uint64_t sizes[] = {8U << 20, 16U << 20};
    const unsigned files[] = {128, 256};

    for (int i = 0; i < LIVES; i++) {
        Crownest__V1__CreateSandboxRequest request = CROWNEST__V1__CREATE_SANDBOX_REQUEST__INIT;
        Crownest__V1__Resources resources = CROWNEST__V1__RESOURCES__INIT;
        Crownest__V1__CreateSandboxResponse *response;
        struct crownest_error error;
        char line[128];

        resources.disk_bytes = sizes[i % 2];
        resources.max_open_files = files[i / 2 % 2];
        request.resources = &resources;
        assert_done(crownest_sandbox_create(client, &request, NULL, &response, &error), &error);
        (void)snprintf(line, sizeof(line),
                       "test $(df --output=size -B1 / | tail -1) = %llu && test $(ulimit -n) = %u",
                       (unsigned long long)sizes[i % 2], files[i / 2 % 2]);
        step_do(client, response->sandbox->sandbox_id, line);
        step_kill(client, response->sandbox->sandbox_id);
        crownest__v1__create_sandbox_response__free_unpacked(response, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_life_finds_no_trace_of_another),
        cmocka_unit_test(more_than_are_ready_are_built),
        cmocka_unit_test(limits_are_those_that_were_asked_for),
    };

    return cmocka_run_group_tests(tests, service_setup_pooled, service_teardown);
}
