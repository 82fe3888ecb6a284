/* The bounds of a plan's own fields. */
#pragma once

#include "crownest/v1/plan.pb-c.h"
#include "server/util/status.h"

/* INVALID_ARGUMENT PLAN_INVALID at plans[index].<field>. */
struct status plan_check(const Crownest__V1__Plan *plan, size_t index);
