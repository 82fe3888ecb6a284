/*
 * The contract: what the generators need to know of the public proto files, read from a packed
 * google.protobuf.FileDescriptorSet (//proto:descriptors) and checked.
 *
 * Everything is held in one allocation tree under struct contract; contract_free releases it. A
 * contract is never changed after it was loaded. Single-threaded, for tools that run in the build.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONTRACT_NAME_MAX 160
#define CONTRACT_DEFAULT_REQUEST_BYTES (1024 * 1024)

struct contract_error {
    char text[512]; /* one line: who is at fault, and what to do about it */
};

enum contract_audience {
    CONTRACT_AUDIENCE_KEY = 1,
    CONTRACT_AUDIENCE_OPERATOR = 2,
    CONTRACT_AUDIENCE_ANY_KEY = 3,
    CONTRACT_AUDIENCE_ANYONE = 4,
};

/* A message as protobuf-c names it in C. */
struct contract_message {
    char type[CONTRACT_NAME_MAX];   /* Crownest__V1__KillSandboxRequest */
    char symbol[CONTRACT_NAME_MAX]; /* crownest__v1__kill_sandbox_request */
};

struct contract_method {
    char full_name[CONTRACT_NAME_MAX]; /* crownest.v1.SandboxService.Kill */
    char path[CONTRACT_NAME_MAX];      /* /crownest.v1.SandboxService/Kill */
    char name[CONTRACT_NAME_MAX];      /* SandboxService.Kill */
    char lower[CONTRACT_NAME_MAX];     /* sandbox_kill */
    char upper[CONTRACT_NAME_MAX];     /* SANDBOX_KILL */
    char scope[CONTRACT_NAME_MAX];     /* empty: none */
    char route[CONTRACT_NAME_MAX];     /* empty: none */
    enum contract_audience audience;
    bool client_streaming;
    bool server_streaming;
    uint32_t max_request_bytes; /* never 0 */
    struct contract_message input;
    struct contract_message output;
    char *comment; /* as written in the proto file; NULL: none */
};

struct contract_service {
    char noun[CONTRACT_NAME_MAX];   /* sandbox */
    char header[CONTRACT_NAME_MAX]; /* crownest/v1/sandbox.pb-c.h */
    char *comment;                  /* NULL: none */
    size_t method_count;
    struct contract_method *methods; /* in the order of the proto file */
};

struct contract {
    size_t service_count;
    struct contract_service *services; /* in the order of the descriptor set */
    size_t method_count;
    const struct contract_method **by_path; /* every method, sorted by path as strcmp does */
};

/*
 * Reads a packed FileDescriptorSet. Returns 0 and a contract that the caller frees, or -EINVAL when
 * the bytes are no descriptor set or a method breaks a rule: it has no policy or audience; its
 * audience is AUDIENCE_KEY and its scope is not `resource:action`; it has a scope that nobody could
 * use; its route is malformed or taken; both its sides stream; a name is too long. -ENOMEM when
 * memory is out. ret_error names the method.
 */
int contract_load(const uint8_t *data, size_t len, struct contract **ret_contract,
                  struct contract_error *ret_error);

/* Frees what contract_load made. NULL is fine. */
void contract_free(struct contract *contract);

/*
 * Collects the distinct scopes, sorted. Returns their number; *ret_scopes is an array of pointers
 * into the contract, to be given to free(), and NULL when memory is out.
 */
size_t contract_scopes(const struct contract *contract, const char ***ret_scopes);
