/*
 * What a project and one of its sandboxes hold: taken before and after a call that is refused, to
 * show that it left nothing behind.
 */
#pragma once

#include "tests/rpc/service_fixture.h"

struct leftovers {
    size_t sandboxes;
    size_t commands;
    size_t artifacts;
    size_t previews;
    size_t log_files;
    size_t blob_files;
    size_t workspace_files;
    size_t processes;
};

/* sandbox_id: of the default project, running. */
struct leftovers leftovers_count(const struct service *service, const char *sandbox_id);
void assert_nothing_left(const struct service *service, const char *sandbox_id,
                         const struct leftovers *before, const char *what);
