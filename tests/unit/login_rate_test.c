/* How often a login may fail, of one name and of all together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "server/policy/login_rate.h"
#include "server/util/limits.h"

#define NOW 1000000ULL

static void fail_often(struct login_rate *rate, const char *name, unsigned times, uint64_t now)
{
    for (unsigned i = 0; i < times; i++) {
        assert_int_equal(login_rate_wait(rate, name, now), 0);
        login_rate_failed(rate, name, now);
    }
}

static void a_name_fails_a_few_times_and_then_once_in_a_while(void **state)
{
    struct login_rate *rate = login_rate_new();

    (void)state;
    fail_often(rate, "ada", LIMIT_LOGIN_FAILURES, NOW);
    assert_int_equal(login_rate_wait(rate, "ada", NOW), LIMIT_LOGIN_PAUSE_MS);
    assert_int_equal(login_rate_wait(rate, "ada", NOW + LIMIT_LOGIN_PAUSE_MS - 1), 1);
    fail_often(rate, "ada", 1, NOW + LIMIT_LOGIN_PAUSE_MS);
    assert_int_equal(login_rate_wait(rate, "ada", NOW + LIMIT_LOGIN_PAUSE_MS),
                     LIMIT_LOGIN_PAUSE_MS);
    login_rate_free(rate);
}

static void a_long_silence_gives_all_tries_back_and_no_more(void **state)
{
    struct login_rate *rate = login_rate_new();
    uint64_t later = NOW + 1000ULL * LIMIT_LOGIN_PAUSE_MS;

    (void)state;
    fail_often(rate, "ada", LIMIT_LOGIN_FAILURES, NOW);
    fail_often(rate, "ada", LIMIT_LOGIN_FAILURES, later);
    assert_int_equal(login_rate_wait(rate, "ada", later), LIMIT_LOGIN_PAUSE_MS);
    login_rate_free(rate);
}

static void a_success_forgets_the_failures_of_its_name(void **state)
{
    struct login_rate *rate = login_rate_new();

    (void)state;
    fail_often(rate, "ada", LIMIT_LOGIN_FAILURES, NOW);
    login_rate_succeeded(rate, "ada");
    fail_often(rate, "ada", LIMIT_LOGIN_FAILURES, NOW);
    login_rate_free(rate);
}

/* Each name once: none of them has to wait for itself, and all have to in the end. */
static void many_names_wait_for_all_together(void **state)
{
    struct login_rate *rate = login_rate_new();
    char name[16];

    (void)state;
    for (unsigned i = 0; i < LIMIT_LOGIN_ALL_FAILURES; i++) {
        (void)snprintf(name, sizeof(name), "name-%u", i);
        fail_often(rate, name, 1, NOW);
        login_rate_succeeded(rate, name);
    }
    assert_int_equal(login_rate_wait(rate, "ada", NOW), LIMIT_LOGIN_ALL_PAUSE_MS);
    assert_int_equal(login_rate_wait(rate, "ada", NOW + LIMIT_LOGIN_ALL_PAUSE_MS), 0);
    login_rate_free(rate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_fails_a_few_times_and_then_once_in_a_while),
        cmocka_unit_test(a_long_silence_gives_all_tries_back_and_no_more),
        cmocka_unit_test(a_success_forgets_the_failures_of_its_name),
        cmocka_unit_test(many_names_wait_for_all_together),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
