#pragma once

/*
 * Makes the calling thread, and all that it starts from now on, one that runs often and briefly: of
 * two that wait for a CPU the kernel takes the one that wants less of it at a time, and lets it in
 * at once. Nobody gets more CPU time by this. Since Linux 6.12; before, it does nothing (there, who
 * has slept is let in anyway).
 */
void slice_shorten(void);
