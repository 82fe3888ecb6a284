/* Which methods are refused while the disk has little room, and while nothing can be written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/policy/admission.h"
#include "tests/unit/small_disk.h"

#define MIB (1UL << 20)

static const char *const grows[] = {"ArtifactService.Collect", "CommandService.Run",
                                    "CommandService.Start", "SandboxService.Create", NULL};

static const char *const writes[] = {
    "AdminService.Backup",   "ArtifactService.Delete", "BucketService.Create",
    "BucketService.Delete",  "BucketService.Update",   "FileService.MakeDir",
    "FileService.Move",      "FileService.Remove",     "KeyService.Create",
    "KeyService.Revoke",     "OperatorService.Create", "OperatorService.Delete",
    "OperatorService.Login", "OperatorService.Logout", "OperatorService.SetPassword",
    "PlanService.Delete",    "PlanService.Put",        "PreviewService.Create",
    "PreviewService.Delete", "ProjectService.Create",  "ProjectService.Update",
    "SandboxService.Pause",  "SandboxService.Resume",  "SandboxService.Update",
    "WebhookService.Create", "WebhookService.Delete",  NULL};

static bool among(const char *const *names, const char *name)
{
    for (; *names; names++) {
        if (strcmp(*names, name) == 0)
            return true;
    }
    return false;
}

static struct admission open_admission(const char *disk, uint64_t reserve)
{
    struct admission admission;
    struct err err = {0};
    char path[512];

    (void)snprintf(path, sizeof(path), "%s/db", disk);
    if (space_new(disk, reserve, &admission.space, &err) < 0 ||
        store_open(path, &admission.store, &err) < 0)
        fail_msg("%s", err.message);
    return admission;
}

static void close_admission(struct admission *admission)
{
    store_close(admission->store);
    space_free(admission->space);
}

static bool carries_request_id(const struct rpc_method *method)
{
    return protobuf_c_message_descriptor_get_field_by_name(method->input, "request_id") != NULL;
}

/* What answers a retry from the database passes until it was looked for there. */
static void assert_judged(const struct admission *admission, const struct rpc_method *method,
                          bool refused, enum status_code code)
{
    struct status status = admission_check(admission, method);
    struct status before = admission_open(admission, method);

    if (status_is_ok(&status) == refused)
        fail_msg("%s is %srefused", method->name, refused ? "not " : "");
    assert_int_equal(status_is_ok(&before), !refused || carries_request_id(method));
    if (!refused)
        return;
    assert_int_equal(status.code, code);
    assert_string_equal(status.reason, "DISK_FULL");
    assert_true(status.retryable);
    assert_true(status.retry_after_ms > 0);
}

static void nothing_is_refused_while_there_is_room(void **state)
{
    struct admission admission = open_admission(small_disk_of(state), 16 * MIB);

    for (unsigned i = 0; i < RPC_METHOD_COUNT; i++)
        assert_judged(&admission, &rpc_methods[i], false, STATUS_OK);
    close_admission(&admission);
}

static void what_grows_is_refused_when_the_reserve_is_touched(void **state)
{
    struct admission admission = open_admission(small_disk_of(state), 128 * MIB);

    for (unsigned i = 0; i < RPC_METHOD_COUNT; i++)
        assert_judged(&admission, &rpc_methods[i], among(grows, rpc_methods[i].name),
                      STATUS_RESOURCE_EXHAUSTED);
    close_admission(&admission);
}

static void fail_the_store(struct store *store)
{
    static char value[64 << 10];

    for (;;) {
        struct store_batch *batch = store_batch_new();

        store_batch_put(batch, bytes_of_string("key"), bytes_of(value, sizeof(value)));
        if (store_commit(store, batch, STORE_SYNCED) < 0)
            return;
    }
}

static void what_writes_is_refused_when_nothing_can_be_written(void **state)
{
    char *disk = small_disk_of(state);
    struct admission admission = open_admission(disk, 16 * MIB);

    small_disk_fill(disk, "fill", 0);
    fail_the_store(admission.store);
    for (unsigned i = 0; i < RPC_METHOD_COUNT; i++)
        assert_judged(&admission, &rpc_methods[i],
                      among(grows, rpc_methods[i].name) || among(writes, rpc_methods[i].name),
                      STATUS_UNAVAILABLE);
    close_admission(&admission);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SMALL_DISK_TEST(nothing_is_refused_while_there_is_room),
        SMALL_DISK_TEST(what_grows_is_refused_when_the_reserve_is_touched),
        SMALL_DISK_TEST(what_writes_is_refused_when_nothing_can_be_written),
    };

    return cmocka_run_group_tests(tests, small_disk_group, NULL);
}
