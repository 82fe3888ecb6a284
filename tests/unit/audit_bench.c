/*
 * How many entries the audit takes, and how soon a page of them is found.
 *
 *     bazel run -c opt //tests/unit:audit_bench [-- SECONDS [ENTRIES]]
 *
 * First SECONDS (10) with one thread that commits what creating a sandbox commits (a record, two
 * indexes, an answer, an entry; synced) one after the other, alone and then beside 64 threads that
 * each commit a record with its entry, synced, without a pause. Then a database of ENTRIES
 * (1,000,000) of 1,000 actors: the first page of one actor's, right after the database was opened
 * and again. In a directory of its own below TEST_TMPDIR or /tmp.
 */
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "server/audit/cursor.h"
#include "server/store/record.h"
#include "tests/unit/audits.h"

#define CALLERS 64
#define ACTORS 1000
#define PAGE 50
#define PER_BATCH 100 /* of filling, which is not measured */
#define SAMPLES_MAX (1U << 20)

static struct audits *audits;
static atomic_bool stop;
static atomic_ullong entries;

static uint64_t now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void add_entry(struct store_batch *batch, const char *action, unsigned number)
{
    struct audit_actor by = {.request_id = "req_01m8egabgw5g4bwbfr2f6tfray"};
    char id[ID_SIZE];

    (void)snprintf(by.id, sizeof(by.id), "key_%026u", number % ACTORS);
    (void)snprintf(id, sizeof(id), "sbx_%026u", number);
    audit_add(batch, &(struct audit_entry){.actor = &by,
                                           .action = action,
                                           .resource_id = id,
                                           .project_id = "prj_01m8egabgw5g4bwbfr2f6tfray",
                                           .sandbox_id = id});
}

static void commit(struct store_batch *batch, enum store_sync sync)
{
    if (store_commit(audits->store, batch, sync) < 0)
        abort();
}

static void *change(void *arg)
{
    unsigned number = *(unsigned *)arg;
    struct schema_key key = schema_key("s", "prj", "other", NULL);

    while (!stop) {
        struct store_batch *batch = store_batch_new();

        add_entry(batch, "sandbox.update", number += CALLERS);
        record_put_string(batch, &key, "changed");
        commit(batch, STORE_SYNCED);
        atomic_fetch_add(&entries, 1);
    }
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* What sandboxes_create commits, for so long. */
static void create(const char *name, unsigned seconds)
{
    static uint32_t samples[SAMPLES_MAX];
    static char record[400];
    uint64_t begin = now_us();
    uint64_t before = entries;
    size_t count = 0;

    memset(record, 'r', sizeof(record) - 1);
    while (now_us() - begin < seconds * 1000000ULL && count < SAMPLES_MAX) {
        struct store_batch *batch = store_batch_new();
        uint64_t start = now_us();
        char id[ID_SIZE];

        id_make("sbx_", id);
        struct schema_key key = schema_key("s", "prj", id, NULL);
        struct schema_key live = schema_key("live", id, NULL, NULL);
        struct schema_key answer = schema_key("r", "prj", id, NULL);
        struct schema_key by_time = schema_key("ra", "0000000000000000", "prj", id);

        add_entry(batch, "sandbox.create", (unsigned)count);
        record_put_string(batch, &key, record);
        record_put_string(batch, &live, "prj");
        record_put_string(batch, &answer, record);
        record_put_string(batch, &by_time, "");
        commit(batch, STORE_SYNCED);
        samples[count++] = (uint32_t)(now_us() - start);
    }
    double spent = (double)(now_us() - begin) / 1e6;

    qsort(samples, count, sizeof(*samples), by_size);
    printf("%-18s %8.0f entries/s in all; creates: %6.0f /s, p50 %6.2f ms, p99 %6.2f ms\n", name,
           (double)(entries - before + count) / spent, (double)count / spent,
           samples[count / 2] / 1e3, samples[count * 99 / 100] / 1e3);
}

static void create_beside(unsigned seconds)
{
    pthread_t threads[CALLERS];
    unsigned numbers[CALLERS];

    for (unsigned i = 0; i < CALLERS; i++) {
        numbers[i] = i;
        if (pthread_create(&threads[i], NULL, change, &numbers[i]) != 0)
            abort();
    }
    create("beside 64 callers", seconds);
    stop = true;
    for (unsigned i = 0; i < CALLERS; i++)
        (void)pthread_join(threads[i], NULL);
}

static void fill(unsigned count)
{
    uint64_t begin = now_us();

    for (unsigned i = (unsigned)store_last_entry(audits->store); i < count;) {
        struct store_batch *batch = store_batch_new();

        for (unsigned n = 0; n < PER_BATCH; n++)
            add_entry(batch, "sandbox.update", i++);
        commit(batch, STORE_UNSYNCED);
    }
    printf("filled up to %" PRIu64 " entries in %.1f s\n", store_last_entry(audits->store),
           (double)(now_us() - begin) / 1e6);
}

static void list(const char *name)
{
    struct audit_filter filter = {
        .project_id = "prj_01m8egabgw5g4bwbfr2f6tfray",
        .actor = "key_00000000000000000000000500",
        .resource_id = "",
    };
    struct arena *arena = arena_new(16U << 20);
    struct audit_cursor cursor;
    Crownest__V1__AuditEntry *entry;
    uint64_t begin = now_us();
    unsigned found = 0;

    audit_cursor_init(&cursor, audits->store, &filter, STORE_DESCENDING, UINT64_MAX);
    while (found < PAGE && audit_cursor_next(&cursor, SIZE_MAX, arena, &entry) > 0)
        found++;
    printf("%-18s %u entries of one of %d actors in %.2f ms\n", name, found, ACTORS,
           (double)(now_us() - begin) / 1e3);
    arena_free(arena);
}

int main(int argc, char **argv)
{
    unsigned seconds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 10;
    unsigned count = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1000000;
    void *state;

    (void)audits_setup(&state);
    audits = state;
    create("alone", seconds);
    create_beside(seconds);
    fill(count);
    audits_reopen(audits);
    list("first page, cold");
    list("first page, warm");
    return audits_teardown(&state);
}
