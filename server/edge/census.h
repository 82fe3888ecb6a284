/*
 * How many accepted sockets are open, in all and by address, wherever they are by now.
 *
 * Sockets are handed to owners who close them without telling. They stay in this process, though,
 * and each has an inode of its own: a descriptor number that names another inode, or nothing, says
 * that the socket is gone. One that is accepted under a number that is on the list says the same.
 * Used by one thread.
 */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

struct census;

struct census *census_new(unsigned limit, unsigned peer_limit);
void census_free(struct census *census);
/* Whether one more is within the bounds; if so it is counted. IPv6 peers count by their /64. */
bool census_add(struct census *census, int fd, const struct sockaddr_storage *peer);
/* The descriptor is about to be closed. */
void census_remove(struct census *census, int fd);
/* Looks which sockets are gone. */
void census_sweep(struct census *census);
unsigned census_count(const struct census *census);
