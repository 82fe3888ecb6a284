#include "tools/benchmark/measure.h"

#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

uint64_t measure_now(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

size_t measure_next(char *ret_words[MEASURE_WORDS + 1])
{
    static char line[8192];
    size_t count = 0;
    char *rest = line;

    if (!fgets(line, sizeof(line), stdin))
        return 0;
    line[strcspn(line, "\n")] = '\0';
    while (count < MEASURE_WORDS && (ret_words[count] = strsep(&rest, "\t")))
        count++;
    if (rest)
        errx(2, "a request of more than %d words", MEASURE_WORDS);
    ret_words[count] = NULL;
    return count;
}

void measure_reply(const struct measure *measure)
{
    printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", measure->total, measure->exited,
           measure->first, measure->bytes);
    (void)fflush(stdout);
}
