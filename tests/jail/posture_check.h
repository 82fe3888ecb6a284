/* Compares a live process of a sandbox, seen from the host, with posture.h; fails the test. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "tests/jail/jail_client.h"
#include "tests/jail/posture.h"

/* A whole file of /proc/<pid>; the text is good until the next call of anything here. */
const char *posture_read_proc(pid_t pid, const char *name);
/* The value after "key" and blanks or a colon, to the end of the line. */
void posture_find_line(const char *in, const char *key, char *ret_value, size_t size);

/* Nest-init's pid here, and that of its only child, the command that runs. */
pid_t posture_init_pid(const struct jail_box *box);
pid_t posture_command_pid(const struct jail_box *box);
/* The first id of the sandbox's range. */
unsigned int posture_id_base(pid_t pid);

void posture_check_ids(pid_t pid, const struct posture *posture);
void posture_check_status(pid_t pid, const struct posture *posture);
void posture_check_namespaces(pid_t pid);
void posture_check_mounts(pid_t pid);
void posture_check_descriptors(pid_t pid, const char *stdio);
void posture_check_limits(pid_t pid, unsigned int open_files);
void posture_check_cgroups(const struct jail_box *box, pid_t pid);

/*
 * Sends a line through a "cat" whose descriptors these are: once it is back, the program runs, and
 * its loader has no file open any more.
 */
void posture_await_cat(const int fds[3]);

/* The first child of nest-init whose own memory says that it is of another kind: the relay. */
pid_t posture_relay_pid(const struct jail_box *box);
/* Lines of its status, one by one. */
void posture_check_lines(pid_t pid, const struct posture_line *lines, size_t count);

/* All of them, of each thread of the process. Returns how many threads there were. */
int posture_check_command(const struct jail_box *box, pid_t pid, const struct posture *posture);
