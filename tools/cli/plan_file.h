/* A file of plans: a JSON array of them, as `crownest plans --json` prints it. */
#pragma once

#include <stdio.h>

#include "crownest/v1/plan.pb-c.h"
#include "server/util/err.h"

#define PLAN_FILE_MAX (1U << 20)

struct plan_file {
    Crownest__V1__Plan **plans;
    size_t count;
};

/*
 * Reads and types it; what the values may be is the service's to say. name: of the file, for the
 * error. Returns 0, or a negative errno.
 */
int plan_file_read(FILE *in, const char *name, struct plan_file *ret_file, struct err *err);
void plan_file_done(struct plan_file *file);

/* What a field of a request is in the file: "plans[1].max_ttl" is "plan `team`". */
void plan_file_locate(const struct plan_file *file, const char *field, char *ret_text, size_t size);
