#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "google/protobuf/descriptor.pb-c.h"
#include "private/grpc_health.pb-c.h"
#include "private/grpc_reflection.pb-c.h"
#include "tests/unit/rpc/fixture.h"

#define SERVING GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
#define NOT_SERVING GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
#define UNKNOWN_SERVICE GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN

typedef Grpc__Health__V1__HealthCheckResponse Health;
typedef Grpc__Reflection__V1__ServerReflectionRequest Question;
typedef Grpc__Reflection__V1__ServerReflectionResponse Answer;

static const char *const reflections[] = {
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
};

static Health *check(struct client_call *call, const char *service)
{
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;

    request.service = (char *)(uintptr_t)service;
    return client_unary(&fixture.client, call, "/grpc.health.v1.Health/Check", &request.base,
                        &grpc__health__v1__health_check_response__descriptor);
}

static void expect_health(const char *service, unsigned status)
{
    struct client_call call;
    Health *health = check(&call, service);

    assert_non_null(health);
    assert_int_equal(health->status, status);
    grpc__health__v1__health_check_response__free_unpacked(health, NULL);
    client_call_done(&call);
}

static void test_health_check(void **state)
{
    struct client_call call;

    (void)state;
    expect_health("", NOT_SERVING);
    rpc_server_set_serving(fixture.server, true);
    expect_health("", SERVING);
    expect_health("crownest.v1.SandboxService", SERVING);
    rpc_server_set_serving(fixture.server, false);
    expect_health("crownest.v1.SandboxService", NOT_SERVING);
    assert_null(check(&call, "crownest.v1.Sandbox"));
    client_expect(&call, GRPC_STATUS_NOT_FOUND, "SERVICE_UNKNOWN", "service");
    client_call_done(&call);
}

static void expect_watched(struct client_call *call, unsigned status)
{
    Health *health =
        client_receive_message(call, &grpc__health__v1__health_check_response__descriptor);

    assert_non_null(health);
    assert_int_equal(health->status, status);
    grpc__health__v1__health_check_response__free_unpacked(health, NULL);
}

static void watch(struct client_call *call, const char *service)
{
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;

    request.service = (char *)(uintptr_t)service;
    client_start(&fixture.client, call, "/grpc.health.v1.Health/Watch");
    client_send_message(call, &request.base);
    client_close(call);
}

static void test_health_watch(void **state)
{
    struct client_call call, unknown;

    (void)state;
    rpc_server_set_serving(fixture.server, false);
    watch(&call, "");
    expect_watched(&call, NOT_SERVING);
    rpc_server_set_serving(fixture.server, true);
    expect_watched(&call, SERVING);
    rpc_server_set_serving(fixture.server, false);
    expect_watched(&call, NOT_SERVING);
    watch(&unknown, "nobody");
    expect_watched(&unknown, UNKNOWN_SERVICE);
    client_call_done(&call);
    client_call_done(&unknown);
}

static Answer *ask(struct client_call *call, const Question *question)
{
    client_send_message(call, &question->base);
    Answer *answer =
        client_receive_message(call, &grpc__reflection__v1__server_reflection_response__descriptor);

    assert_non_null(answer);
    return answer;
}

static bool lists(const Answer *answer, const char *name)
{
    const Grpc__Reflection__V1__ListServiceResponse *list = answer->list_services_response;

    for (size_t i = 0; i < list->n_service; i++)
        if (strcmp(list->service[i]->name, name) == 0)
            return true;
    return false;
}

/* Of the contract: methods are sorted by their paths, and so are services. */
static size_t count_services(void)
{
    size_t count = 0;

    for (size_t i = 0; i < RPC_METHOD_COUNT; i++) {
        size_t size = (size_t)(strrchr(rpc_methods[i].path, '/') - rpc_methods[i].path);

        count += i == 0 || strncmp(rpc_methods[i].path, rpc_methods[i - 1].path, size + 1) != 0;
    }
    return count;
}

static void test_reflection_lists_services(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        Question question = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
        struct client_call call;

        question.message_request_case =
            GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES;
        question.list_services = (char *)(uintptr_t) "*";
        client_start(&fixture.client, &call, reflections[i]);
        Answer *answer = ask(&call, &question);

        assert_true(lists(answer, "crownest.v1.SandboxService"));
        assert_true(lists(answer, "crownest.v1.TemplateService"));
        assert_true(lists(answer, "grpc.health.v1.Health"));
        assert_true(lists(answer, "grpc.reflection.v1.ServerReflection"));
        assert_true(lists(answer, "grpc.reflection.v1alpha.ServerReflection"));
        assert_int_equal(answer->list_services_response->n_service, count_services() + 3);
        grpc__reflection__v1__server_reflection_response__free_unpacked(answer, NULL);
        client_close(&call);
        client_finish(&call);
        assert_int_equal(call.code, GRPC_STATUS_OK);
        client_call_done(&call);
    }
}

static Answer *ask_symbol(struct client_call *call, const char *symbol)
{
    Question question = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;

    question.message_request_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL;
    question.file_containing_symbol = (char *)(uintptr_t)symbol;
    return ask(call, &question);
}

static void expect_first_file(Answer *answer, const char *name, size_t at_least)
{
    const Grpc__Reflection__V1__FileDescriptorResponse *files = answer->file_descriptor_response;

    assert_int_equal(
        answer->message_response_case,
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE);
    assert_true(files->n_file_descriptor_proto >= at_least);
    Google__Protobuf__FileDescriptorProto *file = google__protobuf__file_descriptor_proto__unpack(
        NULL, files->file_descriptor_proto[0].len, files->file_descriptor_proto[0].data);

    assert_non_null(file);
    assert_string_equal(file->name, name);
    google__protobuf__file_descriptor_proto__free_unpacked(file, NULL);
    grpc__reflection__v1__server_reflection_response__free_unpacked(answer, NULL);
}

static void test_reflection_finds_files(void **state)
{
    Question question = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    struct client_call call;

    (void)state;
    client_start(&fixture.client, &call, reflections[0]);
    expect_first_file(ask_symbol(&call, "crownest.v1.SandboxService"), "crownest/v1/sandbox.proto",
                      4);
    expect_first_file(ask_symbol(&call, "crownest.v1.SandboxService.Create"),
                      "crownest/v1/sandbox.proto", 4);
    expect_first_file(ask_symbol(&call, "crownest.v1.CommandExited"), "crownest/v1/command.proto",
                      5);
    expect_first_file(ask_symbol(&call, "google.protobuf.Timestamp"),
                      "google/protobuf/timestamp.proto", 1);
    question.message_request_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME;
    question.file_by_filename = (char *)(uintptr_t) "crownest/v1/key.proto";
    expect_first_file(ask(&call, &question), "crownest/v1/key.proto", 2);
    client_call_done(&call);
}

static void expect_error(Answer *answer, int code)
{
    assert_int_equal(
        answer->message_response_case,
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE);
    assert_int_equal(answer->error_response->error_code, code);
    grpc__reflection__v1__server_reflection_response__free_unpacked(answer, NULL);
}

static void test_reflection_says_what_it_has_not(void **state)
{
    Question question = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    struct client_call call;
    char longest[1000];

    (void)state;
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    client_start(&fixture.client, &call, reflections[0]);
    expect_error(ask_symbol(&call, "crownest.v1.Nothing"), GRPC_STATUS_NOT_FOUND);
    expect_error(ask_symbol(&call, ""), GRPC_STATUS_NOT_FOUND);
    expect_error(ask_symbol(&call, longest), GRPC_STATUS_NOT_FOUND);
    expect_error(ask(&call, &question), GRPC_STATUS_UNIMPLEMENTED);
    client_call_done(&call);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_health_check),
        FIXTURE_TEST(test_health_watch),
        FIXTURE_TEST(test_reflection_lists_services),
        FIXTURE_TEST(test_reflection_finds_files),
        FIXTURE_TEST(test_reflection_says_what_it_has_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
