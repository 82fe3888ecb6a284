#include "tests/unit/audits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/audit/entry.h"
#include "server/store/record.h"
#include "tests/unit/tempdir.h"

static void open_both(struct audits *audits)
{
    char path[512];
    struct err err = {0};

    (void)snprintf(path, sizeof(path), "%s/audit.key", audits->directory);
    if (audit_new(path, &audits->audit, &err) < 0)
        fail_msg("%s", err.message);
    (void)snprintf(path, sizeof(path), "%s/db", audits->directory);
    struct store_options options = {.directory = path, .chain = audit_chain(audits->audit)};

    if (store_open_with(&options, &audits->store, &err) < 0)
        fail_msg("%s", err.message);
    audit_start(audits->audit, audits->store);
}

static void close_both(struct audits *audits)
{
    audit_stop(audits->audit);
    store_close(audits->store);
    audit_free(audits->audit);
}

int audits_setup(void **state)
{
    struct audits *audits = calloc(1, sizeof(*audits));

    audits->directory = tempdir_new();
    open_both(audits);
    *state = audits;
    return 0;
}

int audits_teardown(void **state)
{
    struct audits *audits = *state;

    close_both(audits);
    tempdir_free(audits->directory);
    free(audits);
    return 0;
}

void audits_reopen(struct audits *audits)
{
    close_both(audits);
    open_both(audits);
}

int audits_change(struct audits *audits, const char *sandbox_id, const char *actor)
{
    struct schema_key key = schema_key("s", "prj_1", sandbox_id, NULL);
    struct store_batch *batch = store_batch_new();
    struct audit_actor by = {0};

    (void)snprintf(by.id, sizeof(by.id), "%s", actor);
    audit_add(batch, &(struct audit_entry){.actor = &by,
                                           .action = "sandbox.update",
                                           .resource_id = sandbox_id,
                                           .project_id = "prj_1",
                                           .sandbox_id = sandbox_id,
                                           .detail = "a \"quoted\" detail\n\xc3\xa9"});
    record_put_string(batch, &key, "changed");
    return store_commit(audits->store, batch, STORE_UNSYNCED);
}

void audits_export(struct audits *audits, struct buf *ret_lines)
{
    uint64_t last = store_last_entry(audits->store);
    struct arena *arena = arena_new(1U << 20);

    for (uint64_t sequence = 1; sequence <= last; sequence++) {
        Crownest__V1__AuditEntry *entry;

        assert_int_equal(entry_read(audits->store, sequence, arena, &entry), 0);
        entry_line(entry, ret_lines);
        arena_reset(arena);
    }
    arena_free(arena);
}
