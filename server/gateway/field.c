#include "server/gateway/field.h"

#include <openssl/evp.h>
#include <strings.h>

#include "server/gateway/credential.h"

bool field_is(struct bytes text, const char *name)
{
    return text.size == strlen(name) && strncasecmp((const char *)text.data, name, text.size) == 0;
}

static int fold(int byte)
{
    if (byte >= 'A' && byte <= 'Z')
        return byte + ('a' - 'A');
    return byte == '_' ? '-' : byte;
}

bool field_begins(struct bytes text, const char *prefix)
{
    for (size_t i = 0; prefix[i]; i++) {
        if (i == text.size || fold(text.data[i]) != fold(prefix[i]))
            return false;
    }
    return true;
}

struct bytes field_trim(struct bytes text)
{
    while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = bytes_of(text.data + 1, text.size - 1);
    while (text.size > 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t'))
        text.size--;
    return text;
}

bool field_split_next(struct bytes *text, char separator, struct bytes *ret_part)
{
    if (text->size == 0)
        return false;
    const uint8_t *end = memchr(text->data, separator, text->size);
    size_t size = end ? (size_t)(end - text->data) : text->size;

    *ret_part = bytes_of(text->data, size);
    size_t used = end ? size + 1 : size;

    *text = bytes_of(text->data + used, text->size - used);
    return true;
}

bool field_list_next(struct bytes *list, struct bytes *ret_item)
{
    struct bytes part;

    while (field_split_next(list, ',', &part)) {
        part = field_trim(part);
        if (part.size > 0) {
            *ret_item = part;
            return true;
        }
    }
    return false;
}

bool field_contains(struct bytes text, const char *needle)
{
    return memmem(text.data, text.size, needle, strlen(needle)) != NULL;
}

bool field_is_token(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];

        if (byte <= ' ' || byte >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", byte))
            return false;
    }
    return text.size > 0;
}

static bool any_is(struct bytes name, const char *const *names)
{
    for (; *names; names++) {
        if (field_is(name, *names))
            return true;
    }
    return false;
}

static bool any_begins(struct bytes name, const char *const *prefixes)
{
    for (; *prefixes; prefixes++) {
        if (field_begins(name, *prefixes))
            return true;
    }
    return false;
}

bool field_is_hop(struct bytes name)
{
    static const char *const names[] = {
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "Proxy-Authorization",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "Expect",
        "Proxy-Authenticate",
        "HTTP2-Settings",
        NULL,
    };

    return any_is(name, names);
}

bool field_is_reserved(struct bytes name)
{
    static const char *const prefixes[] = {
        "X-CrowNest-", "X-Forwarded-", "Forwarded", "X-Real-IP", NULL,
    };

    return any_begins(name, prefixes);
}

bool field_is_protected(struct bytes name)
{
    static const char *const prefixes[] = {
        "Host", "Content-", "Transfer-Encoding", "Cookie", "Authorization", "Origin", "Expect",
        "Sec-", NULL,
    };

    return field_is_reserved(name) || any_begins(name, prefixes);
}

static bool text_has_secret(struct bytes text)
{
    return field_contains(text, "cnk_") || field_contains(text, CREDENTIAL_QUERY "=") ||
           field_contains(text, CREDENTIAL_COOKIE "=");
}

/* "Basic" hides what it carries, and `curl -u x:KEY` is how a key gets there. */
static bool basic_has_secret(struct bytes value)
{
    unsigned char plain[768];

    if (!field_begins(value, "Basic "))
        return false;
    struct bytes code = field_trim(bytes_of(value.data + 6, value.size - 6));

    if (code.size > sizeof(plain))
        return true;
    int size = EVP_DecodeBlock(plain, code.data, (int)code.size);

    return size > 0 && text_has_secret(bytes_of(plain, (size_t)size));
}

bool field_has_secret(struct bytes value)
{
    return text_has_secret(value) || basic_has_secret(value);
}
