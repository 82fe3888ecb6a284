/* Paths that are refused by Read, Write and List, and writes that are not one. */
#include <stdio.h>
#include <string.h>

#include "tests/rpc/leftovers.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

static char long_path[4097];
static char long_name[300];

static const char scene[] = "mkdir directory; mkfifo fifo; ln -s loop loop; echo x > file;"
                            "mkdir -m 0 closed; ln -s /etc/shadow shadow";

static int try_read(struct crownest_client *client, const char *id, const char *path,
                    struct crownest_error *error)
{
    Crownest__V1__ReadFileRequest request = CROWNEST__V1__READ_FILE_REQUEST__INIT;
    Crownest__V1__ReadFileResponse *message;
    struct crownest_file_read_reader *reader;

    request.sandbox_id = STEP_TEXT(id);
    request.path = STEP_TEXT(path);
    assert_done(crownest_file_read_open(client, &request, NULL, &reader, error), error);
    int result = crownest_file_read_next(reader, &message, error);

    crownest_file_read_free(reader);
    return result;
}

static int try_list(struct crownest_client *client, const char *id, const char *path,
                    struct crownest_error *error)
{
    Crownest__V1__ListFilesRequest request = CROWNEST__V1__LIST_FILES_REQUEST__INIT;
    Crownest__V1__ListFilesResponse *response;

    request.sandbox_id = STEP_TEXT(id);
    request.path = STEP_TEXT(path);
    return crownest_file_list(client, &request, NULL, &response, error);
}

static int send_parts(struct crownest_client *client, const Crownest__V1__WriteFileRequest *parts,
                      size_t count, struct crownest_error *error)
{
    Crownest__V1__WriteFileResponse *response;
    struct crownest_file_write_writer *writer;
    int result = 0;

    assert_done(crownest_file_write_open(client, NULL, &writer, error), error);
    for (size_t i = 0; i < count && result == 0; i++)
        result = crownest_file_write_send(writer, &parts[i], error);
    if (result == 0)
        result = crownest_file_write_finish(writer, &response, error);
    crownest_file_write_free(writer);
    return result;
}

static Crownest__V1__WriteFileRequest part_open(Crownest__V1__WriteFileOpen *open)
{
    Crownest__V1__WriteFileRequest part = CROWNEST__V1__WRITE_FILE_REQUEST__INIT;

    part.part_case = CROWNEST__V1__WRITE_FILE_REQUEST__PART_OPEN;
    part.open = open;
    return part;
}

static Crownest__V1__WriteFileRequest part_data(void)
{
    static uint8_t byte = 'x';
    Crownest__V1__WriteFileRequest part = CROWNEST__V1__WRITE_FILE_REQUEST__INIT;

    part.part_case = CROWNEST__V1__WRITE_FILE_REQUEST__PART_DATA;
    part.data.data = &byte;
    part.data.len = 1;
    return part;
}

static int try_write(struct crownest_client *client, const char *id, const char *path,
                     struct crownest_error *error)
{
    Crownest__V1__WriteFileOpen open = CROWNEST__V1__WRITE_FILE_OPEN__INIT;

    open.sandbox_id = STEP_TEXT(id);
    open.path = STEP_TEXT(path);
    const Crownest__V1__WriteFileRequest parts[] = {part_open(&open), part_data()};

    return send_parts(client, parts, 2, error);
}

typedef int (*attempt)(struct crownest_client *client, const char *id, const char *path,
                       struct crownest_error *error);

static const struct {
    attempt try;
    const char *path;
    int code;
    const char *reason;
    const char *field;
} table[] = {
    {try_read, "", 3, "PATH_INVALID", "path"},
    {try_read, "..", 3, "PATH_INVALID", "path"},
    {try_read, "../etc/passwd", 3, "PATH_INVALID", "path"},
    {try_read, "/etc/../etc/passwd", 3, "PATH_INVALID", "path"},
    {try_read, "directory/..", 3, "PATH_INVALID", "path"},
    {try_read, long_path, 3, "PATH_INVALID", "path"},
    {try_read, long_name, 3, "PATH_INVALID", "path"},
    {try_read, "loop", 3, "PATH_INVALID", "path"},
    {try_read, "missing", 5, "FILE_NOT_FOUND", "path"},
    {try_read, "file/below", 5, "FILE_NOT_FOUND", "path"},
    {try_read, "directory", 9, "FILE_NOT_REGULAR", "path"},
    {try_read, "fifo", 9, "FILE_NOT_REGULAR", "path"},
    {try_read, "/dev/zero", 9, "FILE_NOT_REGULAR", "path"},
    {try_read, "/etc/shadow", 7, "FILE_PERMISSION", "path"},
    {try_read, "shadow", 7, "FILE_PERMISSION", "path"},
    {try_read, "closed/file", 7, "FILE_PERMISSION", "path"},
    {try_list, "..", 3, "PATH_INVALID", "path"},
    {try_list, "/tmp/../etc", 3, "PATH_INVALID", "path"},
    {try_list, long_path, 3, "PATH_INVALID", "path"},
    {try_list, "missing", 5, "FILE_NOT_FOUND", "path"},
    {try_list, "file", 9, "FILE_NOT_A_DIRECTORY", "path"},
    {try_list, "fifo", 9, "FILE_NOT_A_DIRECTORY", "path"},
    {try_list, "closed", 7, "FILE_PERMISSION", "path"},
    {try_list, "/root", 7, "FILE_PERMISSION", "path"},
    {try_write, "", 3, "PATH_INVALID", "open.path"},
    {try_write, "../file", 3, "PATH_INVALID", "open.path"},
    {try_write, "/workspace/../file", 3, "PATH_INVALID", "open.path"},
    {try_write, long_path, 3, "PATH_INVALID", "open.path"},
    {try_write, long_name, 3, "PATH_INVALID", "open.path"},
    {try_write, "missing/file", 5, "FILE_NOT_FOUND", "open.path"},
    {try_write, "directory", 9, "FILE_NOT_REGULAR", "open.path"},
    {try_write, "directory/", 9, "FILE_NOT_REGULAR", "open.path"},
    {try_write, "/etc/passwd", 7, "FILE_PERMISSION", "open.path"},
    {try_write, "/root/file", 7, "FILE_PERMISSION", "open.path"},
    {try_write, "/file", 7, "FILE_PERMISSION", "open.path"},
};

static void a_bad_path_is_refused_and_leaves_nothing(void **state)
{
    struct service *service = service_of(state);
    char id[STEP_ID_SIZE];

    memset(long_path, 'x', sizeof(long_path) - 1);
    for (size_t i = 0; i < sizeof(long_path) - 1; i += 100)
        long_path[i] = '/';
    memset(long_name, 'x', sizeof(long_name) - 1);
    step_create(service->client, "base", id);
    step_do(service->client, id, scene);
    struct leftovers before = leftovers_count(service, id);

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct crownest_error error = {0};

        assert_refused_at(table[i].try(service->client, id, table[i].path, &error), &error,
                          table[i].code, table[i].reason, table[i].field, table[i].path);
    }
    assert_nothing_left(service, id, &before, "bad paths");
    step_do(service->client, id, "test \"$(cat file)\" = x");
    step_kill(service->client, id);
}

static void a_write_begins_with_what_it_opens(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__WriteFileOpen open = CROWNEST__V1__WRITE_FILE_OPEN__INIT;
    struct crownest_error error = {0};
    char id[STEP_ID_SIZE];

    step_create(service->client, "base", id);
    open.sandbox_id = id;
    open.path = STEP_TEXT("written");
    struct leftovers before = leftovers_count(service, id);
    const Crownest__V1__WriteFileRequest data_first[] = {part_data(), part_open(&open)};
    const Crownest__V1__WriteFileRequest open_twice[] = {part_open(&open), part_open(&open)};

    assert_refused(send_parts(service->client, NULL, 0, &error), &error, 3, "WRITE_ORDER", "open");
    assert_refused(send_parts(service->client, data_first, 2, &error), &error, 3, "WRITE_ORDER",
                   "open");
    assert_refused(send_parts(service->client, open_twice, 2, &error), &error, 3, "WRITE_ORDER",
                   "open");
    open.mode = 04755;
    assert_refused(send_parts(service->client, open_twice, 1, &error), &error, 3, "MODE_INVALID",
                   "open.mode");
    assert_nothing_left(service, id, &before, "writes out of order");
    step_kill(service->client, id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bad_path_is_refused_and_leaves_nothing),
        cmocka_unit_test(a_write_begins_with_what_it_opens),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
