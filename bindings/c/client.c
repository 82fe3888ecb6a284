#include "bindings/c/client.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>

#include "bindings/c/channel.h"
#include "bindings/c/error.h"

#define MAX_RESPONSE_BYTES (16 * 1024 * 1024)
#define MAX_KEY_BYTES 256
/* A service that is restarted is found again soon; gRPC's own pauses grow to two minutes. */
#define FIRST_RECONNECT_MS 100
#define LAST_RECONNECT_MS 2000

/* absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore), which C cannot name. */
void abseil_set_deadlock_mode(int mode) __asm__(
    "_ZN4absl7debian329SetMutexDeadlockDetectionModeENS0_15OnDeadlockCycleE");
#define ABSEIL_IGNORE_DEADLOCKS 0

static void before_first_client(void)
{
    abseil_set_deadlock_mode(ABSEIL_IGNORE_DEADLOCKS);
}

/* Visible ASCII: what an HTTP header may hold without being split or refused. */
static bool is_header_text(const char *text)
{
    for (; *text; text++)
        if (*text <= ' ' || *text > '~')
            return false;
    return true;
}

static void add_metadata(struct crownest_client *client, const char *key, const char *value)
{
    grpc_metadata *metadata = &client->metadata[client->metadata_count++];

    metadata->key = grpc_slice_from_copied_string(key);
    metadata->value = grpc_slice_from_copied_string(value);
}

static int set_identity(struct crownest_client *client, const char *api_key, const char *project,
                        struct crownest_error *error)
{
    char bearer[sizeof("Bearer ") + MAX_KEY_BYTES];

    if (api_key && api_key[0]) {
        if (strlen(api_key) > MAX_KEY_BYTES || !is_header_text(api_key))
            return crownest_error_local(error, EINVAL, "the API key is malformed");
        (void)snprintf(bearer, sizeof(bearer), "Bearer %s", api_key);
        add_metadata(client, "authorization", bearer);
        explicit_bzero(bearer, sizeof(bearer));
    }
    if (project && project[0]) {
        if (!is_header_text(project))
            return crownest_error_local(error, EINVAL, "the project's name is malformed");
        add_metadata(client, "x-crownest-project", project);
    }
    return 0;
}

/* Strips the scheme; *ret_tls says which one it was. */
static const char *parse_target(const char *target, bool *ret_tls)
{
    *ret_tls = !strncmp(target, "https://", strlen("https://"));
    if (*ret_tls)
        return target + strlen("https://");
    if (!strncmp(target, "http://", strlen("http://")))
        return target + strlen("http://");
    return target;
}

static int open_channel(struct crownest_client *client, struct crownest_error *error)
{
    /* Retries and proxies are for the caller to decide: a key must not go where nobody sent it. */
    grpc_arg args[] = {
        {.type = GRPC_ARG_INTEGER, .key = GRPC_ARG_ENABLE_HTTP_PROXY, .value.integer = 0},
        {.type = GRPC_ARG_INTEGER, .key = GRPC_ARG_ENABLE_RETRIES, .value.integer = 0},
        {.type = GRPC_ARG_INTEGER,
         .key = GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION,
         .value.integer = 1},
        {.type = GRPC_ARG_INTEGER,
         .key = GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
         .value.integer = MAX_RESPONSE_BYTES},
        {.type = GRPC_ARG_INTEGER,
         .key = GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS,
         .value.integer = FIRST_RECONNECT_MS},
        {.type = GRPC_ARG_INTEGER,
         .key = GRPC_ARG_MAX_RECONNECT_BACKOFF_MS,
         .value.integer = LAST_RECONNECT_MS},
    };
    grpc_channel_args channel_args = {.num_args = sizeof(args) / sizeof(args[0]), .args = args};
    bool tls;
    char *address = strdup(parse_target(client->target, &tls));

    if (!address)
        return crownest_error_local(error, ENOMEM, "out of memory");
    if (strncmp(address, "unix:", strlen("unix:")) != 0)
        address[strcspn(address, "/")] = '\0';
    grpc_channel_credentials *credentials =
        tls ? grpc_ssl_credentials_create(NULL, NULL, NULL, NULL)
            : grpc_insecure_credentials_create();
    client->channel = grpc_channel_create(address, credentials, &channel_args);
    grpc_channel_credentials_release(credentials);
    free(address);
    return client->channel
               ? 0
               : crownest_error_local(error, EINVAL, "cannot use %s as a target", client->target);
}

static const char *choose(const char *given, const char *variable, const char *otherwise)
{
    if (given)
        return given;
    const char *value = getenv(variable);
    return value && value[0] ? value : otherwise;
}

int crownest_client_new(const struct crownest_client_options *options,
                        struct crownest_client **ret_client, struct crownest_error *ret_error)
{
    static const struct crownest_client_options defaults;
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    if (!options)
        options = &defaults;
    (void)pthread_once(&once, before_first_client);
    struct crownest_client *client = calloc(1, sizeof(*client));
    if (!client)
        return crownest_error_local(ret_error, ENOMEM, "out of memory");
    grpc_init();
    client->target = strdup(choose(options->target, "CROWNEST_URL", CROWNEST_DEFAULT_TARGET));
    int result = client->target ? 0 : crownest_error_local(ret_error, ENOMEM, "out of memory");
    if (!result)
        result = set_identity(client, choose(options->api_key, "CROWNEST_API_KEY", NULL),
                              options->project, ret_error);
    if (!result)
        result = open_channel(client, ret_error);
    if (result) {
        crownest_client_free(client);
        return result;
    }
    *ret_client = client;
    return 0;
}

void crownest_client_free(struct crownest_client *client)
{
    if (!client)
        return;
    if (client->channel)
        grpc_channel_destroy(client->channel);
    for (size_t i = 0; i < client->metadata_count; i++) {
        grpc_slice_unref(client->metadata[i].key);
        grpc_slice_unref(client->metadata[i].value);
    }
    free(client->target);
    free(client);
    grpc_shutdown();
}

const char *crownest_client_target(const struct crownest_client *client)
{
    return client->target;
}

void crownest_request_id(char ret_id[CROWNEST_REQUEST_ID_SIZE])
{
    unsigned char bits[16];

    /* 16 bytes come whole and cannot fail once the kernel's pool is filled. */
    while (getrandom(bits, sizeof(bits), 0) != (ssize_t)sizeof(bits))
        continue;
    for (size_t i = 0; i < sizeof(bits); i++)
        (void)snprintf(ret_id + 2 * i, 3, "%02x", bits[i]);
}
