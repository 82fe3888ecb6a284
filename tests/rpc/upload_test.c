/* An upload that is cut off goes on where it was, and the file appears only when it is whole. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define INVALID_ARGUMENT 3
#define NOT_FOUND 5
#define ABORTED 10
#define OUT_OF_RANGE 11
#define SIZE (3U << 20)
#define PART (1U << 20)

static struct crownest_error error;
static char sandbox[STEP_ID_SIZE];
static char data[SIZE];

struct part {
    const char *id;
    uint64_t offset;
    size_t size;
    bool bounded;
    uint64_t total;
};

static struct crownest_file_write_writer *send_part(struct crownest_client *client,
                                                    const struct part *part)
{
    Crownest__V1__WriteFileRequest message = CROWNEST__V1__WRITE_FILE_REQUEST__INIT;
    Crownest__V1__WriteFileOpen open = CROWNEST__V1__WRITE_FILE_OPEN__INIT;
    struct crownest_file_write_writer *writer;

    open.sandbox_id = sandbox;
    open.path = STEP_TEXT("dir/big");
    open.make_parents = true;
    open.upload_id = STEP_TEXT(part->id);
    open.offset = part->offset;
    if (part->bounded)
        open._total_bytes_case = CROWNEST__V1__WRITE_FILE_OPEN___TOTAL_BYTES_TOTAL_BYTES;
    open.total_bytes = part->total;
    message.part_case = CROWNEST__V1__WRITE_FILE_REQUEST__PART_OPEN;
    message.open = &open;
    assert_done(crownest_file_write_open(client, NULL, &writer, &error), &error);
    assert_done(crownest_file_write_send(writer, &message, &error), &error);
    message.part_case = CROWNEST__V1__WRITE_FILE_REQUEST__PART_DATA;
    for (size_t at = 0; at < part->size; at += PART) {
        size_t size = part->size - at < PART ? part->size - at : PART;

        message.data =
            (ProtobufCBinaryData){.data = (uint8_t *)data + part->offset + at, .len = size};
        /* One that was refused says so at its end. */
        if (crownest_file_write_send(writer, &message, &error))
            break;
    }
    return writer;
}

static int finish(struct crownest_file_write_writer *writer, uint64_t *ret_size)
{
    Crownest__V1__WriteFileResponse *response;
    int result = crownest_file_write_finish(writer, &response, &error);

    if (result == 0) {
        *ret_size = response->size_bytes;
        crownest__v1__write_file_response__free_unpacked(response, NULL);
    }
    crownest_file_write_free(writer);
    return result;
}

static int kept(struct crownest_client *client, const char *id, uint64_t *ret_offset)
{
    Crownest__V1__GetUploadRequest request = CROWNEST__V1__GET_UPLOAD_REQUEST__INIT;
    Crownest__V1__GetUploadResponse *response;

    request.sandbox_id = sandbox;
    request.path = STEP_TEXT("dir/big");
    request.upload_id = STEP_TEXT(id);
    int result = crownest_file_get_upload(client, &request, NULL, &response, &error);

    if (result == 0) {
        *ret_offset = response->offset;
        crownest__v1__get_upload_response__free_unpacked(response, NULL);
    }
    return result;
}

/* Waits until the sandbox has got so much of it. */
static void await_kept(struct crownest_client *client, const char *id, uint64_t size)
{
    uint64_t offset = 0;

    while (offset < size) {
        int result = kept(client, id, &offset);

        assert_true(result == 0 || error.code == NOT_FOUND);
    }
}

static void fill(void)
{
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (char)(i * 2654435761U >> 24);
}

static void assert_whole(struct crownest_client *client)
{
    size_t size;
    uint8_t *read = step_read(client, sandbox, "dir/big", &size);

    assert_int_equal(size, SIZE);
    assert_memory_equal(read, data, SIZE);
    free(read);
    /* Nothing lies beside it. */
    step_do(client, sandbox, "test \"$(ls -A dir)\" = big");
}

static void an_upload_goes_on_where_it_was_cut_off(void **state)
{
    struct service *service = service_of(state);
    uint64_t offset = 0;
    uint64_t size = 0;

    fill();
    step_create(service->client, "base", sandbox);
    assert_refused(kept(service->client, "up-1", &offset), &error, NOT_FOUND, "UPLOAD_NOT_FOUND",
                   "upload_id");
    struct crownest_file_write_writer *writer =
        send_part(service->client, &(struct part){.id = "up-1", .size = 2 * PART});

    await_kept(service->client, "up-1", 2 * PART);
    crownest_file_write_free(writer);
    /* And the service with it. */
    service_crash_crownestd(service);
    service_come_back(service);
    assert_done(kept(service->client, "up-1", &offset), &error);
    assert_int_equal(offset, 2 * PART);
    step_do(service->client, sandbox, "test ! -e dir/big");
    assert_refused(
        finish(send_part(service->client, &(struct part){.id = "up-1", .offset = 1, .size = 1}),
               &size),
        &error, OUT_OF_RANGE, "UPLOAD_OFFSET", "open.path");
    assert_done(finish(send_part(service->client, &(struct part){.id = "up-1",
                                                                 .offset = offset,
                                                                 .size = SIZE - 2 * PART,
                                                                 .bounded = true,
                                                                 .total = SIZE}),
                       &size),
                &error);
    assert_int_equal(size, SIZE);
    assert_whole(service->client);
    step_kill(service->client, sandbox);
}

static void a_file_of_another_size_does_not_appear(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    uint64_t size = 0;

    step_create(client, "base", sandbox);
    assert_refused(
        finish(
            send_part(client, &(struct part){.id = "", .size = 100, .bounded = true, .total = 101}),
            &size),
        &error, ABORTED, "UPLOAD_INCOMPLETE", "");
    step_do(client, sandbox, "test -z \"$(ls -A dir)\"");
    assert_done(finish(send_part(client, &(struct part){.id = "", .bounded = true}), &size),
                &error);
    assert_int_equal(size, 0);
    step_kill(client, sandbox);
}

static void beginning_anew_forgets_what_came(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    uint64_t size = 0;

    fill();
    step_create(client, "base", sandbox);
    struct crownest_file_write_writer *writer =
        send_part(client, &(struct part){.id = "again", .size = PART});

    await_kept(client, "again", PART);
    crownest_file_write_free(writer);
    while (finish(send_part(client, &(struct part){.id = "again", .size = SIZE}), &size) < 0)
        fail_msg("%s", error.message);
    assert_int_equal(size, SIZE);
    assert_whole(client);
    step_kill(client, sandbox);
}

static void bad_names_are_refused(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    uint64_t size = 0;

    step_create(client, "base", sandbox);
    assert_refused(finish(send_part(client, &(struct part){.id = "../x"}), &size), &error,
                   INVALID_ARGUMENT, "UPLOAD_ID_INVALID", "open.upload_id");
    assert_refused(finish(send_part(client, &(struct part){.id = "", .offset = 5}), &size), &error,
                   INVALID_ARGUMENT, "UPLOAD_ID_INVALID", "open.upload_id");
    assert_refused(kept(client, "", &size), &error, INVALID_ARGUMENT, "UPLOAD_ID_INVALID",
                   "upload_id");
    step_kill(client, sandbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_upload_goes_on_where_it_was_cut_off),
        cmocka_unit_test(a_file_of_another_size_does_not_appear),
        cmocka_unit_test(beginning_anew_forgets_what_came),
        cmocka_unit_test(bad_names_are_refused),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
