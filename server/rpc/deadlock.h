/*
 * Abseil's deadlock detector, which Debian's build of gRPC carries, aborts the process when two of
 * gRPC's own locks are ever taken in different orders, harmless or not. It must be switched off
 * before gRPC takes its first lock.
 */
#pragma once

void deadlock_detection_off(void);
