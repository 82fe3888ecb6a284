/*
 * Text with a NUL or that is not UTF-8, in any place where text goes: refused before anything sees
 * it, since what comes after a NUL would be another thing to the kernel than to us.
 */
#include <stdio.h>
#include <string.h>

#include "tests/rpc/leftovers.h"
#include "tests/rpc/raw.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define TEXT(literal) literal, sizeof(literal) - 1

/* A field below a message of its own, or, with outer 0, at the top. */
static const struct {
    const char *path;
    uint32_t outer;
    uint32_t id_tag; /* where the sandbox's id goes; 0: nowhere */
    uint32_t tag;
    const char *text;
    size_t size;
    const char *field;
} table[] = {
    {"/crownest.v1.SandboxService/Create", 0, 0, 2, TEXT("base\0/../x"), "template"},
    {"/crownest.v1.SandboxService/Create", 0, 0, 2, TEXT("\xff\xfe"), "template"},
    {"/crownest.v1.SandboxService/Create", 0, 0, 1, TEXT("id\0"), "request_id"},
    {"/crownest.v1.SandboxService/Create", 5, 0, 1, TEXT("label\0"), "labels.key"},
    {"/crownest.v1.SandboxService/Create", 6, 0, 2, TEXT("value\0"), "env.value"},
    {"/crownest.v1.SandboxService/Get", 0, 0, 1, TEXT("sbx_\0"), "sandbox_id"},
    {"/crownest.v1.CommandService/Start", 2, 1, 2, TEXT("true\0false"), "command.argv"},
    {"/crownest.v1.CommandService/Start", 2, 1, 3, TEXT("true\0"), "command.shell"},
    {"/crownest.v1.CommandService/Start", 2, 1, 5, TEXT("/tmp\0/x"), "command.cwd"},
    {"/crownest.v1.CommandService/Start", 2, 1, 5, TEXT("/tmp/\xc0\xaf"), "command.cwd"},
    {"/crownest.v1.CommandService/Run", 2, 1, 3, TEXT("\xf8\x88\x80\x80\x80"), "command.shell"},
    {"/crownest.v1.FileService/Read", 0, 1, 2, TEXT("/etc/passwd\0.txt"), "path"},
    {"/crownest.v1.FileService/Read", 0, 1, 2, TEXT("/etc/\xe2\x28\xa1"), "path"},
    {"/crownest.v1.FileService/List", 0, 1, 2, TEXT("/etc\0"), "path"},
    {"/crownest.v1.FileService/Write", 1, 1, 2, TEXT("file\0name"), "open.path"},
    {"/crownest.v1.ArtifactService/Collect", 3, 0, 1, TEXT("/etc/passwd\0"), "items.path"},
    {"/crownest.v1.ArtifactService/Collect", 3, 0, 2, TEXT("n\xaame"), "items.name"},
};

static void text_with_a_nul_or_not_in_utf8_is_refused(void **state)
{
    struct service *service = service_of(state);
    char id[STEP_ID_SIZE];

    step_create(service->client, "base", id);
    struct leftovers before = leftovers_count(service, id);

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct crownest_error error = {0};
        struct raw inner;
        struct raw outer;

        raw_init(&inner);
        raw_init(&outer);
        if (table[i].id_tag > 0)
            raw_add(&inner, table[i].id_tag, id, strlen(id));
        raw_add(&inner, table[i].tag, table[i].text, table[i].size);
        if (table[i].outer > 0)
            raw_add_message(&outer, table[i].outer, &inner);
        int result =
            raw_call(service->client, table[i].path, table[i].outer > 0 ? &outer : &inner, &error);

        assert_refused_at(result, &error, 3, "TEXT_INVALID", table[i].field, table[i].path);
        assert_string_equal(error.admitted, "no");
    }
    assert_nothing_left(service, id, &before, "invalid text");
    step_kill(service->client, id);
}

static void bytes_that_are_no_message_are_refused(void **state)
{
    struct service *service = service_of(state);
    struct crownest_error error = {0};
    struct raw raw;

    raw_init(&raw);
    raw_add(&raw, 3, TEXT("\x08")); /* a Duration that ends within a number */
    assert_refused(raw_call(service->client, "/crownest.v1.SandboxService/Create", &raw, &error),
                   &error, 3, "REQUEST_MALFORMED", "");
}

static void an_unknown_method_is_unimplemented(void **state)
{
    struct service *service = service_of(state);
    struct crownest_error error = {0};
    struct raw raw;

    raw_init(&raw);
    assert_true(raw_call(service->client, "/crownest.v1.SandboxService/Explode", &raw, &error) < 0);
    assert_int_equal(error.code, 12);
    assert_true(raw_call(service->client, "/no.Service/Get", &raw, &error) < 0);
    assert_int_equal(error.code, 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_with_a_nul_or_not_in_utf8_is_refused),
        cmocka_unit_test(bytes_that_are_no_message_are_refused),
        cmocka_unit_test(an_unknown_method_is_unimplemented),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
