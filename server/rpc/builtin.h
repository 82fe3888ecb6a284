/*
 * The standard services beside the contract: grpc.health.v1 and grpc.reflection. They need no key:
 * load balancers and tools ask before they have one, and neither says anything about a tenant.
 */
#pragma once

#include "server/rpc/engine.h"

struct health *health_new(void);
void health_free(struct health *health);
/* From any thread; wakes the watchers. */
void health_set(struct health *health, bool serving);
void health_routes(struct route routes[]);

/* Returns NULL when the descriptors are no FileDescriptorSet. */
struct reflection *reflection_new(struct bytes descriptors);
void reflection_free(struct reflection *reflection);
void reflection_routes(struct route routes[]);
