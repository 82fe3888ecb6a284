/* Which preview a Host header names. Pure. */
#pragma once

#include "server/gateway/gateway.h"
#include "server/util/bytes.h"

enum host_kind {
    HOST_BAD,     /* no host at all: 400 */
    HOST_UNKNOWN, /* none of ours: 404 */
    HOST_DOMAIN,  /* the domain itself */
    HOST_PREVIEW,
};

/* Compared label by label and as a whole: a prefix that matches is no match. ret_preview_id is
 * filled for HOST_PREVIEW only. */
enum host_kind host_parse(struct bytes host, const char *domain,
                          char ret_preview_id[GATEWAY_ID_SIZE]);
