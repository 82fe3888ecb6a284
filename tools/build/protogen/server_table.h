/* Writes the server's method table (method_table.h and method_table.c of //server/rpc). */
#ifndef CROWNEST_TOOLS_BUILD_PROTOGEN_SERVER_TABLE_H
#define CROWNEST_TOOLS_BUILD_PROTOGEN_SERVER_TABLE_H

#include <stdio.h>

#include "tools/build/protogen/contract.h"

/* Write errors stay in the streams: the caller looks at ferror. -ENOMEM when memory is out. */
int server_table_write(const struct contract *contract, FILE *header, FILE *source);

#endif
