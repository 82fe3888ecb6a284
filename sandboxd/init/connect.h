/* Connections to servers inside the sandbox. */
#pragma once

#include <stdint.h>

/* A stream socket connected to the port on 127.0.0.1, or else on ::1. In a worker only. */
int connect_port(uint32_t port, int *ret_fd);
