/* What tests of the store do again and again. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "server/store/store.h"

/* Fails the test when it cannot be opened. */
struct store *stores_open(const char *directory);
int stores_put(struct store *store, const char *key, const char *value, enum store_sync sync);
bool stores_has(struct store *store, const char *key, const char *value);

/* What the store says of itself. */
struct stores_watch {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct status now;
    unsigned count; /* how often it said something */
};

void stores_watch(struct store *store, struct stores_watch *ret_watch);
void stores_await_writable(struct stores_watch *watch);

/* For cmocka: the state is a directory of the test's own. */
int stores_setup(void **state);
int stores_teardown(void **state);

#define STORES_TEST(name) cmocka_unit_test_setup_teardown(name, stores_setup, stores_teardown)
