/* A store with an audit, in a directory of the test's own. */
#pragma once

#include "server/audit/audit.h"
#include "server/store/store.h"
#include "server/util/buf.h"

struct audits {
    char *directory;
    struct audit *audit;
    struct store *store;
};

/* For cmocka: the state is a struct audits. */
int audits_setup(void **state);
int audits_teardown(void **state);
/* Closes it and opens it again. */
void audits_reopen(struct audits *audits);

/* Commits a change of a sandbox's record with an entry. */
int audits_change(struct audits *audits, const char *sandbox_id, const char *actor);
/* The lines of an export, without a checkpoint at the end. */
void audits_export(struct audits *audits, struct buf *ret_lines);

#define AUDITS_TEST(name) cmocka_unit_test_setup_teardown(name, audits_setup, audits_teardown)
