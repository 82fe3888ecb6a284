/* Of a manifest that comes from elsewhere nothing is taken that is not whole and harmless. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "tools/cli/manifest.h"

#define DIGEST "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define BEGIN "crownest-backup 1\n"
#define END "end 1 5\n"

static const char *const refused[] = {
    "",
    "crownest-backup 2\n" DIGEST " 5 a\n" END,
    BEGIN DIGEST " 5 a\n",
    BEGIN DIGEST " 5 a\nend 2 5\n",
    BEGIN DIGEST " 5 a\nend 1 6\n",
    BEGIN DIGEST " 5 a\nend 1 5",
    BEGIN DIGEST " 5 \n" END,
    BEGIN DIGEST " 5 /a\n" END,
    BEGIN DIGEST " 5 ../a\n" END,
    BEGIN DIGEST " 5 a/../b\n" END,
    BEGIN DIGEST " 5 a//b\n" END,
    BEGIN DIGEST " 5 a/\n" END,
    BEGIN DIGEST " 5 .a\n" END,
    BEGIN DIGEST " 5 a b\n" END,
    BEGIN DIGEST " -5 a\n" END,
    BEGIN DIGEST " 99999999999999999999999 a\n" END,
    BEGIN "0123456789ABCDEF 5 a\n" END,
};

static int count_entry(void *arg, const struct manifest_entry *entry, struct err *err)
{
    (void)err;
    assert_true(tree_path_valid(entry->path));
    ++*(int *)arg;
    return 0;
}

static int read_text(const char *text, int *count, struct manifest_sum *sum)
{
    char copy[1024];
    struct err err = {0};

    (void)snprintf(copy, sizeof(copy), "%s", text);
    FILE *in = fmemopen(copy, strlen(copy) + (copy[0] == '\0'), "r");

    assert_non_null(in);
    int result = manifest_read(in, count_entry, count, sum, &err);

    (void)fclose(in);
    return result;
}

static void what_is_not_whole_or_leads_out_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct manifest_sum sum;
        int count = 0;

        if (read_text(refused[i], &count, &sum) != -EUCLEAN)
            fail_msg("\"%s\" is taken", refused[i]);
    }
}

static void what_was_written_is_read(void **state)
{
    struct manifest_entry entry = {.digest = DIGEST, .size = 5, .path = "db/records/000001.sst"};
    struct manifest_sum written = {0};
    struct manifest_sum read = {0};
    char text[1024];
    FILE *out = fmemopen(text, sizeof(text), "w");
    int count = 0;

    (void)state;
    assert_non_null(out);
    manifest_begin(out);
    manifest_add(out, &entry, &written);
    manifest_end(out, &written);
    (void)fclose(out);
    assert_int_equal(read_text(text, &count, &read), 0);
    assert_int_equal(count, 1);
    assert_int_equal(read.files, 1);
    assert_int_equal(read.bytes, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_whole_or_leads_out_is_refused),
        cmocka_unit_test(what_was_written_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
