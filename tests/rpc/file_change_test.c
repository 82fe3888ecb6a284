/* Changes of a sandbox's tree: made once, refused clearly, and however deep a tree is, it can go.
 */
#include <stdio.h>
#include <string.h>

#include "tests/rpc/host_state.h"
#include "tests/rpc/leftovers.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define INVALID_ARGUMENT 3
#define NOT_FOUND 5
#define ALREADY_EXISTS 6
#define PERMISSION_DENIED 7
#define FAILED_PRECONDITION 9

static struct crownest_error error;

static int make_dir(struct crownest_client *client, const char *id, const char *path, bool parents,
                    const char *request_id)
{
    Crownest__V1__MakeDirRequest request = CROWNEST__V1__MAKE_DIR_REQUEST__INIT;
    Crownest__V1__MakeDirResponse *response = NULL;

    request.sandbox_id = STEP_TEXT(id);
    request.path = STEP_TEXT(path);
    request.make_parents = parents;
    request.request_id = STEP_TEXT(request_id);
    int result = crownest_file_make_dir(client, &request, NULL, &response, &error);

    crownest__v1__make_dir_response__free_unpacked(response, NULL);
    return result;
}

static int move(struct crownest_client *client, const char *id, const char *from, const char *to,
                bool replace)
{
    Crownest__V1__MoveFileRequest request = CROWNEST__V1__MOVE_FILE_REQUEST__INIT;
    Crownest__V1__MoveFileResponse *response = NULL;

    request.sandbox_id = STEP_TEXT(id);
    request.from_path = STEP_TEXT(from);
    request.to_path = STEP_TEXT(to);
    request.replace = replace;
    int result = crownest_file_move(client, &request, NULL, &response, &error);

    crownest__v1__move_file_response__free_unpacked(response, NULL);
    return result;
}

static int remove_path(struct crownest_client *client, const char *id, const char *path,
                       bool recursive, const char *request_id)
{
    Crownest__V1__RemoveFileRequest request = CROWNEST__V1__REMOVE_FILE_REQUEST__INIT;
    Crownest__V1__RemoveFileResponse *response = NULL;

    request.sandbox_id = STEP_TEXT(id);
    request.path = STEP_TEXT(path);
    request.recursive = recursive;
    request.request_id = STEP_TEXT(request_id);
    int result = crownest_file_remove(client, &request, NULL, &response, &error);

    crownest__v1__remove_file_response__free_unpacked(response, NULL);
    return result;
}

static Crownest__V1__FileType type_at(struct crownest_client *client, const char *id,
                                      const char *path)
{
    Crownest__V1__StatFileRequest request = CROWNEST__V1__STAT_FILE_REQUEST__INIT;
    Crownest__V1__StatFileResponse *response = NULL;
    Crownest__V1__FileType type = CROWNEST__V1__FILE_TYPE__FILE_TYPE_UNSPECIFIED;

    request.sandbox_id = STEP_TEXT(id);
    request.path = STEP_TEXT(path);
    if (crownest_file_stat(client, &request, NULL, &response, &error) == 0)
        type = response->entry->type;
    crownest__v1__stat_file_response__free_unpacked(response, NULL);
    return type;
}

static void a_file_is_described(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    Crownest__V1__StatFileRequest request = CROWNEST__V1__STAT_FILE_REQUEST__INIT;
    Crownest__V1__StatFileResponse *response;
    char id[STEP_ID_SIZE];

    step_create(client, "base", id);
    step_do(client, id,
            "printf hello > a && chmod 640 a && touch -d @1700000000 a && ln -s a link");
    request.sandbox_id = id;
    request.path = STEP_TEXT("/workspace/a");
    assert_done(crownest_file_stat(client, &request, NULL, &response, &error), &error);
    assert_string_equal(response->entry->name, "a");
    assert_int_equal(response->entry->type, CROWNEST__V1__FILE_TYPE__FILE_TYPE_REGULAR);
    assert_int_equal(response->entry->size_bytes, 5);
    assert_int_equal(response->entry->mode, 0640);
    assert_int_equal(response->entry->modify_time->seconds, 1700000000);
    crownest__v1__stat_file_response__free_unpacked(response, NULL);
    assert_int_equal(type_at(client, id, "link"), CROWNEST__V1__FILE_TYPE__FILE_TYPE_SYMLINK);
    assert_int_equal(type_at(client, id, "/"), CROWNEST__V1__FILE_TYPE__FILE_TYPE_DIRECTORY);
    request.path = STEP_TEXT("missing");
    assert_refused(crownest_file_stat(client, &request, NULL, &response, &error), &error, NOT_FOUND,
                   "FILE_NOT_FOUND", "path");
    step_kill(client, id);
}

static void directories_are_made(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    char id[STEP_ID_SIZE];

    step_create(client, "base", id);
    assert_done(make_dir(client, id, "one", false, ""), &error);
    assert_refused(make_dir(client, id, "one", false, ""), &error, ALREADY_EXISTS, "FILE_EXISTS",
                   "path");
    assert_done(make_dir(client, id, "one", true, ""), &error);
    assert_refused(make_dir(client, id, "a/b/c", false, ""), &error, NOT_FOUND, "FILE_NOT_FOUND",
                   "path");
    assert_done(make_dir(client, id, "a/b/c", true, ""), &error);
    step_do(client, id, "test -d a/b/c && test $(stat -c %U a/b) = user");
    assert_refused(make_dir(client, id, "/etc/mine", false, ""), &error, PERMISSION_DENIED,
                   "FILE_PERMISSION", "path");
    step_kill(client, id);
}

static void a_move_keeps_or_replaces(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    char id[STEP_ID_SIZE];

    step_create(client, "base", id);
    step_do(client, id, "echo 1 > a; echo 2 > b; mkdir full; touch full/x; mkdir other");
    assert_refused(move(client, id, "a", "b", false), &error, ALREADY_EXISTS, "FILE_EXISTS",
                   "to_path");
    assert_done(move(client, id, "a", "b", true), &error);
    step_do(client, id, "test $(cat b) = 1 && test ! -e a");
    assert_done(move(client, id, "b", "/tmp/b", false), &error);
    assert_refused(move(client, id, "other", "full", true), &error, FAILED_PRECONDITION,
                   "DIRECTORY_NOT_EMPTY", "to_path");
    assert_refused(move(client, id, "gone", "x", true), &error, NOT_FOUND, "FILE_NOT_FOUND",
                   "from_path");
    step_kill(client, id);
}

static void what_is_removed_is_gone_and_nothing_else(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    char id[STEP_ID_SIZE];

    step_create(client, "base", id);
    step_do(client, id,
            "mkdir -p d/e && echo x > d/e/f && echo kept > kept && ln -s kept link && "
            "ln -s /workspace/kept d/out && mkdir empty");
    assert_refused(remove_path(client, id, "d", false, ""), &error, FAILED_PRECONDITION,
                   "DIRECTORY_NOT_EMPTY", "path");
    assert_done(remove_path(client, id, "link", true, ""), &error);
    assert_done(remove_path(client, id, "empty", false, ""), &error);
    assert_done(remove_path(client, id, "d", true, ""), &error);
    step_do(client, id, "test \"$(ls -A)\" = kept");
    assert_refused(remove_path(client, id, "/etc/passwd", true, ""), &error, PERMISSION_DENIED,
                   "FILE_PERMISSION", "path");
    step_kill(client, id);
}

static void a_tree_deeper_than_any_path_can_go(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    char id[STEP_ID_SIZE];

    step_create(client, "python", id);
    step_do(client, id,
            "python3 -c 'import os\n"
            "os.mkdir(\"deep\"); os.chdir(\"deep\")\n"
            "for i in range(1500):\n"
            "    open(\"f\",\"w\"); os.mkdir(\"d\"*100); os.chdir(\"d\"*100)\n'");
    assert_done(remove_path(client, id, "deep", true, ""), &error);
    step_do(client, id, "test -z \"$(ls -A)\"");
    step_kill(client, id);
}

static void a_retried_change_is_made_once(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    char id[STEP_ID_SIZE];

    step_create(client, "base", id);
    assert_done(make_dir(client, id, "one", false, "make-1"), &error);
    assert_done(make_dir(client, id, "one", false, "make-1"), &error);
    assert_refused(make_dir(client, id, "two", false, "make-1"), &error, INVALID_ARGUMENT,
                   "REQUEST_ID_REUSED", "request_id");
    assert_done(remove_path(client, id, "one", false, "remove-1"), &error);
    step_do(client, id, "mkdir one");
    assert_done(remove_path(client, id, "one", false, "remove-1"), &error);
    step_do(client, id, "test -d one");
    step_kill(client, id);
}

static void bad_paths_name_their_field(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    char id[STEP_ID_SIZE];

    step_create(client, "base", id);
    assert_refused(make_dir(client, id, "", false, ""), &error, INVALID_ARGUMENT, "PATH_INVALID",
                   "path");
    assert_refused(move(client, id, "../a", "b", false), &error, INVALID_ARGUMENT, "PATH_INVALID",
                   "from_path");
    assert_refused(move(client, id, "a", "b/../c", false), &error, INVALID_ARGUMENT, "PATH_INVALID",
                   "to_path");
    assert_refused(remove_path(client, id, "..", true, ""), &error, INVALID_ARGUMENT,
                   "PATH_INVALID", "path");
    step_kill(client, id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_described),
        cmocka_unit_test(directories_are_made),
        cmocka_unit_test(a_move_keeps_or_replaces),
        cmocka_unit_test(what_is_removed_is_gone_and_nothing_else),
        cmocka_unit_test(a_tree_deeper_than_any_path_can_go),
        cmocka_unit_test(a_retried_change_is_made_once),
        cmocka_unit_test(bad_paths_name_their_field),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
