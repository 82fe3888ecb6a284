#include "server/sandbox/environment.h"

#include <stdio.h>
#include <string.h>

/* Whether one of the list has the same name as the variable. */
static bool replaced(const char *variable, const char *const *list, size_t count)
{
    size_t name = strcspn(variable, "=") + 1;

    for (size_t i = 0; i < count; i++) {
        if (strncmp(variable, list[i], name) == 0)
            return true;
    }
    return false;
}

static uint32_t append_unless(struct buf *buf, const char *variable, bool skip)
{
    if (skip)
        return 0;
    buf_append(buf, variable, strlen(variable) + 1);
    return 1;
}

uint32_t environment_append(const struct environment *e, struct buf *buf)
{
    bool root = strcmp(e->user, "root") == 0;
    char sandbox_id[64];
    const char *defaults[] = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        root ? "HOME=/root" : "HOME=/home/user",
        root ? "USER=root" : "USER=user",
        root ? "LOGNAME=root" : "LOGNAME=user",
        "LANG=C.UTF-8",
        sandbox_id,
        "TERM=xterm-256color", /* the last: only with a terminal */
    };
    size_t default_count = sizeof(defaults) / sizeof(*defaults) - (e->terminal ? 0 : 1);
    uint32_t count = 0;

    (void)snprintf(sandbox_id, sizeof(sandbox_id), "CROWNEST_SANDBOX_ID=%s", e->sandbox_id);
    for (size_t i = 0; i < default_count; i++)
        count += append_unless(buf, defaults[i],
                               replaced(defaults[i], e->outer, e->outer_count) ||
                                   replaced(defaults[i], e->inner, e->inner_count));
    for (size_t i = 0; i < e->outer_count; i++)
        count += append_unless(buf, e->outer[i], replaced(e->outer[i], e->inner, e->inner_count));
    for (size_t i = 0; i < e->inner_count; i++)
        count += append_unless(buf, e->inner[i], false);
    return count;
}
