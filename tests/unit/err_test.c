/* Errors and statuses: bounded texts that say what happened. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "server/util/err.h"
#include "server/util/status.h"

static void err_carries_code_and_text(void **state)
{
    struct err err = {0};

    (void)state;
    assert_int_equal(err_set(&err, ENOENT, "no %s", "nest"), -ENOENT);
    assert_int_equal(err.code, ENOENT);
    assert_string_equal(err.message, "no nest");
    assert_int_equal(err_set(NULL, EIO, "nobody listens"), -EIO);
}

static void long_texts_are_cut(void **state)
{
    char text[1000];
    struct err err = {0};

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    (void)err_set(&err, EIO, "%s", text);
    assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
    struct status status = status_invalid(text, "TOO_LONG", "%s", text);

    assert_int_equal(strlen(status.message), sizeof(status.message) - 1);
    assert_int_equal(strlen(status.field), sizeof(status.field) - 1);
}

static void status_says_what_and_where(void **state)
{
    struct status status = status_invalid("ttl", "TTL_TOO_LONG", "at most %d s", 60);

    (void)state;
    assert_int_equal(status.code, STATUS_INVALID_ARGUMENT);
    assert_int_equal(status.admitted, STATUS_ADMITTED_NO);
    assert_false(status.retryable);
    assert_string_equal(status.reason, "TTL_TOO_LONG");
    assert_string_equal(status.field, "ttl");
    assert_string_equal(status.message, "at most 60 s");
    status = status_at(status, "spec.ttl");
    assert_string_equal(status.field, "spec.ttl");
    status = status_unavailable("DRAINING", "try again");
    assert_int_equal(status.code, STATUS_UNAVAILABLE);
    assert_true(status.retryable);
    assert_false(status_is_ok(&status));
    status = STATUS_OK_VALUE;
    assert_true(status_is_ok(&status));
    assert_null(status.reason);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(err_carries_code_and_text),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(status_says_what_and_where),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
