/* What the connection is at fault for is tried again, for as long as the window is open. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tools/cli/retry.h"

enum { CANCELLED = 1, UNKNOWN = 2, DEADLINE = 4, NOT_FOUND = 5, INTERNAL = 13, UNAVAILABLE = 14 };

static struct crownest_error failure(int code, bool retryable, const char *reason)
{
    struct crownest_error error = {.code = code, .retryable = retryable};

    (void)strncpy(error.reason, reason, sizeof(error.reason) - 1);
    return error;
}

static void only_breaks_are_repeated(void **state)
{
    const struct crownest_error yes[] = {
        failure(UNAVAILABLE, true, ""), failure(UNAVAILABLE, true, "SANDBOX_SILENT"),
        failure(CANCELLED, false, ""), failure(UNKNOWN, false, ""), failure(INTERNAL, false, "")};
    const struct crownest_error no[] = {failure(NOT_FOUND, false, "COMMAND_NOT_FOUND"),
                                        failure(UNAVAILABLE, false, "HOST_BROKEN"),
                                        failure(INTERNAL, false, "STORE_FAILED"),
                                        failure(DEADLINE, false, ""), failure(0, false, "")};

    (void)state;
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
        assert_true(retry_helps(&yes[i]));
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
        struct retry retry = RETRY(RETRY_WINDOW_MS);

        assert_false(retry_helps(&no[i]));
        assert_int_equal(retry_pause(&retry, &no[i]), -1);
    }
}

static void pauses_double_to_a_bound(void **state)
{
    struct retry retry = RETRY(UINT64_MAX / 2);
    const struct crownest_error error = failure(UNAVAILABLE, true, "");
    static const int expected[] = {100, 200, 400, 800, 1600, 2000, 2000};

    (void)state;
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        assert_int_equal(retry_pause(&retry, &error), expected[i]);
    retry_reset(&retry);
    assert_int_equal(retry_pause(&retry, &error), 100);
}

static void the_service_may_ask_for_more(void **state)
{
    struct retry retry = RETRY(10000);
    struct crownest_error error = failure(UNAVAILABLE, true, "");

    (void)state;
    error.retry_after_ms = 7000;
    assert_int_equal(retry_pause(&retry, &error), 7000);
    error.retry_after_ms = 11000;
    assert_int_equal(retry_pause(&retry, &error), -1);
}

static void the_window_closes(void **state)
{
    struct retry retry = RETRY(250);
    const struct crownest_error error = failure(UNAVAILABLE, true, "");
    unsigned tries = 1;

    (void)state;
    while (retry_again(&retry, &error))
        tries++;
    assert_in_range(tries, 2, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_breaks_are_repeated),
        cmocka_unit_test(pauses_double_to_a_bound),
        cmocka_unit_test(the_service_may_ask_for_more),
        cmocka_unit_test(the_window_closes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
