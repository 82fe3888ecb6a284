#include <inttypes.h>
#include <stdio.h>

#include "bindings/c/crownest_sandbox.h"
#include "tools/cli/connect.h"
#include "tools/cli/json.h"
#include "tools/cli/text.h"

#define MIB ((double)(1 << 20))

static void print_stats(const Crownest__V1__SandboxStatsResponse *stats)
{
    char lease[TEXT_TIME_SIZE];

    printf("processor   %.3f s\n", (double)stats->cpu_usec / 1e6);
    printf("memory      %.1f MiB", (double)stats->memory_bytes / MIB);
    if (stats->memory_peak_bytes)
        printf(", %.1f at most", (double)stats->memory_peak_bytes / MIB);
    printf("\nprocesses   %" PRIu32 "\ncommands    %" PRIu32 "\n", stats->processes,
           stats->commands);
    if (stats->oom_kills)
        printf("oom kills   %" PRIu32 "\n", stats->oom_kills);
    text_time(stats->lease_expire_time, lease);
    if (stats->lease_expire_time)
        printf("lease until %s\n", lease);
    for (size_t i = 0; i < stats->n_kept_by; i++) {
        fputs("kept by     ", stdout);
        text_print(stats->kept_by[i], stdout);
        putchar('\n');
    }
}

static int stats(const struct command *command, const struct connect_flags *connect, char *id,
                 bool as_json)
{
    Crownest__V1__SandboxStatsRequest request = CROWNEST__V1__SANDBOX_STATS_REQUEST__INIT;
    Crownest__V1__SandboxStatsResponse *response;
    struct crownest_client *client = connect_client(command, connect);
    struct crownest_error error;
    int code = EXIT_OK;

    if (!client)
        return EXIT_FAILED;
    request.sandbox_id = id;
    if (crownest_sandbox_stats(client, &request, NULL, &response, &error)) {
        code = connect_failed(command, client, &error);
    } else {
        if (!as_json)
            print_stats(response);
        else if (json_print(json_from_message(&response->base), stdout))
            code = EXIT_FAILED;
        crownest__v1__sandbox_stats_response__free_unpacked(response, NULL);
    }
    crownest_client_free(client);
    return fflush(stdout) ? EXIT_FAILED : code;
}

static int stats_run(const struct command *command, int argc, char **argv)
{
    struct connect_flags connect = {0};
    bool as_json = false;
    const struct flag flags[] = {
        {"json", 0, FLAG_SWITCH, &as_json, NULL, "print it as JSON", 0},
        CONNECT_FLAGS(&connect),
    };
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc - first != 1)
        return flags_mistake(command, "needs the id of one sandbox");
    return stats(command, &connect, argv[first], as_json);
}

const struct command command_stats = {
    .name = "stats",
    .operands = "SANDBOX",
    .summary = "what a living sandbox has used and uses now, and what keeps it alive",
    .run = stats_run,
};
