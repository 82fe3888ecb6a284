/* Requests for a sandbox that are refused: each with its own status, and nothing comes of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/rpc/leftovers.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define MANY_VARIABLES 257
#define HUGE_VALUE (5U << 20)

/* A request with room for what cases put into it. */
struct attempt {
    Crownest__V1__CreateSandboxRequest request;
    Google__Protobuf__Duration ttl;
    Crownest__V1__Resources resources;
    Crownest__V1__CreateSandboxRequest__EnvEntry variable;
    Crownest__V1__CreateSandboxRequest__LabelsEntry label;
    Crownest__V1__CreateSandboxRequest__EnvEntry *env[MANY_VARIABLES];
    Crownest__V1__CreateSandboxRequest__LabelsEntry *labels[1];
};

struct bad {
    const char *what;
    void (*fill)(struct attempt *attempt);
    int code;
    const char *reason;
    const char *field;
};

static char *huge;

static void unknown_template(struct attempt *a)
{
    a->request.template_ = STEP_TEXT("no-such-template");
}

static void template_path(struct attempt *a)
{
    a->request.template_ = STEP_TEXT("../templates/base");
}

static void unknown_digest(struct attempt *a)
{
    a->request.template_ =
        STEP_TEXT("sha256:0000000000000000000000000000000000000000000000000000000000000000");
}

static void ttl_of(struct attempt *a, int64_t seconds, int32_t nanos)
{
    a->ttl.seconds = seconds;
    a->ttl.nanos = nanos;
    a->request.ttl = &a->ttl;
}

static void ttl_zero(struct attempt *a)
{
    ttl_of(a, 0, 0);
}

static void ttl_negative(struct attempt *a)
{
    ttl_of(a, -1, 0);
}

static void ttl_negative_nanos(struct attempt *a)
{
    ttl_of(a, 0, -1);
}

static void ttl_beyond(struct attempt *a)
{
    ttl_of(a, 86401, 0);
}

static void ttl_overflow(struct attempt *a)
{
    ttl_of(a, INT64_MAX, 999999999);
}

static void variable(struct attempt *a, const char *name, const char *value)
{
    a->variable.key = STEP_TEXT(name);
    a->variable.value = STEP_TEXT(value);
    a->env[0] = &a->variable;
    a->request.env = a->env;
    a->request.n_env = 1;
}

static void env_huge(struct attempt *a)
{
    variable(a, "HUGE", huge);
}

static void env_digit(struct attempt *a)
{
    variable(a, "1ST", "x");
}

static void env_equals(struct attempt *a)
{
    variable(a, "A=B", "x");
}

static void env_unnamed(struct attempt *a)
{
    variable(a, "", "x");
}

static void env_many(struct attempt *a)
{
    variable(a, "A", "x");
    for (size_t i = 1; i < MANY_VARIABLES; i++)
        a->env[i] = &a->variable;
    a->request.n_env = MANY_VARIABLES;
}

static void label_bad(struct attempt *a)
{
    a->label.key = STEP_TEXT("No Capitals");
    a->labels[0] = &a->label;
    a->request.labels = a->labels;
    a->request.n_labels = 1;
}

static void memory_small(struct attempt *a)
{
    a->resources.memory_bytes = 1;
    a->request.resources = &a->resources;
}

static void memory_large(struct attempt *a)
{
    a->resources.memory_bytes = UINT64_MAX;
    a->request.resources = &a->resources;
}

static void cpu_large(struct attempt *a)
{
    a->resources.cpu_millis = 64001;
    a->request.resources = &a->resources;
}

static void processes_few(struct attempt *a)
{
    a->resources.max_processes = 7;
    a->request.resources = &a->resources;
}

static void disk_large(struct attempt *a)
{
    a->resources.disk_bytes = (64ULL << 30) + 1;
    a->request.resources = &a->resources;
}

static void request_id_bad(struct attempt *a)
{
    a->request.request_id = STEP_TEXT("no spaces");
}

static void request_id_long(struct attempt *a)
{
    a->request.request_id =
        STEP_TEXT("0123456789012345678901234567890123456789012345678901234567890123x");
}

static void template_not_utf8(struct attempt *a)
{
    a->request.template_ = STEP_TEXT("base\xff");
}

static void env_not_utf8(struct attempt *a)
{
    variable(a, "A", "\xc3\x28");
}

static const struct bad table[] = {
    {"unknown template", unknown_template, 5, "TEMPLATE_NOT_FOUND", "template"},
    {"a path for a template", template_path, 5, "TEMPLATE_NOT_FOUND", "template"},
    {"unknown digest", unknown_digest, 5, "TEMPLATE_NOT_FOUND", "template"},
    {"TTL of 0", ttl_zero, 3, "TTL_INVALID", "ttl"},
    {"negative TTL", ttl_negative, 3, "TTL_INVALID", "ttl"},
    {"negative nanoseconds of TTL", ttl_negative_nanos, 3, "TTL_INVALID", "ttl"},
    {"TTL beyond the cap", ttl_beyond, 3, "TTL_INVALID", "ttl"},
    {"TTL beyond 64 bits", ttl_overflow, 3, "TTL_INVALID", "ttl"},
    {"5 MiB of env", env_huge, 3, "ENV_TOO_LARGE", "env"},
    {"a name that begins with a digit", env_digit, 3, "ENV_INVALID", "env"},
    {"a name with =", env_equals, 3, "ENV_INVALID", "env"},
    {"no name", env_unnamed, 3, "ENV_INVALID", "env"},
    {"257 variables", env_many, 3, "ENV_TOO_LARGE", "env"},
    {"a bad label", label_bad, 3, "LABELS_INVALID", "labels"},
    {"too little memory", memory_small, 3, "RESOURCE_OUT_OF_RANGE", "resources.memory_bytes"},
    {"too much memory", memory_large, 3, "RESOURCE_OUT_OF_RANGE", "resources.memory_bytes"},
    {"too much CPU", cpu_large, 3, "RESOURCE_OUT_OF_RANGE", "resources.cpu_millis"},
    {"too few processes", processes_few, 3, "RESOURCE_OUT_OF_RANGE", "resources.max_processes"},
    {"too much disk", disk_large, 3, "RESOURCE_OUT_OF_RANGE", "resources.disk_bytes"},
    {"a request id with a space", request_id_bad, 3, "REQUEST_ID_INVALID", "request_id"},
    {"a request id of 65 characters", request_id_long, 3, "REQUEST_ID_INVALID", "request_id"},
    {"a template that is not UTF-8", template_not_utf8, 3, "TEXT_INVALID", "template"},
    {"a value that is not UTF-8", env_not_utf8, 3, "TEXT_INVALID", "env.value"},
};

static int try(struct crownest_client *client, const struct bad *bad, struct crownest_error *error)
{
    static struct attempt attempt;
    Crownest__V1__CreateSandboxResponse *response;

    memset(&attempt, 0, sizeof(attempt));
    crownest__v1__create_sandbox_request__init(&attempt.request);
    google__protobuf__duration__init(&attempt.ttl);
    crownest__v1__resources__init(&attempt.resources);
    crownest__v1__create_sandbox_request__env_entry__init(&attempt.variable);
    crownest__v1__create_sandbox_request__labels_entry__init(&attempt.label);
    bad->fill(&attempt);
    return crownest_sandbox_create(client, &attempt.request, NULL, &response, error);
}

static void a_bad_request_for_a_sandbox_is_refused_and_leaves_nothing(void **state)
{
    struct service *service = service_of(state);
    char sandbox_id[STEP_ID_SIZE];

    huge = malloc(HUGE_VALUE + 1);
    assert_non_null(huge);
    memset(huge, 'x', HUGE_VALUE);
    huge[HUGE_VALUE] = '\0';
    step_create(service->client, "base", sandbox_id);
    struct leftovers before = leftovers_count(service, sandbox_id);

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct crownest_error error = {0};
        int result = try(service->client, &table[i], &error);

        assert_refused_at(result, &error, table[i].code, table[i].reason, table[i].field,
                          table[i].what);
        assert_false(error.retryable);
        assert_string_equal(error.admitted, "no");
        assert_true(strlen(error.message) > 0);
        assert_true(strlen(error.request_id) > 0);
    }
    assert_nothing_left(service, sandbox_id, &before, "bad requests for a sandbox");
    step_kill(service->client, sandbox_id);
    free(huge);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bad_request_for_a_sandbox_is_refused_and_leaves_nothing),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
