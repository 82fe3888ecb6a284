/* Files of a sandbox: what is written is what is read and listed, and what is refused leaves
 * nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/rpc/host_state.h"
#include "tests/rpc/leftovers.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define LARGE (8U << 20)
#define SMALL_DISK (4ULL << 20)

static struct crownest_error error;

static uint8_t *pattern(size_t size)
{
    uint8_t *data = calloc(1, size + 1);
    uint32_t x = 2463534242U;

    if (!data)
        abort();
    for (size_t i = 0; i < size; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        data[i] = (uint8_t)x;
    }
    return data;
}

static void assert_round_trip(struct crownest_client *client, const char *id, const char *path,
                              size_t size)
{
    uint8_t *data = pattern(size);
    size_t got_size;

    step_write(client, id, path, data, size);
    uint8_t *got = step_read(client, id, path, &got_size);

    assert_int_equal(got_size, size);
    assert_true(size == 0 || memcmp(got, data, size) == 0);
    free(got);
    free(data);
}

static void any_bytes_come_back_as_they_went(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    const size_t sizes[] = {0, 1, 4096, 65537, LARGE};
    char id[STEP_ID_SIZE];

    step_create(client, "base", id);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        assert_round_trip(client, id, "file", sizes[i]);
    assert_round_trip(client, id, "/tmp/elsewhere", 100);
    assert_round_trip(client, id, "\xc3\xa4 name\nwith all", 100);
    step_kill(client, id);
}

static int read_at(struct crownest_client *client, const char *id, const char *path,
                   uint64_t offset, char ret_text[64])
{
    Crownest__V1__ReadFileRequest request = CROWNEST__V1__READ_FILE_REQUEST__INIT;
    Crownest__V1__ReadFileResponse *message;
    struct crownest_file_read_reader *reader;

    request.sandbox_id = STEP_TEXT(id);
    request.path = STEP_TEXT(path);
    request.offset = offset;
    assert_done(crownest_file_read_open(client, &request, NULL, &reader, &error), &error);
    int result = crownest_file_read_next(reader, &message, &error);

    if (result > 0) {
        assert_true(message->offset == offset);
        assert_true(message->data.len < 64);
        memcpy(ret_text, message->data.data, message->data.len);
        ret_text[message->data.len] = '\0';
        crownest__v1__read_file_response__free_unpacked(message, NULL);
    }
    crownest_file_read_free(reader);
    return result;
}

static void a_file_is_read_from_an_offset(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    char text[64];
    char id[STEP_ID_SIZE];

    step_create(client, "base", id);
    step_write(client, id, "text", "0123456789", 10);
    assert_int_equal(read_at(client, id, "text", 4, text), 1);
    assert_string_equal(text, "456789");
    assert_refused(read_at(client, id, "text", 11, text), &error, 11, "OFFSET_BEYOND_END",
                   "offset");
    step_kill(client, id);
}

struct write {
    const char *path;
    uint32_t mode;
    bool make_parents;
    size_t size;
};

static int write_as(struct crownest_client *client, const char *id, const struct write *write)
{
    Crownest__V1__WriteFileRequest message = CROWNEST__V1__WRITE_FILE_REQUEST__INIT;
    Crownest__V1__WriteFileOpen open = CROWNEST__V1__WRITE_FILE_OPEN__INIT;
    Crownest__V1__WriteFileResponse *response;
    struct crownest_file_write_writer *writer;
    static uint8_t zeros[1U << 19];

    open.sandbox_id = STEP_TEXT(id);
    open.path = STEP_TEXT(write->path);
    open.mode = write->mode;
    open.make_parents = write->make_parents;
    message.part_case = CROWNEST__V1__WRITE_FILE_REQUEST__PART_OPEN;
    message.open = &open;
    assert_done(crownest_file_write_open(client, NULL, &writer, &error), &error);
    int result = crownest_file_write_send(writer, &message, &error);

    message.part_case = CROWNEST__V1__WRITE_FILE_REQUEST__PART_DATA;
    message.data.data = zeros;
    for (size_t at = 0; result == 0 && at < write->size; at += message.data.len) {
        message.data.len = write->size - at < sizeof(zeros) ? write->size - at : sizeof(zeros);
        result = crownest_file_write_send(writer, &message, &error);
    }
    if (result == 0)
        result = crownest_file_write_finish(writer, &response, &error);
    if (result == 0)
        crownest__v1__write_file_response__free_unpacked(response, NULL);
    crownest_file_write_free(writer);
    return result;
}

static void a_new_file_has_the_mode_it_was_given(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    char id[STEP_ID_SIZE];

    step_create(client, "base", id);
    assert_done(write_as(client, id, &(struct write){.path = "plain"}), &error);
    assert_done(write_as(client, id, &(struct write){.path = "tool", .mode = 0755}), &error);
    assert_done(write_as(client, id, &(struct write){.path = "secret", .mode = 0600}), &error);
    /* One that is there keeps its own. */
    assert_done(write_as(client, id, &(struct write){.path = "tool", .mode = 0600}), &error);
    step_do(client, id,
            "test \"$(stat -c '%a %U' plain tool secret | tr '\\n' ' ')\" ="
            " '644 user 755 user 600 user '");
    step_kill(client, id);
}

static void parents_are_made_when_asked(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    char id[STEP_ID_SIZE];

    step_create(client, "base", id);
    assert_refused(write_as(client, id, &(struct write){.path = "a/b/file"}), &error, 5,
                   "FILE_NOT_FOUND", "open.path");
    step_do(client, id, "test ! -e a");
    assert_done(write_as(client, id, &(struct write){.path = "a/b/file", .make_parents = true}),
                &error);
    step_do(client, id, "test -f a/b/file && test -d a/b");
    step_kill(client, id);
}

static Crownest__V1__ListFilesResponse *list(struct crownest_client *client, const char *id,
                                             const char *path)
{
    Crownest__V1__ListFilesRequest request = CROWNEST__V1__LIST_FILES_REQUEST__INIT;
    Crownest__V1__ListFilesResponse *response;

    request.sandbox_id = STEP_TEXT(id);
    request.path = STEP_TEXT(path);
    assert_done(crownest_file_list(client, &request, NULL, &response, &error), &error);
    return response;
}

static void a_directory_is_listed_as_it_is(void **state)
{
    static const struct {
        const char *name;
        Crownest__V1__FileType type;
        uint64_t size;
        uint32_t mode;
    } expected[] = {
        {"directory", CROWNEST__V1__FILE_TYPE__FILE_TYPE_DIRECTORY, 0, 0750},
        {"fifo", CROWNEST__V1__FILE_TYPE__FILE_TYPE_OTHER, 0, 0644},
        {"file", CROWNEST__V1__FILE_TYPE__FILE_TYPE_REGULAR, 5, 0640},
        {"link", CROWNEST__V1__FILE_TYPE__FILE_TYPE_SYMLINK, 0, 0777},
    };
    struct crownest_client *client = service_of(state)->client;
    char id[STEP_ID_SIZE];

    step_create(client, "base", id);
    Crownest__V1__ListFilesResponse *empty = list(client, id, "");

    assert_int_equal(empty->n_entries, 0);
    crownest__v1__list_files_response__free_unpacked(empty, NULL);
    step_do(client, id,
            "umask 022; printf 12345 > file; chmod 640 file; mkdir -m 750 directory; mkfifo fifo;"
            " ln -s file link");
    Crownest__V1__ListFilesResponse *listed = list(client, id, "/workspace");

    assert_int_equal(listed->n_entries, 4);
    assert_false(listed->truncated);
    for (size_t i = 0; i < 4; i++) {
        const Crownest__V1__FileEntry *entry = listed->entries[i];

        assert_string_equal(entry->name, expected[i].name);
        assert_int_equal(entry->type, expected[i].type);
        assert_int_equal(entry->size_bytes, expected[i].size);
        assert_int_equal(entry->mode, expected[i].mode);
        assert_int_equal(entry->raw_name.len, 0);
        assert_non_null(entry->modify_time);
    }
    crownest__v1__list_files_response__free_unpacked(listed, NULL);
    step_kill(client, id);
}

static void a_name_that_is_not_utf8_is_listed_exactly(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    char id[STEP_ID_SIZE];

    step_create(client, "base", id);
    step_do(client, id, "touch \"$(printf 'a\\377b')\" plain");
    Crownest__V1__ListFilesResponse *listed = list(client, id, "");

    assert_int_equal(listed->n_entries, 2);
    assert_string_equal(listed->entries[0]->name, "a\xef\xbf\xbd"
                                                  "b");
    assert_int_equal(listed->entries[0]->raw_name.len, 3);
    assert_memory_equal(listed->entries[0]->raw_name.data,
                        "a\xff"
                        "b",
                        3);
    assert_string_equal(listed->entries[1]->name, "plain");
    assert_int_equal(listed->entries[1]->raw_name.len, 0);
    crownest__v1__list_files_response__free_unpacked(listed, NULL);
    step_kill(client, id);
}

static void a_directory_of_many_files_is_cut_and_says_so(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    char id[STEP_ID_SIZE];

    step_create(client, "base", id);
    step_do(client, id, "mkdir many; cd many; seq 1 10001 | xargs touch");
    Crownest__V1__ListFilesResponse *listed = list(client, id, "many");

    assert_int_equal(listed->n_entries, 10000);
    assert_true(listed->truncated);
    crownest__v1__list_files_response__free_unpacked(listed, NULL);
    step_kill(client, id);
}

static void a_full_disk_is_told_and_leaves_nothing(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    Crownest__V1__Resources resources = CROWNEST__V1__RESOURCES__INIT;
    Crownest__V1__CreateSandboxRequest request = CROWNEST__V1__CREATE_SANDBOX_REQUEST__INIT;
    Crownest__V1__CreateSandboxResponse *response;

    resources.disk_bytes = SMALL_DISK;
    request.resources = &resources;
    assert_done(crownest_sandbox_create(client, &request, NULL, &response, &error), &error);
    const char *id = response->sandbox->sandbox_id;

    assert_refused(write_as(client, id, &(struct write){.path = "large", .size = 2 * SMALL_DISK}),
                   &error, 8, "SANDBOX_DISK_FULL", "open.path");
    Crownest__V1__ListFilesResponse *listed = list(client, id, "");

    assert_int_equal(listed->n_entries, 0);
    crownest__v1__list_files_response__free_unpacked(listed, NULL);
    assert_done(write_as(client, id, &(struct write){.path = "small", .size = SMALL_DISK / 2}),
                &error);
    step_kill(client, id);
    crownest__v1__create_sandbox_response__free_unpacked(response, NULL);
}

struct workspace {
    struct crownest_client *client;
    const char *id;
};

static size_t count_workspace(const void *arg)
{
    const struct workspace *workspace = arg;
    Crownest__V1__ListFilesResponse *listed = list(workspace->client, workspace->id, "");
    size_t count = listed->n_entries;

    crownest__v1__list_files_response__free_unpacked(listed, NULL);
    return count;
}

static void a_write_that_breaks_off_leaves_the_old_file(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    Crownest__V1__WriteFileRequest message = CROWNEST__V1__WRITE_FILE_REQUEST__INIT;
    Crownest__V1__WriteFileOpen open = CROWNEST__V1__WRITE_FILE_OPEN__INIT;
    struct crownest_file_write_writer *writer;
    static uint8_t data[65536];
    char id[STEP_ID_SIZE];
    size_t size;

    step_create(client, "base", id);
    step_write(client, id, "file", "old", 3);
    open.sandbox_id = id;
    open.path = STEP_TEXT("file");
    message.part_case = CROWNEST__V1__WRITE_FILE_REQUEST__PART_OPEN;
    message.open = &open;
    assert_done(crownest_file_write_open(client, NULL, &writer, &error), &error);
    assert_done(crownest_file_write_send(writer, &message, &error), &error);
    message.part_case = CROWNEST__V1__WRITE_FILE_REQUEST__PART_DATA;
    message.data.data = data;
    message.data.len = sizeof(data);
    assert_done(crownest_file_write_send(writer, &message, &error), &error);
    crownest_file_write_free(writer); /* cancels */
    assert_int_equal(host_settle(count_workspace, &(struct workspace){client, id}, 1, 1, 10000), 1);
    char *text = (char *)step_read(client, id, "file", &size);

    assert_string_equal(text, "old");
    free(text);
    step_kill(client, id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_bytes_come_back_as_they_went),
        cmocka_unit_test(a_file_is_read_from_an_offset),
        cmocka_unit_test(a_new_file_has_the_mode_it_was_given),
        cmocka_unit_test(parents_are_made_when_asked),
        cmocka_unit_test(a_directory_is_listed_as_it_is),
        cmocka_unit_test(a_name_that_is_not_utf8_is_listed_exactly),
        cmocka_unit_test(a_directory_of_many_files_is_cut_and_says_so),
        cmocka_unit_test(a_full_disk_is_told_and_leaves_nothing),
        cmocka_unit_test(a_write_that_breaks_off_leaves_the_old_file),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup_pooled, service_teardown);
}
