#include "server/rpc/deadlock.h"

enum on_deadlock_cycle { ON_DEADLOCK_CYCLE_IGNORE = 0 };

/* absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle) of abseil 20220623: C++, so by the
 * name that the linker knows it by. */
extern void set_mutex_deadlock_detection_mode(enum on_deadlock_cycle mode) __asm__(
    "_ZN4absl7debian329SetMutexDeadlockDetectionModeENS0_15OnDeadlockCycleE");

void deadlock_detection_off(void)
{
    set_mutex_deadlock_detection_mode(ON_DEADLOCK_CYCLE_IGNORE);
}
