/* A scope that is none is refused with what was probably meant. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/policy/scope.h"
#include "server/rpc/method_table.h"

static void assert_says(const char *scope, const char *part)
{
    struct status status = scope_check(scope);

    assert_int_equal(status.code, STATUS_INVALID_ARGUMENT);
    assert_string_equal(status.reason, "SCOPE_UNKNOWN");
    assert_string_equal(status.field, "scopes");
    if (!strstr(status.message, part))
        fail_msg("`%s`: %s", scope, status.message);
}

static void every_scope_of_the_contract_is_one(void **state)
{
    (void)state;
    assert_true(rpc_scope_count > 0);
    for (size_t i = 0; i < rpc_scope_count; i++) {
        struct status status = scope_check(rpc_scopes[i]);

        assert_true(status_is_ok(&status));
    }
}

/* Each scope with a character changed, lost and doubled leads back to itself. */
static void a_slip_of_the_pen_is_told_the_nearest(void **state)
{
    char slip[80];
    char nearest[96];

    (void)state;
    for (size_t i = 0; i < rpc_scope_count; i++) {
        const char *scope = rpc_scopes[i];

        (void)snprintf(nearest, sizeof(nearest), "the nearest is %s", scope);
        (void)snprintf(slip, sizeof(slip), "%s", scope);
        slip[0] = '#';
        assert_says(slip, nearest);
        assert_says(scope + 1, nearest);
        (void)snprintf(slip, sizeof(slip), "%ss", scope);
        assert_says(slip, nearest);
    }
}

static void wildcards_are_not_taken(void **state)
{
    char wildcard[80];

    (void)state;
    assert_says("*", "wildcards are not taken");
    assert_says("*:*", "wildcards are not taken");
    assert_says("nothing:*", "wildcards are not taken");
    for (size_t i = 0; i < rpc_scope_count; i++) {
        (void)snprintf(wildcard, sizeof(wildcard), "%.*s:*", (int)strcspn(rpc_scopes[i], ":"),
                       rpc_scopes[i]);
        assert_says(wildcard, rpc_scopes[i]);
    }
}

static void nothing_and_far_too_much_are_refused(void **state)
{
    char many[5000];

    (void)state;
    memset(many, 'a', sizeof(many) - 1);
    many[sizeof(many) - 1] = '\0';
    assert_says("", "is no scope");
    assert_says(many, "is no scope");
    memset(many, '*', sizeof(many) - 1);
    assert_says(many, "wildcards are not taken");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_scope_of_the_contract_is_one),
        cmocka_unit_test(a_slip_of_the_pen_is_told_the_nearest),
        cmocka_unit_test(wildcards_are_not_taken),
        cmocka_unit_test(nothing_and_far_too_much_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
