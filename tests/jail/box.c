#include "tests/jail/box.h"

struct jail_box box;
struct jail_run run;

int create_box(void **state)
{
    jail_create(*state, &box);
    return 0;
}

int kill_box(void **state)
{
    assert_int_equal(jail_kill(*state, &box).error, 0);
    return 0;
}
