/* Resource limits of every process of a jail. */
#pragma once

#include "sandboxd/err.h"
#include "sandboxd/policy.h"
#include "sandboxd/wire.h"

/* Child: sets them, soft and hard alike. */
int rlimits_set(const struct sd_policy *policy, const struct sd_limits *limits, struct sd_err *err);
