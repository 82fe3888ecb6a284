#include <stdio.h>
#include <time.h>

#include "bindings/c/crownest_sandbox.h"
#include "server/util/clock.h"
#include "server/util/prototime.h"
#include "tools/cli/connect.h"
#include "tools/cli/retry.h"
#include "tools/cli/text.h"

/* Renews it once, however long the service is away. *ret_left_ms: until it runs out. */
static int renew(const struct command *command, struct crownest_client *client, char *id,
                 struct retry *retry, uint64_t *ret_left_ms)
{
    Crownest__V1__HeartbeatSandboxRequest request = CROWNEST__V1__HEARTBEAT_SANDBOX_REQUEST__INIT;
    Crownest__V1__HeartbeatSandboxResponse *response;
    struct crownest_error error;
    char until[TEXT_TIME_SIZE];
    uint64_t now = clock_wall_ms();

    request.sandbox_id = id;
    while (crownest_sandbox_heartbeat(client, &request, NULL, &response, &error))
        if (!retry_again(retry, &error))
            return connect_failed(command, client, &error);
    retry_reset(retry);
    text_time(response->lease_expire_time, until);
    printf("%s\n", until);
    uint64_t end = prototime_ms(response->lease_expire_time);
    *ret_left_ms = end > now ? end - now : 0;
    crownest__v1__heartbeat_sandbox_response__free_unpacked(response, NULL);
    return fflush(stdout) ? EXIT_FAILED : EXIT_OK;
}

/* Three times in its length, so that one that fails is made up for. */
static void rest(uint64_t left_ms)
{
    uint64_t ms = left_ms / 3;
    struct timespec pause = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};

    (void)nanosleep(&pause, NULL);
}

static int heartbeat(const struct command *command, const struct connect_flags *connect, char *id,
                     bool keep)
{
    struct crownest_client *client = connect_client(command, connect);
    struct retry retry = RETRY(RETRY_FIRST_CONTACT_MS);
    uint64_t left_ms = 0;
    int code = EXIT_FAILED;

    if (!client)
        return code;
    while (!(code = renew(command, client, id, &retry, &left_ms)) && keep) {
        /* As long as a lease may be: then it is too late whatever comes. */
        retry.window_ms = left_ms > RETRY_WINDOW_MS ? left_ms : RETRY_WINDOW_MS;
        rest(left_ms);
    }
    crownest_client_free(client);
    return code;
}

static int heartbeat_run(const struct command *command, int argc, char **argv)
{
    struct connect_flags connect = {0};
    bool keep = false;
    const struct flag flags[] = {
        {"keep", 0, FLAG_SWITCH, &keep, NULL, "go on until a signal ends this program", 0},
        CONNECT_FLAGS(&connect),
    };
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc - first != 1)
        return flags_mistake(command, "needs the id of one sandbox");
    return heartbeat(command, &connect, argv[first], keep);
}

const struct command command_heartbeat = {
    .name = "heartbeat",
    .operands = "SANDBOX",
    .summary = "renew the lease of a sandbox that was created with one",
    .manual =
        "Prints when it runs out. With --keep it is renewed three times in its length, for as\n"
        "long as this program lives: `crownest heartbeat --keep ID &` ties a sandbox to a shell.\n",
    .run = heartbeat_run,
};
