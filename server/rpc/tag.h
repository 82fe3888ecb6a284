/*
 * What gRPC's completion queues carry for us: whom an event is for, and what to do with it. The tag
 * is part of its owner and lives until its event was handled.
 */
#pragma once

#include <stdbool.h>

struct tag {
    void (*done)(void *owner, bool ok);
    void *owner;
};
