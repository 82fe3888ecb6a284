#include "tests/unit/stores.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tests/unit/tempdir.h"

#ifdef __SANITIZE_THREAD__
/* Debian's RocksDB, and what it calls, is not built for ThreadSanitizer, which misses what orders
 * its threads. */
const char *__tsan_default_suppressions(void);

const char *__tsan_default_suppressions(void)
{
    return "race:librocksdb.so\nrace:libstdc++.so\ncalled_from_lib:librocksdb.so\n";
}
#endif

struct store *stores_open(const char *directory)
{
    struct store *store = NULL;
    struct err err = {0};

    if (store_open(directory, &store, &err) != 0)
        fail_msg("%s", err.message);
    return store;
}

int stores_put(struct store *store, const char *key, const char *value, enum store_sync sync)
{
    struct store_batch *batch = store_batch_new();

    store_batch_put(batch, bytes_of_string(key), bytes_of_string(value));
    return store_commit(store, batch, sync);
}

bool stores_has(struct store *store, const char *key, const char *value)
{
    cleanup_buf struct buf buf = {0};

    return store_get(store, bytes_of_string(key), &buf) == 0 && buf.size == strlen(value) &&
           memcmp(buf.data, value, buf.size) == 0;
}

static void note(void *arg, const struct status *writable)
{
    struct stores_watch *watch = arg;

    (void)pthread_mutex_lock(&watch->mutex);
    watch->now = *writable;
    watch->count++;
    (void)pthread_cond_broadcast(&watch->changed);
    (void)pthread_mutex_unlock(&watch->mutex);
}

void stores_watch(struct store *store, struct stores_watch *ret_watch)
{
    *ret_watch = (struct stores_watch){.mutex = PTHREAD_MUTEX_INITIALIZER,
                                       .changed = PTHREAD_COND_INITIALIZER};
    store_watch(store, note, ret_watch);
}

void stores_await_writable(struct stores_watch *watch)
{
    (void)pthread_mutex_lock(&watch->mutex);
    while (!status_is_ok(&watch->now))
        (void)pthread_cond_wait(&watch->changed, &watch->mutex);
    (void)pthread_mutex_unlock(&watch->mutex);
}

int stores_setup(void **state)
{
    *state = tempdir_new();
    return 0;
}

int stores_teardown(void **state)
{
    tempdir_free(*state);
    return 0;
}
