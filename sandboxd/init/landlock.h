/*
 * Landlock: whatever works for a sandbox reaches files below the sandbox's own root and no others.
 * Inside, that changes nothing; but a descriptor of a directory that leaked in, or a way round the
 * mount namespace, leads nowhere.
 */
#pragma once

/* In nest-init, with the sandbox's root as /. 0, also where the kernel has none, or -errno. */
int landlock_init(void);

/* In a child: confines it for good. 0 or -errno. */
int landlock_confine(void);
