/* Writes the server's method table (method_table.h and method_table.c of //server/rpc). */
#pragma once

#include <stdio.h>

#include "tools/build/protogen/contract.h"

/* Write errors stay in the streams: the caller looks at ferror. -ENOMEM when memory is out. */
int server_table_write(const struct contract *contract, FILE *header, FILE *source);
