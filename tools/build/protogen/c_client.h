/*
 * Writes the typed C client of one service (crownest_<noun>.h and .c of //bindings/c).
 *
 * Write errors stay in the streams: the caller looks at ferror.
 */
#pragma once

#include <stdio.h>

#include "tools/build/protogen/contract.h"

void c_client_write_header(const struct contract_service *service, FILE *out);
void c_client_write_source(const struct contract_service *service, FILE *out);
