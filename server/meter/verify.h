/*
 * Whether what was written down agrees with itself: the intervals of each sandbox follow each other
 * without a hole or an overlap, its days are those of its intervals, and there is no row that is
 * nobody's.
 */
#pragma once

#include "crownest/v1/usage.pb-c.h"
#include "server/meter/meter.h"

/* Reads a page. INVALID_ARGUMENT PAGE_TOKEN_INVALID. */
struct status verify_page(struct meter *meter, const char *project_id, const char *page_token,
                          struct arena *arena, Crownest__V1__VerifyUsageResponse *response);
