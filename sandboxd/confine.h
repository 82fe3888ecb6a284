/*
 * What sandboxd takes from itself once it is ready to serve: the network, the capabilities that no
 * step of a jail uses, and the system calls that neither it nor anything in a jail needs. Its
 * children, jails included, start with no more.
 */
#pragma once

#include "sandboxd/err.h"

int confine_self(struct sd_err *err);
