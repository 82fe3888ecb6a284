/* `crownest audit verify`: what was changed in an export is found, and named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/util/cleanup.h"
#include "tests/unit/audits.h"
#include "tools/cli/audit_check.h"

#define ENTRIES 12 /* two of them checkpoints */

static void fill(struct audits *audits, struct buf *ret_lines)
{
    for (int i = 0; i < ENTRIES; i++) {
        if (i % 6 == 5)
            assert_int_equal(audit_checkpoint(audits->audit), 0);
        else
            assert_int_equal(audits_change(audits, "sbx_1", "key_1"), 0);
    }
    audits_export(audits, ret_lines);
}

static int check_bytes(const void *lines, size_t size, struct audit_check *ret_check)
{
    FILE *in = fmemopen((void *)(uintptr_t)lines, size, "r");

    assert_non_null(in);
    *ret_check = (struct audit_check){0};
    int r = audit_check_file(ret_check, in);

    (void)fclose(in);
    return r;
}

static void assert_names(const struct audit_check *check, uint64_t entry)
{
    char name[32];

    (void)snprintf(name, sizeof(name), "entry %" PRIu64 " ", entry);
    if (strncmp(check->wrong, name, strlen(name)) != 0)
        fail_msg("%s is not about entry %" PRIu64, check->wrong, entry);
}

static void an_untouched_export_is_good(void **state)
{
    cleanup_buf struct buf lines = {0};
    struct audit_check check;

    fill(*state, &lines);
    assert_int_equal(check_bytes(lines.data, lines.size, &check), 0);
    assert_int_equal(check.last, ENTRIES);
    assert_int_equal(check.last_signed, ENTRIES);
    assert_int_equal(check.checkpoints, 2);
}

/* In each byte one bit, and all of them. */
static void a_flipped_byte_is_found_in_its_entry(void **state)
{
    cleanup_buf struct buf lines = {0};
    struct audit_check check;
    uint64_t entry = 1;

    fill(*state, &lines);
    for (size_t at = 0; at < lines.size; at++) {
        bool ends = lines.data[at] == '\n';

        const uint8_t flips[] = {(uint8_t)(1U << at % 8), 0xff};

        for (size_t i = 0; i < sizeof(flips); i++) {
            lines.data[at] ^= flips[i];
            assert_int_equal(check_bytes(lines.data, lines.size, &check), -EBADMSG);
            assert_names(&check, entry);
            lines.data[at] ^= flips[i];
        }
        entry += ends;
    }
    assert_int_equal(entry, ENTRIES + 1);
}

/* Where each line begins, and the end. */
static void find_lines(const struct buf *lines, size_t ret_starts[ENTRIES + 1])
{
    size_t line = 0;

    ret_starts[line++] = 0;
    for (size_t at = 0; at < lines->size && line <= ENTRIES; at++) {
        if (lines->data[at] == '\n')
            ret_starts[line++] = at + 1;
    }
}

static void a_line_that_is_missing_is_named(void **state)
{
    cleanup_buf struct buf lines = {0};
    size_t starts[ENTRIES + 1];
    struct audit_check check;

    fill(*state, &lines);
    find_lines(&lines, starts);
    /* Without its first entries a file is a part of the chain, and good as such. */
    assert_int_equal(check_bytes(lines.data + starts[3], lines.size - starts[3], &check), 0);
    assert_int_equal(check.first, 4);
    for (size_t line = 1; line + 1 < ENTRIES; line++) {
        cleanup_buf struct buf rest = {0};

        buf_append(&rest, lines.data, starts[line]);
        buf_append(&rest, lines.data + starts[line + 1], lines.size - starts[line + 1]);
        assert_int_equal(check_bytes(rest.data, rest.size, &check), -EBADMSG);
        assert_names(&check, line + 1);
    }
}

static void a_missing_end_is_not_signed(void **state)
{
    cleanup_buf struct buf lines = {0};
    size_t starts[ENTRIES + 1];
    struct audit_check check;

    fill(*state, &lines);
    find_lines(&lines, starts);
    assert_int_equal(check_bytes(lines.data, starts[ENTRIES - 1], &check), 0);
    assert_int_equal(check.last, ENTRIES - 1);
    assert_int_equal(check.last_signed, 6);
}

/* Somebody who can write everything, but has not the key. */
static void a_chain_made_anew_has_another_key(void **state)
{
    struct audits *audits = *state;
    cleanup_buf struct buf lines = {0};
    struct audit_check check = {0};
    uint8_t key[AUDIT_KEY_SIZE];
    char hex[2 * AUDIT_KEY_SIZE + 1];

    fill(audits, &lines);
    audit_public_key(audits->audit, key);
    for (size_t i = 0; i < sizeof(key); i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", key[i]);
    FILE *in = fmemopen(lines.data, lines.size, "r");

    assert_int_equal(audit_check_add_key(&check, hex), 0);
    assert_int_equal(audit_check_file(&check, in), 0);
    check = (struct audit_check){0};
    hex[0] = hex[0] == '0' ? '1' : '0';
    assert_int_equal(audit_check_add_key(&check, hex), 0);
    rewind(in);
    assert_int_equal(audit_check_file(&check, in), -EBADMSG);
    assert_names(&check, 6);
    (void)fclose(in);
    assert_int_equal(audit_check_add_key(&check, "00"), -EINVAL);
}

static void put_hex(uint8_t *at, const uint8_t hash[AUDIT_HASH_SIZE])
{
    char hex[2 * AUDIT_HASH_SIZE + 1];

    for (size_t i = 0; i < AUDIT_HASH_SIZE; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", hash[i]);
    memcpy(at, hex, sizeof(hex) - 1);
}

/* Makes all hashes right again. */
static void chain_again(struct buf *lines)
{
    const size_t hash_back = 3 + 2 * AUDIT_HASH_SIZE; /* from a line's end */
    const size_t text_back = hash_back + strlen(",\"hash\":\"");
    const size_t previous_back = text_back + 1 + 2 * AUDIT_HASH_SIZE;
    uint8_t hash[AUDIT_HASH_SIZE] = {0};
    size_t starts[ENTRIES + 1];

    find_lines(lines, starts);
    for (size_t line = 0; line < ENTRIES; line++) {
        uint8_t *text = lines->data + starts[line];
        uint8_t *end = lines->data + starts[line + 1];

        put_hex(end - previous_back, hash);
        (void)SHA256(text, (size_t)(end - text) - text_back, hash);
        put_hex(end - hash_back, hash);
    }
}

/* Whoever changes an entry and makes all hashes anew cannot sign the next checkpoint. */
static void a_changed_chain_has_no_signature(void **state)
{
    cleanup_buf struct buf lines = {0};
    struct audit_check check;

    fill(*state, &lines);
    chain_again(&lines);
    assert_int_equal(check_bytes(lines.data, lines.size, &check), 0);
    uint8_t *actor = memmem(lines.data, lines.size, "key_1", 5);

    assert_non_null(actor);
    actor[4] = '2';
    chain_again(&lines);
    assert_int_equal(check_bytes(lines.data, lines.size, &check), -EBADMSG);
    assert_names(&check, 6);
    assert_non_null(strstr(check.wrong, "signature"));
}

static void what_is_no_export_is_refused(void **state)
{
    static const char *const wrong[] = {"\n", "{}\n", "{\"sequence\":1}\n", "\"hash\":\"\"}\n",
                                        "not json"};
    struct audit_check check;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(check_bytes(wrong[i], strlen(wrong[i]), &check), -EBADMSG);
        assert_names(&check, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        AUDITS_TEST(an_untouched_export_is_good),
        AUDITS_TEST(a_flipped_byte_is_found_in_its_entry),
        AUDITS_TEST(a_line_that_is_missing_is_named),
        AUDITS_TEST(a_missing_end_is_not_signed),
        AUDITS_TEST(a_chain_made_anew_has_another_key),
        AUDITS_TEST(a_changed_chain_has_no_signature),
        AUDITS_TEST(what_is_no_export_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
