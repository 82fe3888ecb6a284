/* The contract as a FileDescriptorSet, embedded at build time: what reflection serves. */
#pragma once

#include "server/util/bytes.h"

struct bytes descriptors_bytes(void);
