/* What must not be collected: nothing of it becomes an artifact, by Collect or at a command's end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/rpc/leftovers.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define MANY 65

static const char scene[] = "ln -s /etc/shadow shadow; ln -s /etc/passwd passwd; ln -s /etc etc;"
                            "mkfifo fifo; mkdir directory; echo fine > fine.txt; ln -s fine.txt l;"
                            "ln -s /dev/zero zero; ln -s loop loop";

static const struct {
    const char *path;
    const char *name;
    int code;
    const char *reason;
    const char *member;
} table[] = {
    {"shadow", "", 9, "COLLECT_NOT_REGULAR", "path"},
    {"/workspace/shadow", "report", 9, "COLLECT_NOT_REGULAR", "path"},
    {"passwd", "", 9, "COLLECT_NOT_REGULAR", "path"},
    {"etc/passwd", "", 9, "COLLECT_NOT_REGULAR", "path"},
    {"l", "", 9, "COLLECT_NOT_REGULAR", "path"},
    {"loop", "", 9, "COLLECT_NOT_REGULAR", "path"},
    {"zero", "", 9, "COLLECT_NOT_REGULAR", "path"},
    {"fifo", "", 9, "COLLECT_NOT_REGULAR", "path"},
    {"directory", "", 9, "COLLECT_NOT_REGULAR", "path"},
    {"/dev/null", "", 9, "COLLECT_NOT_REGULAR", "path"},
    {"/etc/shadow", "", 7, "COLLECT_PERMISSION", "path"},
    {"missing", "", 5, "COLLECT_NO_MATCH", "path"},
    {"missing/file", "", 5, "COLLECT_NO_MATCH", "path"},
    {"*.none", "", 5, "COLLECT_NO_MATCH", "path"},
    {"shado?", "", 5, "COLLECT_NO_MATCH", "path"},
    {"", "", 3, "COLLECT_PATH_INVALID", "path"},
    {"../etc/passwd", "", 3, "COLLECT_PATH_INVALID", "path"},
    {"/etc/../etc/passwd", "", 3, "COLLECT_PATH_INVALID", "path"},
    {"fine.txt", "a/b", 3, "COLLECT_NAME_INVALID", "name"},
    {"*.txt", "one", 3, "COLLECT_NAME_INVALID", "name"},
};
#define CASES (sizeof(table) / sizeof(table[0]))

static int collect(struct crownest_client *client, const char *id,
                   Crownest__V1__CollectItem **items, size_t count, struct crownest_error *error)
{
    Crownest__V1__CollectArtifactsRequest request = CROWNEST__V1__COLLECT_ARTIFACTS_REQUEST__INIT;
    Crownest__V1__CollectArtifactsResponse *response;

    request.sandbox_id = STEP_TEXT(id);
    request.items = items;
    request.n_items = count;
    int result = crownest_artifact_collect(client, &request, NULL, &response, error);

    if (result == 0)
        crownest__v1__collect_artifacts_response__free_unpacked(response, NULL);
    return result;
}

/* Each stands second, after one that is fine: all or none. */
static void a_bad_item_fails_the_whole_collection(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__CollectItem good = CROWNEST__V1__COLLECT_ITEM__INIT;
    Crownest__V1__CollectItem bad = CROWNEST__V1__COLLECT_ITEM__INIT;
    Crownest__V1__CollectItem *items[] = {&good, &bad};
    char id[STEP_ID_SIZE];

    step_create(service->client, "base", id);
    step_do(service->client, id, scene);
    good.path = STEP_TEXT("fine.txt");
    struct leftovers before = leftovers_count(service, id);

    for (size_t i = 0; i < CASES; i++) {
        struct crownest_error error = {0};
        char field[32];

        (void)snprintf(field, sizeof(field), "items[1].%s", table[i].member);
        bad.path = STEP_TEXT(table[i].path);
        bad.name = STEP_TEXT(table[i].name);
        assert_refused_at(collect(service->client, id, items, 2, &error), &error, table[i].code,
                          table[i].reason, field, table[i].path);
        assert_string_equal(error.admitted, "no");
    }
    assert_nothing_left(service, id, &before, "bad items");
    step_kill(service->client, id);
}

static void no_item_and_too_many_are_refused(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__CollectItem item = CROWNEST__V1__COLLECT_ITEM__INIT;
    Crownest__V1__CollectItem *items[MANY];
    struct crownest_error error = {0};
    char id[STEP_ID_SIZE];

    step_create(service->client, "base", id);
    item.path = STEP_TEXT("/etc/passwd");
    for (size_t i = 0; i < MANY; i++)
        items[i] = &item;
    struct leftovers before = leftovers_count(service, id);

    assert_refused(collect(service->client, id, items, 0, &error), &error, 3, "COLLECT_EMPTY",
                   "items");
    assert_refused(collect(service->client, id, items, MANY, &error), &error, 3, "COLLECT_TOO_MANY",
                   "items");
    assert_nothing_left(service, id, &before, "no item, and 65");
    assert_done(collect(service->client, id, items, MANY - 1, &error), &error);
    step_kill(service->client, id);
}

/* A command that succeeded is not failed by what it promised: what is missing is told. */
static void what_a_command_declared_in_vain_is_told_at_its_end(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__CollectItem items[5];
    Crownest__V1__CollectItem *pointers[5];
    const char *const paths[] = {"shadow", "fifo", "directory", "missing", "fine.txt"};
    const char *const reasons[] = {"COLLECT_NOT_REGULAR", "COLLECT_NOT_REGULAR",
                                   "COLLECT_NOT_REGULAR", "COLLECT_NO_MATCH"};
    struct transcript transcript;
    char id[STEP_ID_SIZE];

    step_create(service->client, "base", id);
    for (size_t i = 0; i < 5; i++) {
        crownest__v1__collect_item__init(&items[i]);
        items[i].path = STEP_TEXT(paths[i]);
        pointers[i] = &items[i];
    }
    Crownest__V1__CommandSpec command = step_shell(id, scene);

    command.collect = pointers;
    command.n_collect = 5;
    step_run(service->client, &command, &transcript);
    const Crownest__V1__CommandExited *exited = transcript.exited;

    assert_int_equal(exited->command->exit_code, 0);
    assert_int_equal(exited->n_collect_failures, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(exited->collect_failures[i]->path, paths[i]);
        assert_string_equal(exited->collect_failures[i]->reason, reasons[i]);
        assert_true(strlen(exited->collect_failures[i]->message) > 0);
    }
    assert_int_equal(exited->n_artifacts, 1);
    assert_string_equal(exited->artifacts[0]->name, "fine.txt");
    transcript_done(&transcript);
    step_kill(service->client, id);
}

static size_t declared(struct crownest_client *client, const char *id, const char *line,
                       Crownest__V1__CollectWhen when)
{
    Crownest__V1__CollectItem item = CROWNEST__V1__COLLECT_ITEM__INIT;
    Crownest__V1__CollectItem *items[] = {&item};
    Crownest__V1__CommandSpec command = step_shell(id, line);
    struct transcript transcript;

    item.path = STEP_TEXT("out-*.txt");
    command.collect = items;
    command.n_collect = 1;
    command.collect_when = when;
    step_run(client, &command, &transcript);
    size_t count = transcript.exited->n_artifacts;

    transcript_done(&transcript);
    return count;
}

static void a_failed_command_collects_only_if_asked(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    const Crownest__V1__CollectWhen always = CROWNEST__V1__COLLECT_WHEN__COLLECT_WHEN_ALWAYS;
    const Crownest__V1__CollectWhen unset = CROWNEST__V1__COLLECT_WHEN__COLLECT_WHEN_UNSPECIFIED;
    char id[STEP_ID_SIZE];

    step_create(client, "base", id);
    assert_int_equal(declared(client, id, "touch out-1.txt; exit 3", unset), 0);
    assert_int_equal(declared(client, id, "touch out-2.txt; exit 3", always), 2);
    assert_int_equal(declared(client, id, "touch out-3.txt; kill -9 $$", always), 3);
    assert_int_equal(declared(client, id, "touch out-4.txt", unset), 4);
    step_kill(client, id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bad_item_fails_the_whole_collection),
        cmocka_unit_test(no_item_and_too_many_are_refused),
        cmocka_unit_test(what_a_command_declared_in_vain_is_told_at_its_end),
        cmocka_unit_test(a_failed_command_collects_only_if_asked),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
