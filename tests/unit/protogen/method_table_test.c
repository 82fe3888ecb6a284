/* The generated table: methods are found by path, and hold what the contract says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "server/rpc/method_table.h"

static void every_method_is_found_by_its_path(void **state)
{
    (void)state;
    for (int id = 0; id < RPC_METHOD_COUNT; id++) {
        const char *path = rpc_methods[id].path;

        assert_int_equal(rpc_method_find(path, strlen(path)), id);
        assert_non_null(rpc_methods[id].input);
        assert_non_null(rpc_methods[id].output);
    }
}

static void nothing_else_is_found(void **state)
{
    static const char create[] = "/crownest.v1.SandboxService/Create";

    (void)state;
    assert_int_equal(rpc_method_find("", 0), -1);
    assert_int_equal(rpc_method_find("/", 1), -1);
    assert_int_equal(rpc_method_find(create, strlen(create) - 1), -1);
    assert_int_equal(rpc_method_find("/crownest.v1.SandboxService/CreateX", strlen(create) + 1),
                     -1);
    assert_int_equal(rpc_method_find("~", 1), -1);
}

static void methods_hold_what_the_contract_says(void **state)
{
    const struct rpc_method *run = &rpc_methods[RPC_COMMAND_RUN];
    const struct rpc_method *mint = &rpc_methods[RPC_KEY_CREATE];

    (void)state;
    assert_string_equal(run->name, "CommandService.Run");
    assert_string_equal(run->scope, "command:run");
    assert_int_equal(run->audience, RPC_AUDIENCE_KEY);
    assert_true(run->server_streaming && !run->client_streaming);
    assert_ptr_equal(run->input, &crownest__v1__run_command_request__descriptor);
    assert_true(rpc_methods[RPC_FILE_WRITE].client_streaming);
    assert_int_equal(mint->audience, RPC_AUDIENCE_OPERATOR);
    assert_null(mint->scope);
    assert_int_equal(rpc_methods[RPC_KEY_WHO_AM_I].audience, RPC_AUDIENCE_ANY_KEY);
}

static void scopes_are_sorted_and_distinct(void **state)
{
    (void)state;
    assert_true(rpc_scope_count > 0);
    for (size_t i = 1; i < rpc_scope_count; i++)
        assert_true(strcmp(rpc_scopes[i - 1], rpc_scopes[i]) < 0);
    assert_null(rpc_scopes[rpc_scope_count]);
}

#define COUNT(id, name, request, response) +1
#define CHECK_TYPES(id, name, request, response)                                                   \
    assert_int_equal(rpc_methods[id].input->sizeof_message, sizeof(request));                      \
    assert_int_equal(rpc_methods[id].output->sizeof_message, sizeof(response));

static void the_lists_name_every_method_once(void **state)
{
    (void)state;
    assert_int_equal(0 RPC_UNARY_METHODS(COUNT) RPC_SERVER_STREAM_METHODS(COUNT)
                         RPC_CLIENT_STREAM_METHODS(COUNT),
                     RPC_METHOD_COUNT);
    RPC_UNARY_METHODS(CHECK_TYPES)
    RPC_SERVER_STREAM_METHODS(CHECK_TYPES)
    RPC_CLIENT_STREAM_METHODS(CHECK_TYPES)
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_method_is_found_by_its_path),
        cmocka_unit_test(nothing_else_is_found),
        cmocka_unit_test(methods_hold_what_the_contract_says),
        cmocka_unit_test(scopes_are_sorted_and_distinct),
        cmocka_unit_test(the_lists_name_every_method_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
