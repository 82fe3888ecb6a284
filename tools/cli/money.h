/* Amounts of money for people: exact, since they are integers. */
#pragma once

#include <stdint.h>

#define MONEY_SIZE 32

/* Millionths of a dollar as "12.345678". */
void money_format(uint64_t usd_micros, char ret_text[MONEY_SIZE]);
