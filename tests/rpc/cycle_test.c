/*
 * 300 sandboxes made, used and killed leave the host as it was: processes, control groups, mounts,
 * network namespaces, descriptors, threads, directories.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tests/rpc/host_state.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define WARM_UP 10
#define CYCLES 300
#define SETTLE_MS 60000
#define FILL_MS 3000
#define REST_NS 250000000L
/* Slabs that are half full, and jails that others on this host make meanwhile. */
#define NAMESPACE_SLACK 100
/* Small heaps grow with the first uses of each worker, not with each cycle. */
#define MEMORY_SLACK (24U << 20)

struct host {
    size_t processes;
    size_t namespaces;
    size_t mounts;
    size_t sandboxd_descriptors;
    size_t crownestd_descriptors;
    size_t crownestd_threads;
    size_t jails;
    size_t run_files;
    size_t run_entries;
};

static void cycle(struct crownest_client *client, char ret_id[STEP_ID_SIZE])
{
    struct transcript transcript;

    step_create(client, "base", ret_id);
    step_run_shell(client, ret_id, "echo out; echo err >&2; setsid sleep 100 & exit 3",
                   &transcript);
    assert_int_equal(transcript.exited->command->exit_code, 3);
    assert_int_equal(transcript.size, 8);
    transcript_done(&transcript);
    step_kill(client, ret_id);
}

static size_t count_processes(const void *arg)
{
    return host_descendants(((const struct service *)arg)->sandboxd);
}

static size_t count_orphans(const void *arg)
{
    return host_orphaned_cgroups(((const struct service *)arg)->start);
}

static size_t count_namespaces(const void *arg)
{
    (void)arg;
    return host_network_namespaces_allocated();
}

/* The database opens and closes files as it sees fit; all other descriptors are ours. */
static size_t count_descriptors(const struct service *service, pid_t pid)
{
    char database[SERVICE_PATH_SIZE];

    (void)snprintf(database, sizeof(database), "%s/server/data/db", service->dir);
    return host_descriptors(pid) - host_descriptors_below(pid, database);
}

static size_t count_crownestd(const void *arg)
{
    const struct service *service = arg;

    return count_descriptors(service, service->crownestd);
}

static size_t count_sandboxd(const void *arg)
{
    const struct service *service = arg;

    return count_descriptors(service, service->sandboxd);
}

static size_t count_threads(const void *arg)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/proc/%d/task",
                   (int)((const struct service *)arg)->crownestd);
    return host_entries(path);
}

static size_t count_mounts(const void *arg)
{
    const struct service *service = arg;

    return host_mounts(service->sandboxd) + host_mounts(service->crownestd);
}

static struct host look(const struct service *service)
{
    struct host host = {.processes = count_processes(service),
                        .namespaces = count_namespaces(service),
                        .mounts = count_mounts(service),
                        .sandboxd_descriptors = count_sandboxd(service),
                        .crownestd_descriptors = count_crownestd(service),
                        .crownestd_threads = count_threads(service)};
    char run[SERVICE_PATH_SIZE];
    char inventory[SERVICE_PATH_SIZE];

    (void)snprintf(inventory, sizeof(inventory), "%s/run/inventory", service->dir);
    host.jails = host_entries(inventory);
    (void)snprintf(run, sizeof(run), "%s/run", service->dir);
    host.run_files = host_files(run);
    host.run_entries = host_entries(run);
    return host;
}

/* A jail that is being built is a process too, with descriptors to come: looks until none is. */
static struct host look_at_rest(const struct service *service)
{
    const struct timespec pause = {.tv_nsec = REST_NS};
    struct host last;
    struct host host = look(service);

    do {
        last = host;
        (void)nanosleep(&pause, NULL);
        host = look(service);
        host.namespaces = last.namespaces; /* others' come and go */
    } while (memcmp(&host, &last, sizeof(host)) != 0);
    return host;
}

/* So many jails with their processes, and none that builds or removes another. */
static bool is_at_rest(const struct service *service, size_t ready)
{
    struct host host = look_at_rest(service);

    return host.processes == ready * HOST_IDLE_PROCESSES && host.jails == ready;
}

/*
 * Until there are so many jails. The pool fills up only when half of it is gone, so it may take
 * another sandbox or two.
 */
static void await_ready(const struct service *service, size_t ready)
{
    char id[STEP_ID_SIZE];
    size_t processes = ready * HOST_IDLE_PROCESSES;

    for (size_t i = 0; i <= SERVICE_POOL; i++) {
        if (host_settle(count_processes, service, processes, processes, FILL_MS) == processes &&
            is_at_rest(service, ready))
            return;
        cycle(service->client, id);
    }
    fail_msg("%zu processes below sandboxd, and not %zu", count_processes(service), processes);
}

static void assert_settles(size_t (*count)(const void *arg), const struct service *service,
                           size_t before, const char *what)
{
    size_t after = host_settle(count, service, 0, before, SETTLE_MS);

    if (after > before)
        fail_msg("%zu %s before, %zu after %d cycles", before, what, after, CYCLES);
}

static void assert_as_before(const struct service *service, const struct host *before)
{
    assert_settles(count_mounts, service, before->mounts, "mounts");
    assert_settles(count_sandboxd, service, before->sandboxd_descriptors,
                   "descriptors of sandboxd");
    assert_settles(count_crownestd, service, before->crownestd_descriptors,
                   "descriptors of crownestd");
    assert_settles(count_threads, service, before->crownestd_threads, "threads of crownestd");
    assert_settles(count_namespaces, service, before->namespaces + NAMESPACE_SLACK,
                   "network namespaces");
    assert_int_equal(host_network_namespaces(service->sandboxd),
                     before->processes / HOST_IDLE_PROCESSES);
    assert_int_equal(host_settle(count_orphans, service, 0, 0, SETTLE_MS), 0);
    struct host after = look(service);

    assert_int_equal(after.run_files, before->run_files);
    assert_int_equal(after.run_entries, before->run_entries);
}

/* ready: jails that are kept when nothing else is done. */
static void run_cycles(const struct service *service, size_t ready)
{
    static char ids[CYCLES][STEP_ID_SIZE];

    for (size_t i = 0; i < WARM_UP; i++)
        cycle(service->client, ids[i]);
    await_ready(service, ready);
    struct host before = look_at_rest(service);
    size_t memory = host_memory(service->crownestd);

    for (size_t i = 0; i < CYCLES; i++)
        cycle(service->client, ids[i]);
    for (size_t i = 0; i < CYCLES; i++)
        assert_int_equal(host_cgroups_of(ids[i]), 0);
    await_ready(service, ready);
    assert_as_before(service, &before);
    size_t now = host_memory(service->crownestd);

    print_message("memory of crownestd: %zu KiB before, %zu KiB after\n", memory / 1024,
                  now / 1024);
    assert_true(!HOST_MEMORY_COUNTS || now <= memory + MEMORY_SLACK);
}

static void three_hundred_cycles_leave_the_host_as_it_was(void **state)
{
    run_cycles(service_of(state), 0);
}

static void three_hundred_cycles_leave_only_the_jails_that_are_kept_ready(void **state)
{
    run_cycles(service_of(state), SERVICE_POOL);
}

int main(void)
{
    const struct CMUnitTest built[] = {
        cmocka_unit_test(three_hundred_cycles_leave_the_host_as_it_was),
        cmocka_unit_test(service_leaves_nothing),
    };
    const struct CMUnitTest pooled[] = {
        cmocka_unit_test(three_hundred_cycles_leave_only_the_jails_that_are_kept_ready),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(built, service_setup, service_teardown) +
           cmocka_run_group_tests(pooled, service_setup_pooled, service_teardown);
}
