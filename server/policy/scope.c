#include "server/policy/scope.h"

#include <stdio.h>
#include <string.h>

#include "server/rpc/method_table.h"

#define SCOPE_MAX 64 /* nothing longer is near a scope of ours */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How many characters have to be put in, left out or changed. Both are at most SCOPE_MAX long. */
static size_t distance(const char *a, const char *b)
{
    size_t row[SCOPE_MAX + 1];
    size_t size = strlen(b);

    for (size_t j = 0; j <= size; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t corner = row[0];

        row[0] = i;
        for (size_t j = 1; j <= size; j++) {
            size_t changed = corner + (a[i - 1] != b[j - 1]);

            corner = row[j];
            row[j] = least(changed, least(row[j], row[j - 1]) + 1);
        }
    }
    return row[size];
}

static const char *nearest(const char *scope)
{
    const char *best = rpc_scopes[0];
    size_t best_distance = SIZE_MAX;

    for (size_t i = 0; i < rpc_scope_count; i++) {
        size_t away = distance(scope, rpc_scopes[i]);

        if (away < best_distance) {
            best = rpc_scopes[i];
            best_distance = away;
        }
    }
    return best;
}

/* Those of the resource that `sandbox:*` names, else all of them, as far as there is room. */
static void list_scopes(const char *scope, char *ret_list, size_t size)
{
    size_t stem = strcspn(scope, ":*");
    size_t used = 0;
    bool known = false;

    for (size_t i = 0; i < rpc_scope_count && !known; i++)
        known = stem > 0 && strncmp(rpc_scopes[i], scope, stem) == 0 && rpc_scopes[i][stem] == ':';
    ret_list[0] = '\0';
    for (size_t i = 0; i < rpc_scope_count; i++) {
        size_t more = strlen(rpc_scopes[i]) + 2;

        if ((known && (strncmp(rpc_scopes[i], scope, stem) != 0 || rpc_scopes[i][stem] != ':')) ||
            used + more >= size)
            continue;
        (void)snprintf(ret_list + used, size - used, "%s%s", used ? ", " : "", rpc_scopes[i]);
        used += more - (used ? 0 : 2);
    }
}

struct status scope_check(const char *scope)
{
    char list[200];

    for (size_t i = 0; i < rpc_scope_count; i++) {
        if (strcmp(rpc_scopes[i], scope) == 0)
            return STATUS_OK_VALUE;
    }
    if (strchr(scope, '*')) {
        list_scopes(scope, list, sizeof(list));
        return status_invalid("scopes", "SCOPE_UNKNOWN",
                              "wildcards are not taken; name each scope: %s", list);
    }
    if (strlen(scope) > SCOPE_MAX)
        return status_invalid("scopes", "SCOPE_UNKNOWN", "`%.60s…` is no scope of this service",
                              scope);
    return status_invalid("scopes", "SCOPE_UNKNOWN",
                          "`%s` is no scope of this service; the nearest is %s", scope,
                          nearest(scope));
}
