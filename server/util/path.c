#include "server/util/path.h"

#include <string.h>

#define PATH_BYTES_MAX 4095

static bool has_parent_component(const char *path)
{
    for (const char *part = path; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == '\0'))
            return true;
    }
    return false;
}

struct status path_check(const char *path, const char *field, const char *reason)
{
    if (path[0] == '\0')
        return status_invalid(field, reason, "%s is empty: name a path inside the sandbox", field);
    if (strlen(path) > PATH_BYTES_MAX)
        return status_invalid(field, reason, "%s is longer than %d bytes", field, PATH_BYTES_MAX);
    if (has_parent_component(path))
        return status_invalid(field, reason, "%s holds a `..`: name the path without it", field);
    return STATUS_OK_VALUE;
}

bool path_is_glob(const char *path)
{
    return strpbrk(path, "*?") != NULL;
}

const char *path_base(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}
