#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "sandboxd/host_setting.h"
#include "tools/cli/check.h"

/* What has no room is named when the first ones are mended. */
static void append(char *text, size_t size, const char *separator, const char *word)
{
    size_t length = strlen(text);

    if (length + strlen(separator) + strlen(word) < size)
        (void)snprintf(text + length, size - length, "%s%s", separator, word);
}

static bool is_right(const struct check_context *context, const struct host_setting *setting,
                     char *ret_text, size_t size)
{
    char path[HOST_SETTING_PATH_SIZE];

    host_setting_path(setting, path);
    return check_read(context, path, ret_text, size) <= 0 ||
           host_setting_is_right(setting, ret_text);
}

void check_settings(const struct check_context *context, struct check_result *result)
{
    char found[sizeof(result->found) - sizeof("weaker than need be:")] = "";
    char sysctl[sizeof(result->remedy) / 2] = "";
    char other[sizeof(result->remedy) / 2 - sizeof("; ")] = "";

    for (size_t i = 0; i < host_setting_count; i++) {
        const struct host_setting *setting = &host_settings[i];
        char text[512];
        char word[64];

        if (is_right(context, setting, text, sizeof(text)))
            continue;
        append(found, sizeof(found), " ", setting->name);
        if (setting->remedy) {
            append(other, sizeof(other), *other ? "; " : "", setting->remedy);
        } else {
            text[strcspn(text, "\n")] = '\0';
            append(found, sizeof(found), "=", text);
            (void)snprintf(word, sizeof(word), "%s=%ld", setting->name, setting->better);
            append(sysctl, sizeof(sysctl), *sysctl ? " " : "sysctl -w ", word);
        }
    }
    if (found[0]) {
        char remedy[sizeof(result->remedy)];

        (void)snprintf(remedy, sizeof(remedy), "%s%s%s", sysctl, *sysctl && *other ? "; " : "",
                       other);
        check_set(result, CHECK_WARN, remedy, "weaker than need be:%s", found);
    } else {
        check_set(result, CHECK_OK, "", "the kernel keeps its sharper tools to root");
    }
}
