#include "tools/cli/retry.h"

#include <time.h>

#include "server/util/clock.h"

#define FIRST_PAUSE_MS 100U
#define LONGEST_PAUSE_MS 2000U

/* gRPC's codes for what can be a connection's end, when no service says a reason with it. */
enum { CANCELLED = 1, UNKNOWN = 2, INTERNAL = 13 };

bool retry_helps(const struct crownest_error *error)
{
    if (error->retryable)
        return true;
    return !error->reason[0] &&
           (error->code == CANCELLED || error->code == UNKNOWN || error->code == INTERNAL);
}

int retry_pause(struct retry *retry, const struct crownest_error *error)
{
    uint64_t now = clock_monotonic_ms();
    unsigned pause = FIRST_PAUSE_MS;

    if (!retry_helps(error))
        return -1;
    if (!retry->failures++)
        retry->since_ms = now;
    for (unsigned i = 1; i < retry->failures && pause < LONGEST_PAUSE_MS; i++)
        pause *= 2;
    if (pause > LONGEST_PAUSE_MS)
        pause = LONGEST_PAUSE_MS;
    if (pause < error->retry_after_ms)
        pause = error->retry_after_ms;
    return now + pause - retry->since_ms <= retry->window_ms ? (int)pause : -1;
}

bool retry_again(struct retry *retry, const struct crownest_error *error)
{
    int pause_ms = retry_pause(retry, error);

    if (pause_ms < 0)
        return false;
    struct timespec pause = {.tv_sec = pause_ms / 1000, .tv_nsec = pause_ms % 1000 * 1000000L};
    (void)nanosleep(&pause, NULL);
    return true;
}

void retry_reset(struct retry *retry)
{
    retry->failures = 0;
}
