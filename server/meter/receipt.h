/* Receipts: what one sandbox has used, interval by interval, and what that costs. */
#pragma once

#include "crownest/v1/usage.pb-c.h"
#include "server/meter/meter.h"
#include "server/meter/pricing.h"

Crownest__V1__Pricing *receipt_pricing(const struct pricing *pricing, struct arena *arena);

/* Reads. In the arena. NOT_FOUND SANDBOX_NOT_FOUND; DATA_LOSS RECORD_DAMAGED. */
struct status receipt_get(struct meter *meter, const char *project_id, const char *sandbox_id,
                          struct arena *arena, Crownest__V1__Receipt **ret_receipt);
