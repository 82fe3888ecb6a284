#include "tools/cli/money.h"

#include <inttypes.h>
#include <stdio.h>

#define MICROS 1000000

void money_format(uint64_t usd_micros, char ret_text[MONEY_SIZE])
{
    (void)snprintf(ret_text, MONEY_SIZE, "%" PRIu64 ".%06" PRIu64, usd_micros / MICROS,
                   usd_micros % MICROS);
}
