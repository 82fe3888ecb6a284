/* A sandbox for each case of a test: its set-up and tear-down. */
#pragma once

#include "tests/jail/fixture.h"

extern struct jail_box box;
/* For what a case runs in it. */
extern struct jail_run run;

int create_box(void **state);
int kill_box(void **state);
