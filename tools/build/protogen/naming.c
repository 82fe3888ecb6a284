#include "tools/build/protogen/naming.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>

/* Appends one byte and keeps the string terminated. */
static int append(char *out, size_t size, size_t *at, int c)
{
    if (*at + 1 >= size)
        return -EINVAL;
    out[(*at)++] = (char)c;
    out[*at] = '\0';
    return 0;
}

int naming_snake(const char *camel, char *out, size_t size)
{
    bool was_upper = true;
    size_t at = 0;

    for (; *camel; camel++) {
        bool is_upper = isupper((unsigned char)*camel);

        if (is_upper && !was_upper && append(out, size, &at, '_'))
            return -EINVAL;
        if (append(out, size, &at, tolower((unsigned char)*camel)))
            return -EINVAL;
        was_upper = is_upper;
    }
    return at ? 0 : -EINVAL;
}

int naming_c_type(const char *proto_name, char *out, size_t size)
{
    bool capital = true;
    size_t at = 0;

    for (; *proto_name; proto_name++) {
        unsigned char c = (unsigned char)*proto_name;

        if (c == '.') {
            if (append(out, size, &at, '_') || append(out, size, &at, '_'))
                return -EINVAL;
        } else if (c != '_' && append(out, size, &at, capital ? toupper(c) : c)) {
            return -EINVAL;
        }
        capital = c == '.' || c == '_';
    }
    return at ? 0 : -EINVAL;
}

int naming_c_symbol(const char *proto_name, char *out, size_t size)
{
    bool was_upper = true;
    size_t at = 0;

    for (; *proto_name; proto_name++) {
        unsigned char c = (unsigned char)*proto_name;
        bool is_upper = isupper(c);

        if (c == '.') {
            if (append(out, size, &at, '_') || append(out, size, &at, '_'))
                return -EINVAL;
            was_upper = true;
            continue;
        }
        if (is_upper && !was_upper && append(out, size, &at, '_'))
            return -EINVAL;
        if (append(out, size, &at, tolower(c)))
            return -EINVAL;
        was_upper = is_upper;
    }
    return at ? 0 : -EINVAL;
}
