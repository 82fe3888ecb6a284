/* Of a file of plans nothing is taken that is not of the right names and types; the mistake is
 * named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli/json.h"
#include "tools/cli/plan_file.h"

#define SHIPPED "tools/plans/plans.json"
#define PLAN(members) "[{\"name\": \"small\", " members "}]"

static const struct {
    const char *text;
    const char *says; /* part of it */
} wrong[] = {
    {"", "FILE: line 1"},
    {"[", "FILE: line 1"},
    {"[{\"name\": \"small\"}] and more", "FILE: line 1"},
    {"{\"plans\": []}", "FILE: is no array"},
    {"7", "FILE: "},
    {"[7]", "FILE: plan 1: is an object"},
    {"[{\"name\": \"small\"}, []]", "FILE: plan 2: is an object"},
    {"[{\"name\": 7}]", "FILE: plan 1: name is a string"},
    {"[{\"name\": \"a\\u0000b\"}]", "FILE: line 1"},
    {PLAN("\"maxSandbox\": 2"), "FILE: plan `small`: maxSandbox is no field"},
    {PLAN("\"max_sandboxes\": 2"), "FILE: plan `small`: max_sandboxes is no field"},
    {PLAN("\"maxSandboxes\": 2, \"maxSandboxes\": 3"), "FILE: line 1, column"},
    {PLAN("\"maxSandboxes\": -1"), "maxSandboxes is a whole number from 0 to 4294967295"},
    {PLAN("\"maxSandboxes\": 1.5"), "maxSandboxes is a whole number"},
    {PLAN("\"maxSandboxes\": 4294967296"), "maxSandboxes is a whole number"},
    {PLAN("\"maxSandboxes\": \"two\""), "maxSandboxes is a whole number"},
    {PLAN("\"maxSandboxes\": \"-2\""), "maxSandboxes is a whole number"},
    {PLAN("\"maxSandboxes\": true"), "maxSandboxes is a whole number"},
    {PLAN("\"maxSandboxes\": null"), "maxSandboxes is a whole number"},
    {PLAN("\"maxArtifactBytes\": -5"), "maxArtifactBytes is a whole number"},
    {PLAN("\"maxArtifactBytes\": \"99999999999999999999\""), "maxArtifactBytes is a whole number"},
    {PLAN("\"maxArtifactBytes\": 1e30"), "maxArtifactBytes is a whole number"},
    {PLAN("\"maxTtl\": 3600"), "maxTtl is a time"},
    {PLAN("\"maxTtl\": \"3600\""), "maxTtl is a time"},
    {PLAN("\"maxTtl\": \"-1s\""), "maxTtl is a time"},
    {PLAN("\"maxTtl\": \"1.5h\""), "maxTtl is a time"},
    {PLAN("\"maxTtl\": \"1 h\""), "maxTtl is a time"},
    {PLAN("\"maxTtl\": \"1w\""), "maxTtl is a time"},
    {PLAN("\"maxTtl\": \"99999999999999999999s\""), "maxTtl is a time"},
    {PLAN("\"maxTtl\": \"18446744073709551615d\""), "maxTtl is a time"},
    {PLAN("\"features\": [\"artifacts\"]"), "features is an object"},
    {PLAN("\"features\": {\"artefacts\": true}"), "features.artefacts is no field"},
    {PLAN("\"features\": {\"artifacts\": 1}"), "features.artifacts is true or false"},
};

static int read_text(const char *text, struct plan_file *file, struct err *err)
{
    FILE *in = tmpfile();

    assert_non_null(in);
    assert_int_equal(fwrite(text, 1, strlen(text), in), strlen(text));
    rewind(in);
    int result = plan_file_read(in, "FILE", file, err);

    (void)fclose(in);
    return result;
}

static void a_wrong_file_is_refused_by_the_place_of_its_mistake(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        struct plan_file file;
        struct err err = {0};

        if (read_text(wrong[i].text, &file, &err) != -EINVAL)
            fail_msg("%s is taken", wrong[i].text);
        if (!strstr(err.message, wrong[i].says))
            fail_msg("%s: \"%s\" lacks \"%s\"", wrong[i].text, err.message, wrong[i].says);
    }
}

static void a_file_without_end_is_refused(void **state)
{
    FILE *endless = fopen("/dev/zero", "re");
    struct plan_file file;
    struct err err = {0};

    (void)state;
    assert_non_null(endless);
    assert_int_equal(plan_file_read(endless, "FILE", &file, &err), -EINVAL);
    (void)fclose(endless);
}

static struct plan_file read_shipped(void)
{
    FILE *in = fopen(SHIPPED, "re");
    struct plan_file file;
    struct err err = {0};

    assert_non_null(in);
    if (plan_file_read(in, SHIPPED, &file, &err))
        fail_msg("%s", err.message);
    (void)fclose(in);
    return file;
}

static void the_plans_that_are_shipped_say_what_they_should(void **state)
{
    struct plan_file file = read_shipped();

    (void)state;
    assert_int_equal(file.count, 3);
    assert_int_equal(file.plans[0]->max_sandboxes, 2);
    assert_int_equal(file.plans[0]->max_ttl->seconds, 3600);
    assert_false(file.plans[0]->features->artifacts);
    assert_true(file.plans[1]->features->artifacts);
    assert_true(file.plans[1]->features->metered_overage);
    assert_true(file.plans[1]->max_sandboxes > 2);
    assert_true(file.plans[1]->max_ttl->seconds > 3600);
    assert_true(file.plans[2]->features->project_keys);
    assert_false(file.plans[1]->features->project_keys);
    assert_true(file.plans[2]->max_ttl->seconds > file.plans[1]->max_ttl->seconds);
    plan_file_done(&file);
}

/* `crownest plans --json` can be edited and applied again. */
static void what_was_printed_is_read(void **state)
{
    struct plan_file file = read_shipped();
    struct plan_file again;
    struct err err = {0};
    json_t *array = json_array();

    (void)state;
    for (size_t i = 0; i < file.count; i++)
        assert_int_equal(json_append_message(array, &file.plans[i]->base), 0);
    char *text = json_dumps(array, JSON_INDENT(2));

    if (read_text(text, &again, &err))
        fail_msg("%s", err.message);
    assert_int_equal(again.count, file.count);
    assert_int_equal(again.plans[1]->max_artifact_bytes, file.plans[1]->max_artifact_bytes);
    assert_int_equal(again.plans[2]->max_ttl->seconds, file.plans[2]->max_ttl->seconds);
    assert_true(again.plans[1]->features->webhooks);
    free(text);
    json_decref(array);
    plan_file_done(&again);
    plan_file_done(&file);
}

static void a_refused_field_is_found_in_the_file(void **state)
{
    struct plan_file file = read_shipped();
    char where[96];

    (void)state;
    plan_file_locate(&file, "plans[1].max_ttl", where, sizeof(where));
    assert_string_equal(where, "plan `team`");
    plan_file_locate(&file, "plans[3].max_ttl", where, sizeof(where));
    assert_string_equal(where, "the file");
    plan_file_locate(&file, "plans", where, sizeof(where));
    assert_string_equal(where, "the file");
    plan_file_done(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_file_is_refused_by_the_place_of_its_mistake),
        cmocka_unit_test(a_file_without_end_is_refused),
        cmocka_unit_test(the_plans_that_are_shipped_say_what_they_should),
        cmocka_unit_test(what_was_printed_is_read),
        cmocka_unit_test(a_refused_field_is_found_in_the_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
