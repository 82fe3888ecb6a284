#include "server/util/slice.h"

#include <linux/sched/types.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * A process has 0.7 ms on one CPU, 1.4 ms on two, up to 2.8 ms on eight and more. The least is
 * 0.1 ms; then the thread would be interrupted itself while it answers.
 */
#define SLICE_NS 500000

void slice_shorten(void)
{
    struct sched_attr attr = {.size = sizeof(attr)};

    if (syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0) < 0)
        return;
    attr.sched_runtime = SLICE_NS;
    (void)syscall(SYS_sched_setattr, 0, &attr, 0);
}
