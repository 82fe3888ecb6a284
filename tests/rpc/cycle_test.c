/*
 * Sandboxes made, used and killed leave the host as it was: processes, control groups, mounts,
 * network namespaces, descriptors, threads, directories. Used with all that they are used with:
 * commands, terminals, input, files, previews. How many: CROWNEST_TEST_CYCLES, 300 without it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bindings/c/crownest_preview.h"
#include "tests/rpc/host_state.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"
#include "tests/rpc/visitor.h"

#define WARM_UP 10
#define DEFAULT_CYCLES 300
#define CYCLES_MAX 20000
#define PREVIEW_EVERY 4 /* cycles */
#define SETTLE_MS 60000
#define FILL_MS 3000
#define REST_NS 250000000L
/* Slabs that are half full, and jails that others on this host make meanwhile. */
#define NAMESPACE_SLACK 100
/* Small heaps grow with the first uses of each worker, not with each cycle. */
#define MEMORY_SLACK (24U << 20)
#define SANDBOXD_MEMORY_SLACK (512U << 10)
/* Each sandbox has a range of ids; the lowest that is free. */
#define IDS_BEGIN 1879048192UL
#define IDS_PER_SANDBOX 65536UL
#define RANGES_IN_USE 64 /* at most: those of the pool, and of what is built or removed */

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

static struct crownest_error error;

static size_t cycles(void)
{
    const char *text = getenv("CROWNEST_TEST_CYCLES");
    size_t count = text ? strtoul(text, NULL, 10) : DEFAULT_CYCLES;

    return count < 1 || count > CYCLES_MAX ? DEFAULT_CYCLES : count;
}

static void use_commands(struct crownest_client *client, const char *id)
{
    struct transcript transcript;

    step_run_shell(client, id, "echo out; echo err >&2; setsid sleep 100 & exit 3", &transcript);
    assert_int_equal(transcript.exited->command->exit_code, 3);
    assert_int_equal(transcript.size, 8);
    transcript_done(&transcript);
}

/* Typed into, and left to be killed with the sandbox. */
static void use_terminal(struct crownest_client *client, const char *id)
{
    Crownest__V1__TerminalSize size = CROWNEST__V1__TERMINAL_SIZE__INIT;
    Crownest__V1__CommandSpec spec = step_shell(id, "cat");
    Crownest__V1__StartCommandRequest request = CROWNEST__V1__START_COMMAND_REQUEST__INIT;
    Crownest__V1__StartCommandResponse *response;
    Crownest__V1__WriteStdinRequest input = CROWNEST__V1__WRITE_STDIN_REQUEST__INIT;
    Crownest__V1__WriteStdinResponse *taken;

    spec.terminal = &size;
    spec.keep_stdin = true;
    request.command = &spec;
    assert_done(crownest_command_start(client, &request, NULL, &response, &error), &error);
    input.command_id = response->command->command_id;
    input.data = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t) "hello\n", .len = 6};
    assert_done(crownest_command_write_stdin(client, &input, NULL, &taken, &error), &error);
    assert_int_equal(taken->offset, 6);
    crownest__v1__write_stdin_response__free_unpacked(taken, NULL);
    crownest__v1__start_command_response__free_unpacked(response, NULL);
}

static void use_files(struct crownest_client *client, const char *id)
{
    size_t size;

    step_write(client, id, "dir-less", "content", 7);
    uint8_t *content = step_read(client, id, "dir-less", &size);

    assert_int_equal(size, 7);
    free(content);
}

/* An app that answers one visit. */
static void use_preview(const struct service *service, const char *id)
{
    static const char APP[] =
        "perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(Listen => 5, LocalAddr => "
        "\"127.0.0.1:8080\") or die; $| = 1; print \"up\"; $c = $s->accept; while (<$c>) { last if "
        "/^\\r/ } print $c \"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi\"; sleep 100'";
    Crownest__V1__CreatePreviewRequest request = CROWNEST__V1__CREATE_PREVIEW_REQUEST__INIT;
    Crownest__V1__CreatePreviewResponse *response;
    char command[STEP_ID_SIZE];
    struct transcript transcript;
    size_t up = 0;

    step_start(service->client, id, APP, command);
    while (up == 0) {
        step_read_log(service->client, command, 0, false, &transcript);
        up = transcript.size;
        transcript_done(&transcript);
    }
    request.sandbox_id = STEP_TEXT(id);
    request.port = 8080;
    assert_done(crownest_preview_create(service->client, &request, NULL, &response, &error),
                &error);
    const char *url = response->preview->url;
    int fd = visitor_connect(service->port);

    visitor_sendf(fd, "GET / HTTP/1.1\r\nHost: %.*s\r\nX-CrowNest-Preview-Token: %s\r\n\r\n",
                  (int)strlen(url) - 8, url + 7, response->token);
    struct answer answer = visitor_answer(fd);

    assert_int_equal(answer.status, 200);
    answer_done(&answer);
    (void)close(fd);
    crownest__v1__create_preview_response__free_unpacked(response, NULL);
}

static void cycle(const struct service *service, size_t number, char ret_id[STEP_ID_SIZE])
{
    step_create(service->client, "base", ret_id);
    use_commands(service->client, ret_id);
    use_terminal(service->client, ret_id);
    use_files(service->client, ret_id);
    if (number % PREVIEW_EVERY == 0)
        use_preview(service, ret_id);
    step_kill(service->client, ret_id);
}

/* Ranges that were not given back would be missing below. */
static void assert_low_range(const struct service *service)
{
    struct transcript transcript;
    char id[STEP_ID_SIZE];

    step_create(service->client, "base", id);
    step_run_shell(service->client, id, "read _ first _ < /proc/self/uid_map; echo $first",
                   &transcript);
    char *text = transcript_text(&transcript, CROWNEST__V1__LOG_STREAM__LOG_STREAM_STDOUT);
    unsigned long first = strtoul(text, NULL, 10);

    assert_in_range(first, IDS_BEGIN, IDS_BEGIN + RANGES_IN_USE * IDS_PER_SANDBOX);
    free(text);
    transcript_done(&transcript);
    step_kill(service->client, id);
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
        cycle(service, 1, id);
    }
    fail_msg("%zu processes below sandboxd, and not %zu", count_processes(service), processes);
}

static void assert_settles(size_t (*count)(const void *arg), const struct service *service,
                           size_t before, const char *what)
{
    size_t after = host_settle(count, service, 0, before, SETTLE_MS);

    if (after > before)
        fail_msg("%zu %s before, %zu after %zu cycles", before, what, after, cycles());
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

static void assert_memory(const char *of, pid_t pid, size_t before, size_t slack)
{
    size_t now = host_memory(pid);

    print_message("memory of %s: %zu KiB before, %zu KiB after\n", of, before / 1024, now / 1024);
    assert_true(!HOST_MEMORY_COUNTS || now <= before + slack);
}

/* ready: jails that are kept when nothing else is done. */
static void run_cycles(const struct service *service, size_t ready)
{
    static char ids[CYCLES_MAX][STEP_ID_SIZE];

    for (size_t i = 0; i < WARM_UP; i++)
        cycle(service, i, ids[i]);
    await_ready(service, ready);
    struct host before = look_at_rest(service);
    size_t crownestd = host_memory(service->crownestd);
    size_t sandboxd = host_memory(service->sandboxd);

    for (size_t i = 0; i < cycles(); i++)
        cycle(service, i, ids[i]);
    for (size_t i = 0; i < cycles(); i++)
        assert_int_equal(host_cgroups_of(ids[i]), 0);
    assert_low_range(service);
    await_ready(service, ready);
    assert_as_before(service, &before);
    assert_memory("crownestd", service->crownestd, crownestd, MEMORY_SLACK);
    assert_memory("sandboxd", service->sandboxd, sandboxd, SANDBOXD_MEMORY_SLACK);
}

static void cycles_leave_the_host_as_it_was(void **state)
{
    run_cycles(service_of(state), 0);
}

static void cycles_leave_only_the_jails_that_are_kept_ready(void **state)
{
    run_cycles(service_of(state), SERVICE_POOL);
}

int main(void)
{
    const struct CMUnitTest built[] = {
        cmocka_unit_test(cycles_leave_the_host_as_it_was),
        cmocka_unit_test(service_leaves_nothing),
    };
    const struct CMUnitTest pooled[] = {
        cmocka_unit_test(cycles_leave_only_the_jails_that_are_kept_ready),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(built, service_setup, service_teardown) +
           cmocka_run_group_tests(pooled, service_setup_pooled, service_teardown);
}
