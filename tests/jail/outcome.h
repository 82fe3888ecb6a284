/*
 * What came of an attack, and what may: an errno's name, "ok" or "killed"; alternatives, where
 * kernels differ, are parted by "|".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* "ok" for 0. */
const char *outcome_name(int error);

bool outcome_is_one_of(const char *outcome, size_t length, const char *alternatives);

/*
 * Finds the line "outcome name" in a probe's report, whose lines may end as a terminal ends them,
 * and fails the test if the outcome is another one or the line is missing.
 */
void outcome_check(const char *report, const char *name, const char *alternatives);
