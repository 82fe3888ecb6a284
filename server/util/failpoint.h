/*
 * Failpoints: named places where a test build can be told to fail, to wait or to die. In any other
 * build the macros leave nothing behind.
 *
 * A program that was compiled with CROWNEST_FAILPOINTS reads the environment variable of that name
 * when it passes its first one:
 *
 *     CROWNEST_FAILPOINTS="store.write.after=kill9@3,artifact.copy=delay:50@1"
 *
 * Each is a name, what happens there, and at which passing, counted from 1 over all threads; 0 is
 * every one. It is said on standard error before it happens. The actions:
 *
 *     kill9      the process is killed
 *     eio        the place fails with -EIO      enospc     with -ENOSPC
 *     short      a size is halved               delay:MS   it waits for so many milliseconds
 *     skip       what should be done is not: a service that is broken on purpose
 *     jump:MS    a clock is so many milliseconds ahead, or behind, from then on
 *
 * A place can do what its macro can: FAILPOINT waits or dies, FAILPOINT_ERROR fails, too,
 * FAILPOINT_SIZE is cut short, too, FAILPOINT_SKIP is true, and FAILPOINT_JUMP is a clock's. What
 * it is told otherwise is said, and has no effect. Functions may be called from any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef CROWNEST_FAILPOINTS

/*
 * Before the first place is passed, and for a program that forks: what is counted is shared with
 * its children from here on, and kill9 calls this instead of killing the calling process.
 */
void failpoint_init(void (*kill9)(void));
/* Passes the place. Returns 0 or a negative errno. */
int failpoint_pass(const char *name);
/* Passes the place with a size, and returns it or half of it, never 0 for more than 0. */
size_t failpoint_size(const char *name, size_t size);
/* Passes the place. Returns whether what follows is to be left out. */
bool failpoint_skip(const char *name);
/* Passes a clock. Returns by how many microseconds it is ahead. */
int64_t failpoint_jump(const char *name);

#define FAILPOINT(name) ((void)failpoint_pass(name))
#define FAILPOINT_ERROR(name) failpoint_pass(name)
#define FAILPOINT_SIZE(name, size) failpoint_size(name, size)
#define FAILPOINT_SKIP(name) failpoint_skip(name)
#define FAILPOINT_JUMP(name) failpoint_jump(name)

#else

#define FAILPOINT(name) ((void)0)
#define FAILPOINT_ERROR(name) 0
#define FAILPOINT_SIZE(name, size) (size)
#define FAILPOINT_SKIP(name) false
#define FAILPOINT_JUMP(name) 0

#endif
