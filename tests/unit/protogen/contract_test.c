/* A contract that breaks a rule is refused, with the method at fault and the rule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tools/build/protogen/contract.h"

static size_t read_fixture(const char *name, uint8_t *data, size_t size)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "tests/unit/protogen/%s.descriptors", name);
    FILE *in = fopen(path, "rb");
    assert_non_null(in);
    size_t len = fread(data, 1, size, in);
    assert_true(len > 0 && len < size);
    (void)fclose(in);
    return len;
}

static int load(const char *name, struct contract **ret_contract, struct contract_error *ret_error)
{
    static uint8_t data[1 << 20];

    return contract_load(data, read_fixture(name, data, sizeof(data)), ret_contract, ret_error);
}

static void accepts_what_keeps_the_rules(void **state)
{
    struct contract *contract;
    struct contract_error error;
    const char **scopes;

    (void)state;
    assert_int_equal(load("good", &contract, &error), 0);
    assert_int_equal(contract->method_count, 1);
    const struct contract_method *method = contract->by_path[0];
    assert_string_equal(method->path, "/fixture.v1.NestService/Poke");
    assert_string_equal(method->upper, "NEST_POKE");
    assert_string_equal(method->scope, "nest:poke");
    assert_string_equal(method->route, "POST /v1/nests:poke");
    assert_int_equal(method->max_request_bytes, 77);
    assert_string_equal(method->input.type, "Fixture__V1__PokeNestRequest");
    assert_string_equal(method->output.symbol, "fixture__v1__poke_nest_response");
    assert_string_equal(method->comment, " Pokes */ it.\n");
    assert_int_equal(contract_scopes(contract, &scopes), 1);
    assert_string_equal(scopes[0], "nest:poke");
    free(scopes);
    contract_free(contract);
}

static void refuses_what_breaks_one(void **state)
{
    static const struct {
        const char *fixture;
        const char *rule;
    } cases[] = {
        {"no_policy", "has no policy"},
        {"no_audience", "names no audience"},
        {"no_scope", "needs a scope of the form resource:action"},
        {"bad_scope", "needs a scope of the form resource:action, not \"nests/poke\""},
        {"idle_scope", "which its audience never needs"},
        {"bad_route", "is not a route"},
        {"same_route", "is also that of"},
        {"two_ways", "streams both ways"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct contract *contract = NULL;
        struct contract_error error;

        assert_int_not_equal(load(cases[i].fixture, &contract, &error), 0);
        assert_null(contract);
        assert_non_null(strstr(error.text, "fixture.v1.NestService."));
        if (!strstr(error.text, cases[i].rule))
            fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].fixture, error.text, cases[i].rule);
    }
}

static void refuses_bytes_that_are_no_descriptors(void **state)
{
    struct contract *contract = NULL;
    struct contract_error error;

    (void)state;
    assert_int_not_equal(contract_load((const uint8_t *)"\x0a\xff", 2, &contract, &error), 0);
    assert_null(contract);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_what_keeps_the_rules),
        cmocka_unit_test(refuses_what_breaks_one),
        cmocka_unit_test(refuses_bytes_that_are_no_descriptors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
