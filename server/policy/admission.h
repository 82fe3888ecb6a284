/*
 * Whether a call may change anything now: the database must be writable, and what lets state grow
 * needs room on the disk. Reads are always answered, and so is what only ends something.
 *
 * Every method of the contract stands in one table; one that does not stops the build.
 */
#pragma once

#include "server/rpc/rpc.h"
#include "server/store/store.h"
#include "server/util/space.h"

/* Both outlive it. Functions may be called from any thread. */
struct admission {
    struct store *store;
    struct space *space;
};

/*
 * UNAVAILABLE DISK_FULL or STORE_FAILED while the database cannot be written; RESOURCE_EXHAUSTED
 * DISK_FULL while the disk's reserve is touched. All of them are retryable.
 */
struct status admission_check(const struct admission *admission, const struct rpc_method *method);
/*
 * The same before the request is read. A method whose requests carry a request_id passes: what was
 * done before is answered from the database, and for the rest answer_begin asks again.
 */
struct status admission_open(const struct admission *admission, const struct rpc_method *method);
