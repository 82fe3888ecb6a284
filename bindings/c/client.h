/*
 * A client of CrowNest over the gRPC C core.
 *
 * One header for each service (crownest_sandbox.h, crownest_command.h, ...) is generated from the
 * contract and declares a function for each method; this header holds what they share. Messages are
 * protobuf-c's (crownest/v1/sandbox.pb-c.h, ...).
 *
 *     struct crownest_error error;
 *     struct crownest_client *client;
 *     if (crownest_client_new(NULL, &client, &error))
 *         errx(1, "%s", error.message);
 *     Crownest__V1__CreateSandboxRequest request = CROWNEST__V1__CREATE_SANDBOX_REQUEST__INIT;
 *     Crownest__V1__CreateSandboxResponse *response;
 *     request.template_ = "python";
 *     if (crownest_sandbox_create(client, &request, NULL, &response, &error))
 *         errx(1, "%s: %s", error.reason, error.message);
 *     puts(response->sandbox->sandbox_id);
 *     crownest__v1__create_sandbox_response__free_unpacked(response, NULL);
 *     crownest_client_free(client);
 *
 * Results. Functions that can fail return 0, or a negative errno after filling the caller's struct
 * crownest_error, and leave their other out-parameters untouched. -EREMOTEIO means that the call
 * ended with a gRPC status, which error.code holds.
 *
 * Threads. A client may be used by any number of threads at once, and must outlive its streams. A
 * reader or writer belongs to one thread, except for its cancel function.
 *
 * Processes. The gRPC core runs threads of its own: do not fork without exec while a client lives.
 * The first client switches off abseil's lock-order checker for the process: Debian's gRPC is built
 * with it, and it aborts on inversions inside gRPC itself.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

/* Where a local service listens when started by `crownest up`. */
#define CROWNEST_DEFAULT_TARGET "127.0.0.1:7070"

/* How a call ended. Strings are cut at their size and are empty when the server sent none. */
struct crownest_error {
    int code;                /* a grpc_status_code; 0 when no status was at fault */
    bool retryable;          /* the same call may succeed later, unchanged */
    uint32_t retry_after_ms; /* not before; 0: choose your own pause */
    char reason[64];         /* stable, for programs: "TEMPLATE_NOT_FOUND" */
    char field[128];         /* the request's field at fault: "command.argv" */
    char request_id[72];     /* of this call, as it stands in the server's audit */
    char admitted[16];       /* whether anything was changed: "yes", "no" or "unknown" */
    char message[512];       /* for people: what is wrong and what to do */
    /* Of a refusal at a bound that somebody has set; empty and 0 otherwise. */
    char quota_metric[64];  /* of what: "sandboxes" */
    char quota_subject[64]; /* whose bound it is: "project:prj_…" */
    uint64_t quota_limit;
    uint64_t quota_used;
};

struct crownest_client_options {
    /*
     * NULL: CROWNEST_URL from the environment, else CROWNEST_DEFAULT_TARGET. "host:port" and
     * "http://host:port" are plaintext, "https://host:port" is TLS against the host's CA bundle,
     * "unix:/path" is a local socket.
     */
    const char *target;
    /* NULL: CROWNEST_API_KEY from the environment, if set. "": none is sent. */
    const char *api_key;
    /* NULL: the default project. For operators on the local socket; a key has its own project. */
    const char *project;
};

struct crownest_call_options {
    /* 0: a minute for unary calls, none for streams. Milliseconds. */
    int64_t deadline_ms;
    /*
     * NULL: not wanted. Otherwise called, when the call has ended, with each x-crownest-… metadata
     * of the server: what is left of a plan, for one (x-crownest-remaining-sandboxes).
     */
    void (*metadata)(void *arg, const char *name, const char *value);
    void *metadata_arg;
};

struct crownest_client;

/*
 * Makes a client; the connection itself is made by the first call. options may be NULL: all
 * defaults. Its strings are copied. -EINVAL: a target or key that cannot be used.
 */
int crownest_client_new(const struct crownest_client_options *options,
                        struct crownest_client **ret_client, struct crownest_error *ret_error);

/* Closes the connection and frees the client. NULL is fine. */
void crownest_client_free(struct crownest_client *client);

/* The address that calls go to, for messages. Lives as long as the client. */
const char *crownest_client_target(const struct crownest_client *client);

#define CROWNEST_REQUEST_ID_SIZE 33

/*
 * Makes a request_id: 128 random bits in hexadecimal. Set it in a request that changes something,
 * and a retry of the same request is answered with the first one's result.
 */
void crownest_request_id(char ret_id[CROWNEST_REQUEST_ID_SIZE]);

/* The name of a gRPC status code: "NOT_FOUND". */
const char *crownest_code_name(int code);
