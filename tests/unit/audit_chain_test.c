/* Every change has its entry, in the same batch, and the entries are one chain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "server/audit/cursor.h"
#include "server/store/record.h"
#include "server/util/cleanup.h"
#include "server/util/limits.h"
#include "tests/unit/audits.h"
#include "tools/cli/audit_check.h"

#define THREADS 6
#define COMMITS 200

/* A disk that fails: how many writes to RocksDB's log from now on. */
static atomic_int failing_writes;

static bool is_log(int fd)
{
    char link[32];
    char path[512];

    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof(path) - 1);

    return size > 4 && memcmp(path + size - 4, ".log", 4) == 0;
}

ssize_t write(int fd, const void *data, size_t size)
{
    if (atomic_load(&failing_writes) > 0 && is_log(fd) &&
        atomic_fetch_sub(&failing_writes, 1) > 0) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_write, fd, data, size);
}

/* Verifies an export, which must have so many entries, and returns what the check found. */
static struct audit_check assert_chain(struct audits *audits, uint64_t entries)
{
    struct audit_check check = {0};
    cleanup_buf struct buf lines = {0};

    audits_export(audits, &lines);
    FILE *in = fmemopen(lines.data, lines.size, "r");
    int r = audit_check_file(&check, in);

    (void)fclose(in);
    if (r < 0)
        fail_msg("%s", check.wrong);
    assert_int_equal(check.first, 1);
    assert_int_equal(check.last, entries);
    return check;
}

static void *change_often(void *arg)
{
    for (int i = 0; i < COMMITS; i++) {
        if (audits_change(arg, "sbx_1", "key_1") < 0)
            return arg;
    }
    return NULL;
}

static void entries_of_many_threads_are_one_chain(void **state)
{
    pthread_t threads[THREADS];
    void *failed;

    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, change_often, *state), 0);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    struct audits *audits = *state;

    /* The thread that signs may have come in between. */
    assert_in_range(store_last_entry(audits->store), THREADS * COMMITS, THREADS * COMMITS + 2);
    (void)assert_chain(audits, store_last_entry(audits->store));
}

static void a_change_without_an_entry_is_refused(void **state)
{
    static const char *const types[] = {"a",  "b", "c",  "j", "k",  "o",
                                        "os", "p", "pl", "s", "ud", "w"};
    struct audits *audits = *state;

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct schema_key key = schema_key(types[i], "prj_1", "some_1", NULL);
        struct store_batch *put = store_batch_new();
        struct store_batch *removal = store_batch_new();
        cleanup_buf struct buf value = {0};

        record_put_string(put, &key, "changed");
        assert_int_equal(store_commit(audits->store, put, STORE_SYNCED), -EPERM);
        record_delete(removal, &key);
        assert_int_equal(store_commit(audits->store, removal, STORE_SYNCED), -EPERM);
        assert_int_equal(store_get(audits->store, schema_bytes(&key), &value), -ENOENT);
    }
    assert_int_equal(store_last_entry(audits->store), 0);
}

static void bookkeeping_needs_none(void **state)
{
    struct audits *audits = *state;
    struct schema_key key = schema_key("ra", "0", "prj_1", "request");
    struct store_batch *batch = store_batch_new();

    record_put_string(batch, &key, "");
    assert_int_equal(store_commit(audits->store, batch, STORE_SYNCED), 0);
}

static void the_chain_goes_on_after_a_restart(void **state)
{
    struct audits *audits = *state;

    assert_int_equal(audits_change(audits, "sbx_1", "key_1"), 0);
    audits_reopen(audits); /* makes a checkpoint */
    assert_int_equal(audits_change(audits, "sbx_2", "key_1"), 0);
    assert_int_equal(audit_checkpoint(audits->audit), 0);
    struct audit_check check = assert_chain(audits, 4);
    uint8_t key[AUDIT_KEY_SIZE];

    assert_int_equal(check.checkpoints, 2);
    assert_int_equal(check.last_signed, 4);
    audit_public_key(audits->audit, key);
    assert_memory_equal(check.keys[0], key, sizeof(key));
}

/* The database is opened anew and written again: neither is the entry lost nor is it there twice.
 */
static void a_write_that_fails_once_leaves_no_hole(void **state)
{
    struct audits *audits = *state;

    assert_int_equal(audits_change(audits, "sbx_1", "key_1"), 0);
    atomic_store(&failing_writes, 1);
    assert_int_equal(audits_change(audits, "sbx_2", "key_1"), 0);
    assert_int_equal(audits_change(audits, "sbx_3", "key_1"), 0);
    (void)assert_chain(audits, 3);
}

/* Neither the change nor its entry is there. */
static void a_change_that_fails_leaves_no_entry(void **state)
{
    struct audits *audits = *state;
    cleanup_buf struct buf value = {0};
    struct schema_key key = schema_key("s", "prj_1", "sbx_2", NULL);

    assert_int_equal(audits_change(audits, "sbx_1", "key_1"), 0);
    atomic_store(&failing_writes, 1000000);
    assert_int_equal(audits_change(audits, "sbx_2", "key_1"), -EIO);
    atomic_store(&failing_writes, 0);
    while (audits_change(audits, "sbx_3", "key_1") < 0)
        ;
    assert_int_equal(store_get(audits->store, schema_bytes(&key), &value), -ENOENT);
    (void)assert_chain(audits, 2);
}

static size_t count_by(struct audits *audits, const struct audit_filter *filter,
                       enum store_order order)
{
    struct arena *arena = arena_new(1U << 20);
    struct audit_cursor cursor;
    Crownest__V1__AuditEntry *entry;
    uint64_t last = order == STORE_ASCENDING ? 0 : UINT64_MAX;
    size_t count = 0;

    audit_cursor_init(&cursor, audits->store, filter, order, last);
    while (audit_cursor_next(&cursor, 100000, arena, &entry) > 0) {
        if (order == STORE_ASCENDING)
            assert_true(entry->sequence > last);
        else
            assert_true(entry->sequence < last);
        last = entry->sequence;
        count++;
    }
    arena_free(arena);
    return count;
}

static void entries_are_found_by_what_they_say(void **state)
{
    static const struct audit_filter all = {.project_id = "", .actor = "", .resource_id = ""};
    struct audits *audits = *state;
    struct audit_filter filter = all;

    for (int i = 0; i < 300; i++)
        assert_int_equal(audits_change(audits, i % 3 ? "sbx_1" : "sbx_2", "key_1"), 0);
    for (int i = 0; i < 150; i++)
        assert_int_equal(audits_change(audits, "sbx_1", "key_2"), 0);
    assert_int_equal(count_by(audits, &filter, STORE_ASCENDING), 450);
    filter.actor = "key_2";
    assert_int_equal(count_by(audits, &filter, STORE_DESCENDING), 150);
    filter.resource_id = "sbx_2";
    assert_int_equal(count_by(audits, &filter, STORE_DESCENDING), 0);
    filter.actor = "";
    assert_int_equal(count_by(audits, &filter, STORE_ASCENDING), 100);
    filter.project_id = "prj_2";
    assert_int_equal(count_by(audits, &filter, STORE_ASCENDING), 0);
    filter = all;
    filter.actions[0] = "sandbox";
    filter.action_count = 1;
    assert_int_equal(count_by(audits, &filter, STORE_DESCENDING), 450);
    filter.actions[0] = "sand";
    assert_int_equal(count_by(audits, &filter, STORE_DESCENDING), 0);
}

/* A flood of refusals costs a bounded number of entries, and the next one tells how many came. */
static void refusals_are_counted_when_they_flood(void **state)
{
    struct audits *audits = *state;

    for (int i = 0; i < 5 * LIMIT_DENIALS_PER_SECOND; i++)
        audit_denied(audits->audit, &(struct audit_entry){.action = "sandbox.create",
                                                          .outcome = AUDIT_DENIED,
                                                          .reason = "KEY_MISSING"});
    /* More than one second may have passed meanwhile. */
    assert_in_range(store_last_entry(audits->store), LIMIT_DENIALS_PER_SECOND,
                    5 * LIMIT_DENIALS_PER_SECOND - 1);
    (void)assert_chain(audits, store_last_entry(audits->store));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        AUDITS_TEST(entries_of_many_threads_are_one_chain),
        AUDITS_TEST(a_change_without_an_entry_is_refused),
        AUDITS_TEST(bookkeeping_needs_none),
        AUDITS_TEST(the_chain_goes_on_after_a_restart),
        AUDITS_TEST(a_write_that_fails_once_leaves_no_hole),
        AUDITS_TEST(a_change_that_fails_leaves_no_entry),
        AUDITS_TEST(entries_are_found_by_what_they_say),
        AUDITS_TEST(refusals_are_counted_when_they_flood),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
