/*
 * What the host holds of sandboxes, as the kernel tells it: for tests that show that nothing is
 * left. Looks only at what has a sandbox's id or belongs to a given process.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>
#include <time.h>

#define HOST_ID_SIZE 64

/* Control groups named after the sandbox, in all hierarchies, those below them included. */
size_t host_cgroups_of(const char *sandbox_id);

/*
 * Processes in the sandbox's control groups. Idle are nest-init and the process that waits for the
 * next command; the latter comes a moment after a command went.
 */
#define HOST_IDLE_PROCESSES 2
size_t host_processes_of(const char *sandbox_id);

/* Processes of this host that have `text` in their argv. */
size_t host_processes_with(const char *text);

/* Living descendants of a process. */
size_t host_descendants(pid_t pid);

/* Network namespaces that descendants of a process live in, its own not counted. */
size_t host_network_namespaces(pid_t pid);

/* Network namespaces that the kernel holds, about: its allocator counts whole slabs. */
size_t host_network_namespaces_allocated(void);

/* Open descriptors. */
size_t host_descriptors(pid_t pid);
/* Those of files below a directory. */
size_t host_descriptors_below(pid_t pid, const char *dir);

/* Mounts in the mount namespace of a process. */
size_t host_mounts(pid_t pid);
size_t host_mounts_below(const char *dir, pid_t pid);

/* Resident anonymous memory in bytes. */
size_t host_memory(pid_t pid);
/* Whether that says anything: a sanitizer keeps what was freed, and shadows what was not. */
#ifdef __SANITIZE_ADDRESS__
#define HOST_MEMORY_COUNTS 0
#else
#define HOST_MEMORY_COUNTS 1
#endif

/* Entries of a directory, 0 when it is not there. */
size_t host_entries(const char *dir);

/* Files below a directory, at any depth; directories are not counted. */
size_t host_files(const char *dir);

/* Waits until count(arg) is at least `least` and at most `most`, for at most ms. The last count. */
size_t host_settle(size_t (*count)(const void *arg), const void *arg, size_t least, size_t most,
                   int ms);

/*
 * Sandboxes' control groups without a process, in any hierarchy, that were made after `since`: what
 * a sandbox that has ended would leave. One that is just being made or removed is also seen.
 */
size_t host_orphaned_cgroups(time_t since);
