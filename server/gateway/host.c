#include "server/gateway/host.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>

#include "server/gateway/field.h"
#include "server/util/id.h"

#define PREFIX "prv_"

/* Cuts ":port" off; false when it is no port. */
static bool cut_port(struct bytes *host)
{
    const uint8_t *colon = memrchr(host->data, ':', host->size);

    if (!colon)
        return true;
    size_t name = (size_t)(colon - host->data);
    size_t digits = host->size - name - 1;
    unsigned port = 0;

    if (digits == 0 || digits > 5)
        return false;
    for (size_t i = name + 1; i < host->size; i++) {
        if (host->data[i] < '0' || host->data[i] > '9')
            return false;
        port = port * 10 + (unsigned)(host->data[i] - '0');
    }
    host->size = name;
    return port > 0 && port <= 65535;
}

static bool is_name(struct bytes host)
{
    for (size_t i = 0; i < host.size; i++) {
        if (!isascii(host.data[i]) || (!isalnum(host.data[i]) && !strchr("-._", host.data[i])))
            return false;
    }
    return host.size > 0 && host.size <= 253;
}

/* An address in brackets is a well-formed host, and never a preview's. */
static bool is_address(struct bytes host)
{
    if (host.size < 4 || host.data[0] != '[' || host.data[host.size - 1] != ']')
        return false;
    for (size_t i = 1; i + 1 < host.size; i++) {
        if (!isxdigit(host.data[i]) && host.data[i] != ':' && host.data[i] != '.')
            return false;
    }
    return true;
}

static enum host_kind preview_of(struct bytes label, char ret_preview_id[GATEWAY_ID_SIZE])
{
    char id[GATEWAY_ID_SIZE] = PREFIX;
    size_t prefix = sizeof(PREFIX) - 1;

    if (label.size >= sizeof(id) || label.size <= prefix || label.data[prefix - 1] != '-' ||
        !field_begins(label, PREFIX))
        return HOST_UNKNOWN;
    for (size_t i = prefix; i < label.size; i++)
        id[i] = (char)tolower(label.data[i]);
    if (!id_valid(PREFIX, id))
        return HOST_UNKNOWN;
    memcpy(ret_preview_id, id, sizeof(id));
    return HOST_PREVIEW;
}

enum host_kind host_parse(struct bytes host, const char *domain,
                          char ret_preview_id[GATEWAY_ID_SIZE])
{
    if (is_address(host))
        return HOST_UNKNOWN;
    if (!cut_port(&host))
        return HOST_BAD;
    if (is_address(host))
        return HOST_UNKNOWN;
    if (!is_name(host))
        return HOST_BAD;
    if (field_is(host, domain))
        return HOST_DOMAIN;
    const uint8_t *dot = memchr(host.data, '.', host.size);

    if (!dot)
        return HOST_UNKNOWN;
    size_t label = (size_t)(dot - host.data);

    if (!field_is(bytes_of(dot + 1, host.size - label - 1), domain))
        return HOST_UNKNOWN;
    return preview_of(bytes_of(host.data, label), ret_preview_id);
}
