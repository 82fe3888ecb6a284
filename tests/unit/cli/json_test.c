/* Messages become JSON by the rules of proto3's mapping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crownest/v1/command.pb-c.h"
#include "crownest/v1/sandbox.pb-c.h"
#include "tools/cli/json.h"

static char *json_of(const ProtobufCMessage *message)
{
    json_t *value = json_from_message(message);
    char *text = json_dumps(value, JSON_COMPACT);

    assert_non_null(text);
    json_decref(value);
    return text;
}

static void assert_json(const ProtobufCMessage *message, const char *expected)
{
    char *text = json_of(message);

    assert_string_equal(text, expected);
    free(text);
}

/* Of a message that later fields are added to. */
static void assert_json_begins(const ProtobufCMessage *message, const char *expected)
{
    char *text = json_of(message);

    assert_true(strlen(text) > strlen(expected));
    text[strlen(expected)] = '\0';
    assert_string_equal(text, expected);
    free(text);
}

static void numbers_enums_maps_and_times(void **state)
{
    Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    Crownest__V1__Sandbox__LabelsEntry label = CROWNEST__V1__SANDBOX__LABELS_ENTRY__INIT;
    Crownest__V1__Sandbox__LabelsEntry *labels[] = {&label};
    Crownest__V1__Sandbox sandbox = CROWNEST__V1__SANDBOX__INIT;

    (void)state;
    time.seconds = 1;
    time.nanos = 5;
    label.key = (char *)"team";
    label.value = (char *)"\x1b\"";
    sandbox.sandbox_id = (char *)"sbx_1";
    sandbox.state = CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_RUNNING;
    sandbox.create_time = &time;
    sandbox.labels = labels;
    sandbox.n_labels = 1;
    sandbox.cpu_usec = UINT64_MAX;
    assert_json_begins(
        &sandbox.base,
        "{\"sandboxId\":\"sbx_1\",\"projectId\":\"\",\"state\":\"SANDBOX_STATE_RUNNING\","
        "\"template\":\"\",\"templateDigest\":\"\","
        "\"createTime\":\"1970-01-01T00:00:01.000000005Z\","
        "\"endCause\":\"END_CAUSE_UNSPECIFIED\",\"endDetail\":\"\","
        "\"labels\":{\"team\":\"\\u001B\\\"\"},\"cpuUsec\":\"18446744073709551615\","
        "\"memoryPeakBytes\":\"0\",\"parentSandboxId\":\"\",");
}

static void oneofs_bytes_and_durations(void **state)
{
    Crownest__V1__LogOutput output = CROWNEST__V1__LOG_OUTPUT__INIT;
    Crownest__V1__CommandEvent event = CROWNEST__V1__COMMAND_EVENT__INIT;
    Google__Protobuf__Duration wall = GOOGLE__PROTOBUF__DURATION__INIT;
    Crownest__V1__CommandUsage usage = CROWNEST__V1__COMMAND_USAGE__INIT;

    (void)state;
    output.data.data = (uint8_t *)"\0\xff";
    output.data.len = 2;
    output.stream = CROWNEST__V1__LOG_STREAM__LOG_STREAM_STDERR;
    event.event_case = CROWNEST__V1__COMMAND_EVENT__EVENT_OUTPUT;
    event.output = &output;
    assert_json(&event.base, "{\"output\":{\"offset\":\"0\",\"stream\":\"LOG_STREAM_STDERR\","
                             "\"data\":\"AP8=\"}}");
    wall.seconds = 2;
    wall.nanos = 500000000;
    usage.wall = &wall;
    assert_json(&usage.base, "{\"wall\":\"2.500000000s\",\"cpuUsec\":\"0\",\"maxRssBytes\":\"0\","
                             "\"memoryPeakBytes\":\"0\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_enums_maps_and_times),
        cmocka_unit_test(oneofs_bytes_and_durations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
