/*
 * Has the audit tell who comes to previews: the gateway says what it saw, and a thread writes it.
 * A visitor is new with the token in the URL, which is given up for a cookie; programs that send
 * the token in a header with each connection are told of once a minute and preview.
 */
#pragma once

#include "server/audit/audit.h"
#include "server/store/store.h"

enum preview_visit {
    PREVIEW_VISIT_URL,    /* the token came in the URL: a new browser */
    PREVIEW_VISIT_HEADER, /* the token came in a header */
    PREVIEW_VISIT_REFUSED,
};

struct preview_visits;

/* Both outlive it. */
struct preview_visits *preview_visits_new(struct store *store, struct audit *audit);
/* Writes what was told, and ends the thread. NULL is fine. */
void preview_visits_free(struct preview_visits *visits);

/* From any thread, without blocking. What the thread cannot keep up with is counted only. */
void preview_visits_tell(struct preview_visits *visits, const char *preview_id,
                         enum preview_visit visit);
