/* Resource limits of every process of a jail. */
#pragma once

#include "sandboxd/err.h"
#include "sandboxd/policy.h"

/* Child: sets them, soft and hard alike. */
int rlimits_set(const struct sd_policy *policy, struct sd_err *err);
