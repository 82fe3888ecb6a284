/* When a key was last used: what is written, and how often. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "server/policy/key_use.h"
#include "server/util/limits.h"
#include "tests/unit/stores.h"

#define KEY "key_01h455vb4pex5vsknk084sn02q"
#define NOW 1795000000000ULL

static void a_key_that_was_never_used_has_no_time(void **state)
{
    struct store *store = stores_open(*state);

    assert_int_equal(key_last_use(store, KEY), 0);
    store_close(store);
}

static void a_use_is_noted_at_most_once_a_minute(void **state)
{
    struct store *store = stores_open(*state);
    struct key_uses *uses = key_uses_new(store);

    key_uses_note(uses, KEY, NOW);
    assert_int_equal(key_last_use(store, KEY), NOW);
    key_uses_note(uses, KEY, NOW + LIMIT_KEY_USE_MS - 1);
    assert_int_equal(key_last_use(store, KEY), NOW);
    key_uses_note(uses, KEY, NOW + LIMIT_KEY_USE_MS);
    assert_int_equal(key_last_use(store, KEY), NOW + LIMIT_KEY_USE_MS);
    key_uses_free(uses);
    store_close(store);
}

/* A clock that was set back by an hour must not silence it for an hour. */
static void a_use_is_noted_after_the_clock_was_set_back(void **state)
{
    struct store *store = stores_open(*state);
    struct key_uses *uses = key_uses_new(store);

    key_uses_note(uses, KEY, NOW);
    key_uses_note(uses, KEY, NOW - 3600000);
    assert_int_equal(key_last_use(store, KEY), NOW - 3600000);
    key_uses_free(uses);
    store_close(store);
}

/* Many more keys than are remembered: each is still written once. */
static void keys_that_were_forgotten_are_not_written_again(void **state)
{
    struct store *store = stores_open(*state);
    struct key_uses *uses = key_uses_new(store);
    char id[40];

    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 3 * LIMIT_KEYS_REMEMBERED; i++) {
            (void)snprintf(id, sizeof(id), "key_%u", i);
            key_uses_note(uses, id, NOW + round);
        }
    }
    for (unsigned i = 0; i < 3 * LIMIT_KEYS_REMEMBERED; i++) {
        (void)snprintf(id, sizeof(id), "key_%u", i);
        assert_int_equal(key_last_use(store, id), NOW);
    }
    key_uses_free(uses);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORES_TEST(a_key_that_was_never_used_has_no_time),
        STORES_TEST(a_use_is_noted_at_most_once_a_minute),
        STORES_TEST(a_use_is_noted_after_the_clock_was_set_back),
        STORES_TEST(keys_that_were_forgotten_are_not_written_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
