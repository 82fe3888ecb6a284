#include "server/plan/rate.h"

/* What the bucket lacks to be full; never more than a window, also after its rate was changed. */
static uint64_t missing_ns(const struct rate *rate, uint64_t window_ns, uint64_t now_ns)
{
    uint64_t missing = rate->due_ns > now_ns ? rate->due_ns - now_ns : 0;

    return missing < window_ns ? missing : window_ns;
}

uint32_t rate_left(const struct rate *rate, uint32_t per_window, uint64_t window_ns,
                   uint64_t now_ns)
{
    uint64_t each = window_ns / per_window;

    return (uint32_t)((window_ns - missing_ns(rate, window_ns, now_ns)) / each);
}

bool rate_take(struct rate *rate, uint32_t per_window, uint64_t window_ns, uint64_t now_ns,
               uint64_t *ret_wait_ns)
{
    uint64_t each = window_ns / per_window;
    uint64_t missing = missing_ns(rate, window_ns, now_ns);

    if (missing + each > window_ns) {
        *ret_wait_ns = missing + each - window_ns;
        return false;
    }
    rate->due_ns = now_ns + missing + each;
    return true;
}

void rate_give(struct rate *rate, uint32_t per_window, uint64_t window_ns)
{
    uint64_t each = window_ns / per_window;

    rate->due_ns = rate->due_ns > each ? rate->due_ns - each : 0;
}
