/* Ids: valid, sorted by time, never twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "server/util/clock.h"
#include "server/util/id.h"

#define COUNT 20000
#define THREADS 4

static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";

static void ids_increase(void **state)
{
    char last[ID_SIZE] = "";

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        char id[ID_SIZE];

        id_make("cmd_", id);
        assert_true(id_valid("cmd_", id));
        assert_true(strcmp(id, last) > 0);
        memcpy(last, id, sizeof(last));
    }
}

/* The first ten characters are the time: 3 bits in the first, 5 in each other, 2 too many. */
static void id_holds_the_time(void **state)
{
    char id[ID_SIZE];
    uint64_t before = clock_wall_ms();
    uint64_t value = 0;

    (void)state;
    id_make("sbx_", id);
    uint64_t after = clock_wall_ms();

    for (int i = 0; i < 10; i++)
        value = value << 5 | (uint64_t)(strchr(alphabet, id[4 + i]) - alphabet);
    assert_in_range(value, before, after);
}

static void *make_many(void *arg)
{
    char(*ids)[ID_SIZE] = arg;

    for (int i = 0; i < COUNT; i++)
        id_make("prv_", ids[i]);
    return NULL;
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void threads_get_different_ids(void **state)
{
    char(*ids)[ID_SIZE] = calloc(THREADS * COUNT, ID_SIZE);
    pthread_t threads[THREADS];

    (void)state;
    assert_non_null(ids);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, make_many, ids + i * COUNT), 0);
    for (int i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    qsort(ids, THREADS * COUNT, ID_SIZE, compare_ids);
    for (int i = 1; i < THREADS * COUNT; i++)
        assert_string_not_equal(ids[i - 1], ids[i]);
    free(ids);
}

static void other_texts_are_no_ids(void **state)
{
    static const char *const bad[] = {
        "",
        "sbx_",
        "cmd_01hzzzzzzzzzzzzzzzzzzzzzzz",
        "sbx_01hzzzzzzzzzzzzzzzzzzzzzz",
        "sbx_01hzzzzzzzzzzzzzzzzzzzzzzzz",
        "sbx_01Hzzzzzzzzzzzzzzzzzzzzzzz",
        "sbx_01hzzzzzzzzzzzzzzzzzzzzzzi",
        "sbx_01hzzzzzzzzzzzzzzzzzzzzz/z",
        "sbx_../../../../../../../../zz",
        "sbx_01hzzzzzzzzzzzzzzzzzzzzzzz/x",
        "01hzzzzzzzzzzzzzzzzzzzzzzz",
    };

    (void)state;
    assert_true(id_valid("sbx_", "sbx_01hzzzzzzzzzzzzzzzzzzzzzzz"));
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_false(id_valid("sbx_", bad[i]));
}

static void random_text_has_its_length_and_alphabet(void **state)
{
    char a[41];
    char b[41];

    (void)state;
    id_random(40, a);
    id_random(40, b);
    assert_int_equal(strlen(a), 40);
    assert_int_equal(strspn(a, alphabet), 40);
    assert_string_not_equal(a, b);
    id_random(0, a);
    assert_string_equal(a, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_increase),
        cmocka_unit_test(id_holds_the_time),
        cmocka_unit_test(threads_get_different_ids),
        cmocka_unit_test(other_texts_are_no_ids),
        cmocka_unit_test(random_text_has_its_length_and_alphabet),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
