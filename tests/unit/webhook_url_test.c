/* URLs that entries may be posted to, and what of them is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "server/util/limits.h"
#include "server/webhook/post.h"

static void assert_refused(const char *url)
{
    char origin[POST_ORIGIN_SIZE];
    struct status status = post_check_url(url, origin);

    if (status_is_ok(&status))
        fail_msg("%s is taken", url);
    assert_int_equal(status.code, STATUS_INVALID_ARGUMENT);
    assert_string_equal(status.reason, "URL_INVALID");
    assert_string_equal(status.field, "url");
}

static void other_schemes_are_refused(void **state)
{
    (void)state;
    assert_refused("");
    assert_refused("example.com/hook");
    assert_refused("ftp://example.com/");
    assert_refused("file:///etc/passwd");
    assert_refused("gopher://127.0.0.1:70/_x");
    assert_refused("httpx://example.com/");
    assert_refused(" http://example.com/");
}

static void credentials_are_refused(void **state)
{
    (void)state;
    assert_refused("http://user:password@example.com/");
    assert_refused("https://token@example.com/hook");
    assert_refused("https://:password@example.com/hook");
    assert_refused("https://@example.com/hook");
}

static void what_is_no_url_is_refused(void **state)
{
    (void)state;
    assert_refused("http://");
    assert_refused("http:///hook");
    assert_refused("http://example.com:99999/");
    assert_refused("http://example.com:port/");
    assert_refused("http://exa mple.com/");
    assert_refused("http://example.com/a b");
    assert_refused("http://example.com/\r\nX-Evil: 1");
    assert_refused("http://example.com/\x7f");
    assert_refused("http://ex\xc3\xa4mple.com/");
    assert_refused("http://[::1/");
}

static void a_long_one_is_refused(void **state)
{
    char url[LIMIT_WEBHOOK_URL + 2] = "http://example.com/";
    char origin[POST_ORIGIN_SIZE];
    size_t size = strlen(url);

    (void)state;
    memset(url + size, 'a', LIMIT_WEBHOOK_URL - size);
    struct status status = post_check_url(url, origin);

    assert_true(status_is_ok(&status));
    url[LIMIT_WEBHOOK_URL] = 'a';
    assert_refused(url);
}

static void only_the_origin_is_told(void **state)
{
    static const char *const pairs[][2] = {
        {"https://hooks.example.com/T000/secret?token=1#x", "https://hooks.example.com"},
        {"HTTP://127.0.0.1:8080/@x", "http://127.0.0.1:8080"},
        {"http://[::1]:81/", "http://[::1]:81"},
    };
    char origin[POST_ORIGIN_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        struct status status = post_check_url(pairs[i][0], origin);

        assert_true(status_is_ok(&status));
        assert_string_equal(origin, pairs[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_schemes_are_refused), cmocka_unit_test(credentials_are_refused),
        cmocka_unit_test(what_is_no_url_is_refused), cmocka_unit_test(a_long_one_is_refused),
        cmocka_unit_test(only_the_origin_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
