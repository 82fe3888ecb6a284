#include "server/webhook/backoff.h"

#include "server/util/limits.h"

uint64_t webhook_backoff_ms(unsigned failures, uint64_t random)
{
    uint64_t most = 2 * LIMIT_WEBHOOK_BACKOFF_MIN_MS;

    while (--failures > 0 && most < LIMIT_WEBHOOK_BACKOFF_MAX_MS)
        most *= 2;
    if (most > LIMIT_WEBHOOK_BACKOFF_MAX_MS)
        most = LIMIT_WEBHOOK_BACKOFF_MAX_MS;
    return most / 2 + random % (most / 2 + 1);
}
