/* A sandboxd for the tests of one program; they skip, named, where the host cannot run it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/jail/jail_client.h"

/* Group set-up and tear-down: *state is the struct jail_daemon. */
int fixture_start(void **state);
int fixture_stop(void **state);

/* Whether the host can run jails. */
int fixture_can_run(void);

/*
 * Within so many ms a sandbox is killed, whatever it does; CROWNEST_TEST_SLOWNESS times as many on
 * a machine that is not a real one.
 */
int fixture_kill_limit_ms(void);

/* Instead of the tests: one skipped case, after a line that names what is missing. */
int fixture_skip(void);

#define fixture_main(tests)                                                                        \
    (fixture_can_run() ? cmocka_run_group_tests(tests, fixture_start, fixture_stop)                \
                       : fixture_skip())
