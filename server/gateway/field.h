/* Names and values of header fields: comparing, lists, and which of them may pass. Pure. */
#pragma once

#include <stdbool.h>

#include "server/util/bytes.h"

/* Equal without regard to case. */
bool field_is(struct bytes text, const char *name);
/* Whether the text begins so, without regard to case, and with '_' the same as '-': many
 * frameworks fold the two, so X_Forwarded_For would else be a way around. */
bool field_begins(struct bytes text, const char *prefix);
struct bytes field_trim(struct bytes text);
/* Takes the next item off a comma-separated list; false at its end. Empty items are skipped. */
bool field_list_next(struct bytes *list, struct bytes *ret_item);
/* Takes what stands before the separator off a text; false when the text is used up. */
bool field_split_next(struct bytes *text, char separator, struct bytes *ret_part);
bool field_contains(struct bytes text, const char *needle);

/* An HTTP token: a name of a field, a cookie, a protocol. */
bool field_is_token(struct bytes text);
/* Means something between two neighbours only. */
bool field_is_hop(struct bytes name);
/* Says who the visitor is, or is ours: only the gateway may tell the sandbox that. */
bool field_is_reserved(struct bytes name);
/* Must not be named by Connection: that would take from the request what it is checked by. */
bool field_is_protected(struct bytes name);
/* Whether a value carries a secret of CrowNest: an API key, our cookie, a token in a URL. */
bool field_has_secret(struct bytes value);
