/*
 * The service is killed again and again, in the middle of what it was asked to do: no receipt has a
 * hole or an overlap, and each says as much as the sandbox ran. How often: CROWNEST_TEST_KILLS, 50
 * without it; CROWNEST_TEST_SEED sets the moments.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define DEFAULT_KILLS 50
#define SANDBOXES 4
#define TTL_S 3600
#define DELAY_US 30000 /* at most, from a request to the death of who was to answer it */
#define MILLE 1000     /* of what is metered, one may be wrong */

static struct crownest_error error;

enum act { CREATE, PAUSE, RESUME, KILL, ACTS };

/* One that is watched from outside: what it did at least, and at most, in microseconds. */
struct watched {
    char id[STEP_ID_SIZE]; /* "": not created yet, or it is not known whether */
    bool lives;
    bool paused;
    uint64_t surely_since; /* it has been as it is since then, surely, */
    uint64_t maybe_since;  /* or perhaps */
    uint64_t least[2];     /* running, paused */
    uint64_t most[2];
    uint64_t metered[2];
};

struct request {
    struct crownest_client *client;
    enum act act;
    char id[STEP_ID_SIZE];
    int result;
};

static uint64_t now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static unsigned long number_of(const char *name, unsigned long fallback)
{
    const char *text = getenv(name);

    return text ? strtoul(text, NULL, 10) : fallback;
}

static int create(struct request *request, struct crownest_error *ret_error)
{
    Crownest__V1__CreateSandboxRequest message = CROWNEST__V1__CREATE_SANDBOX_REQUEST__INIT;
    Crownest__V1__CreateSandboxResponse *response;
    Google__Protobuf__Duration ttl = GOOGLE__PROTOBUF__DURATION__INIT;

    ttl.seconds = TTL_S;
    message.ttl = &ttl;
    int result = crownest_sandbox_create(request->client, &message, NULL, &response, ret_error);

    if (result)
        return result;
    (void)snprintf(request->id, sizeof(request->id), "%s", response->sandbox->sandbox_id);
    crownest__v1__create_sandbox_response__free_unpacked(response, NULL);
    return 0;
}

#define CHANGE(name, Name, NAME)                                                                   \
    static int name(struct request *request, struct crownest_error *ret_error)                     \
    {                                                                                              \
        Crownest__V1__##Name##SandboxRequest message =                                             \
            CROWNEST__V1__##NAME##_SANDBOX_REQUEST__INIT;                                          \
        Crownest__V1__##Name##SandboxResponse *response;                                           \
                                                                                                   \
        message.sandbox_id = request->id;                                                          \
        int result =                                                                               \
            crownest_sandbox_##name(request->client, &message, NULL, &response, ret_error);        \
                                                                                                   \
        if (result == 0)                                                                           \
            protobuf_c_message_free_unpacked(&response->base, NULL);                               \
        return result;                                                                             \
    }

CHANGE(pause, Pause, PAUSE)
CHANGE(resume, Resume, RESUME)
CHANGE(kill, Kill, KILL)

#undef CHANGE

static void *send_request(void *arg)
{
    static int (*const acts[ACTS])(struct request *, struct crownest_error *) = {create, pause,
                                                                                 resume, kill};
    struct request *request = arg;
    struct crownest_error ignored;

    request->result = acts[request->act](request, &ignored);
    return NULL;
}

/* It has become something else between the two moments. */
static void turn(struct watched *watched, uint64_t from, uint64_t to)
{
    uint64_t least = from > watched->surely_since ? from - watched->surely_since : 0;

    if (watched->lives) {
        watched->least[watched->paused] += least;
        watched->most[watched->paused] += to - watched->maybe_since;
    }
    watched->surely_since = to;
    watched->maybe_since = from;
}

/* What it is now, when what was asked for was done, or was not, between the two moments. */
static void observe(struct crownest_client *client, struct watched *watched, uint64_t from)
{
    Crownest__V1__Sandbox *sandbox = step_sandbox(client, watched->id);
    bool lives = sandbox->end_time == NULL;
    bool paused = sandbox->state == CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_PAUSED;

    if (lives != watched->lives || (lives && paused != watched->paused)) {
        turn(watched, from, now_us());
        watched->lives = lives;
        watched->paused = paused;
    }
    crownest__v1__sandbox__free_unpacked(sandbox, NULL);
}

/* Which act fits what it is. */
static enum act choose(const struct watched *watched, unsigned *seed)
{
    if (!watched->lives)
        return CREATE;
    if (rand_r(seed) % 5 == 0)
        return KILL;
    return watched->paused ? RESUME : PAUSE;
}

static void assert_metered(struct crownest_client *client, struct watched *watched)
{
    Crownest__V1__Receipt *receipt = step_receipt(client, watched->id);
    uint64_t metered[2] = {receipt->running_usec, receipt->paused_usec};

    assert_receipt_is_whole(receipt);
    assert_true(receipt->final);
    for (int i = 0; i < 2; i++) {
        if (metered[i] + metered[i] / MILLE < watched->least[i] ||
            metered[i] - metered[i] / MILLE > watched->most[i])
            fail_msg("%s was %s for %llu to %llu us, and metered for %llu", watched->id,
                     i ? "paused" : "running", (unsigned long long)watched->least[i],
                     (unsigned long long)watched->most[i], (unsigned long long)metered[i]);
        watched->metered[i] += metered[i];
    }
    crownest__v1__receipt__free_unpacked(receipt, NULL);
}

struct totals {
    unsigned lives;
    uint64_t least, most, metered;
};

/* Its next life begins with nothing. */
static void close_life(struct crownest_client *client, struct watched *watched,
                       struct totals *totals)
{
    assert_metered(client, watched);
    totals->lives++;
    totals->least += watched->least[0];
    totals->most += watched->most[0];
    totals->metered += watched->metered[0];
    *watched = (struct watched){0};
}

/* Asks for something and kills whoever does it, sometimes before, sometimes after it was done. */
static void disturb(struct service *service, struct watched *watched, unsigned *seed,
                    struct totals *totals)
{
    struct request request = {.client = service_client(service, service->key),
                              .act = choose(watched, seed)};
    struct timespec delay = {.tv_nsec = (long)(rand_r(seed) % DELAY_US) * 1000};
    uint64_t from = now_us();
    pthread_t thread;

    memcpy(request.id, watched->id, sizeof(request.id));
    assert_int_equal(pthread_create(&thread, NULL, send_request, &request), 0);
    (void)nanosleep(&delay, NULL);
    if (rand_r(seed) % 3 == 0)
        service_crash_sandboxd(service);
    service_crash_crownestd(service);
    assert_int_equal(pthread_join(thread, NULL), 0);
    service_come_back(service);
    crownest_client_free(request.client);
    if (request.act == CREATE && request.result == 0)
        memcpy(watched->id, request.id, sizeof(watched->id));
    if (watched->id[0])
        observe(service->client, watched, from);
    if (watched->id[0] && !watched->lives)
        close_life(service->client, watched, totals);
}

/* The same in peace. */
static void change(struct service *service, struct watched *watched, unsigned *seed,
                   struct totals *totals)
{
    struct request request = {.client = service->client, .act = choose(watched, seed)};
    uint64_t from = now_us();

    memcpy(request.id, watched->id, sizeof(request.id));
    (void)send_request(&request);
    assert_int_equal(request.result, 0);
    memcpy(watched->id, request.id, sizeof(watched->id));
    observe(service->client, watched, from);
    if (!watched->lives)
        close_life(service->client, watched, totals);
}

static void finish(struct service *service, struct watched *watched, struct totals *totals)
{
    uint64_t from = now_us();

    step_kill(service->client, watched->id);
    observe(service->client, watched, from);
    close_life(service->client, watched, totals);
}

/* Those whose creation nobody was told of. */
static void kill_the_rest(struct crownest_client *client)
{
    Crownest__V1__ListSandboxesRequest request = CROWNEST__V1__LIST_SANDBOXES_REQUEST__INIT;
    Crownest__V1__ListSandboxesResponse *response;

    request.page_size = 500;
    assert_done(crownest_sandbox_list(client, &request, NULL, &response, &error), &error);
    for (size_t i = 0; i < response->n_sandboxes; i++) {
        if (!response->sandboxes[i]->end_time)
            step_kill(client, response->sandboxes[i]->sandbox_id);
        Crownest__V1__Receipt *receipt = step_receipt(client, response->sandboxes[i]->sandbox_id);

        assert_receipt_is_whole(receipt);
        crownest__v1__receipt__free_unpacked(receipt, NULL);
    }
    crownest__v1__list_sandboxes_response__free_unpacked(response, NULL);
}

static void no_second_is_lost_or_billed_twice(void **state)
{
    struct service *service = service_of(state);
    unsigned long kills = number_of("CROWNEST_TEST_KILLS", DEFAULT_KILLS);
    unsigned seed = (unsigned)number_of("CROWNEST_TEST_SEED", 1);
    struct watched watched[SANDBOXES] = {0};
    struct watched steady = {0};
    struct totals totals = {0};
    struct totals quiet = {0};

    change(service, &steady, &seed, &quiet);
    for (unsigned long i = 0; i < kills; i++) {
        change(service, &watched[(unsigned)rand_r(&seed) % SANDBOXES], &seed, &totals);
        disturb(service, &watched[(unsigned)rand_r(&seed) % SANDBOXES], &seed, &totals);
    }
    for (size_t i = 0; i < SANDBOXES; i++) {
        if (watched[i].lives)
            finish(service, &watched[i], &totals);
    }
    finish(service, &steady, &quiet);
    kill_the_rest(service->client);
    uint64_t verified = step_verify_usage(service->client);

    print_message("%lu kills; one that ran through all of them: %.6f s metered, %.6f to %.6f "
                  "seen; %u others: %.3f s metered, %.3f to %.3f seen; %llu sandboxes verified\n",
                  kills, (double)quiet.metered / 1e6, (double)quiet.least / 1e6,
                  (double)quiet.most / 1e6, totals.lives, (double)totals.metered / 1e6,
                  (double)totals.least / 1e6, (double)totals.most / 1e6,
                  (unsigned long long)verified);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_second_is_lost_or_billed_twice),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup_pooled, service_teardown);
}
