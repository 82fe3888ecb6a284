#include "tests/jail/fixture.h"

#include <stdio.h>
#include <stdlib.h>

#define KILL_LIMIT_MS 1000

int fixture_can_run(void)
{
    return jail_missing() == NULL;
}

int fixture_kill_limit_ms(void)
{
    return KILL_LIMIT_MS * jail_slowness();
}

static void needs_what_the_host_lacks(void **state)
{
    (void)state;
    skip();
}

int fixture_skip(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(needs_what_the_host_lacks)};
    printf("skipped: needs %s\n", jail_missing());
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int fixture_start(void **state)
{
    struct jail_daemon *daemon = malloc(sizeof(*daemon));
    if (daemon == NULL) {
        return -1;
    }
    jail_start(daemon);
    *state = daemon;
    return 0;
}

int fixture_stop(void **state)
{
    jail_stop(*state);
    free(*state);
    return 0;
}
