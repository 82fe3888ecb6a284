#include "tools/cli/plan_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli/json_read.h"
#include "tools/cli/text.h"

static int parse(FILE *in, const char *name, json_t **ret_array, struct err *err)
{
    char *text = malloc(PLAN_FILE_MAX + 1);
    json_error_t error;

    if (!text)
        abort();
    size_t size = fread(text, 1, PLAN_FILE_MAX + 1, in);

    if (ferror(in) || size > PLAN_FILE_MAX) {
        free(text);
        return err_set(err, EINVAL, "%s: cannot be read, or has more than %u bytes", name,
                       PLAN_FILE_MAX);
    }
    json_t *array = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);

    free(text);
    if (!array)
        return err_set(err, EINVAL, "%s: line %d, column %d: %s", name, error.line, error.column,
                       error.text);
    if (!json_is_array(array)) {
        json_decref(array);
        return err_set(err, EINVAL, "%s: is no array of plans: [ { \"name\": … }, … ]", name);
    }
    *ret_array = array;
    return 0;
}

/* By its name, or its place where it has none. */
static void title(const json_t *plan, size_t index, char *ret_text, size_t size)
{
    const char *name = json_string_value(json_object_get(plan, "name"));
    char shown[64];

    if (!name) {
        (void)snprintf(ret_text, size, "plan %zu", index + 1);
        return;
    }
    text_format(name, shown, sizeof(shown));
    (void)snprintf(ret_text, size, "plan `%s`", shown);
}

static int fill(const json_t *array, const char *name, struct plan_file *file, struct err *err)
{
    size_t count = json_array_size(array);
    struct json_mistake mistake = {0};
    char which[96];

    file->plans = calloc(count + 1, sizeof(*file->plans));
    if (!file->plans)
        abort();
    for (; file->count < count; file->count++) {
        const json_t *plan = json_array_get(array, file->count);
        ProtobufCMessage *message;

        if (json_read_message(plan, &crownest__v1__plan__descriptor, &message, &mistake)) {
            title(plan, file->count, which, sizeof(which));
            return err_set(err, EINVAL, "%s: %s: %s%s%s", name, which, mistake.field,
                           mistake.field[0] ? " " : "", mistake.text);
        }
        file->plans[file->count] = (Crownest__V1__Plan *)message;
    }
    return 0;
}

int plan_file_read(FILE *in, const char *name, struct plan_file *ret_file, struct err *err)
{
    struct plan_file file = {0};
    json_t *array = NULL;
    int result = parse(in, name, &array, err);

    if (result)
        return result;
    result = fill(array, name, &file, err);
    json_decref(array);
    if (result)
        plan_file_done(&file);
    else
        *ret_file = file;
    return result;
}

void plan_file_done(struct plan_file *file)
{
    for (size_t i = 0; i < file->count; i++)
        crownest__v1__plan__free_unpacked(file->plans[i], NULL);
    free(file->plans);
    *file = (struct plan_file){0};
}

void plan_file_locate(const struct plan_file *file, const char *field, char *ret_text, size_t size)
{
    size_t index;

    if (sscanf(field, "plans[%zu]", &index) != 1 || index >= file->count)
        (void)snprintf(ret_text, size, "the file");
    else if (file->plans[index]->name[0] == '\0')
        (void)snprintf(ret_text, size, "plan %zu", index + 1);
    else
        (void)snprintf(ret_text, size, "plan `%.64s`", file->plans[index]->name);
}
