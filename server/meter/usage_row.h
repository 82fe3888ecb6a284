/*
 * Rows: what one sandbox used on one day, written once, when it has ended. What a row says follows
 * from the sandbox's record alone, and can be computed again.
 */
#pragma once

#include "private/records.pb-c.h"
#include "server/store/schema.h"
#include "server/store/store.h"

/* Called with what each day of a sandbox's life, up to to_us, comes to. */
typedef void usage_row_visit_fn(void *arg, uint32_t day, const Crownest__Records__UsageRow *row);

/* The rows that a timeline and its bytes make; row and what it holds is valid during the visit. */
void usage_row_each(const Crownest__Records__Meter *part, uint64_t to_us, usage_row_visit_fn *visit,
                    void *arg);
struct schema_key usage_row_key(const char *project_id, uint32_t day, const char *sandbox_id);
/* Adds all rows of one that has ended to the batch. */
void usage_row_put_all(struct store_batch *batch, const Crownest__V1__Sandbox *sandbox,
                       const Crownest__Records__Meter *part);
