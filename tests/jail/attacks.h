/*
 * Attacks that take more than one call, for the tables of the hostile probe. Each returns what a
 * call would: -1 with errno set when it was refused; ENODATA when it went well and got nothing.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What of the host the probe is told. */
extern struct attack_targets {
    uint16_t port;       /* TCP on its loopback, where it listens */
    int pid;             /* of a process of it */
    const char *socket;  /* path of sandboxd's socket there */
    const char *control; /* path of this sandbox's control socket there */
} attack_targets;

extern char attack_buffer[4096];

/* -1 with ENODATA. */
long nothing(void);

/* --- attacks.c: namespaces and mounts, files, processes and privileges --- */

long clone_with(unsigned long flags);
long clone3_with(uint64_t flags);
long setns_to(const char *path);
long parent_namespace(const char *path);
int pidfd_of(pid_t pid);
long chroot_escape(void);
long clear_nosuid(void);
long open_by_handle(void);
long write_to(const char *path, const char *text);
long read_some(const char *path);
long read_directory(const char *path);
/* Whether a file has this text in it. */
long find_in(const char *path, const char *text);
long read_frame(void);
const char *host_pid_path(void);
long readlink_climb(void);
long make_device(mode_t type, unsigned int major_number, unsigned int minor_number);
long chown_to(uid_t id);
long set_id_file(void);
long host_file_caps(void);
long set_attribute(const char *name);
long set_flags(int flags);
long ioctl_on(const char *path, unsigned long number);
long vm_of_init(long call);
long run_program(const char *path);
long as_init_open(const char *path);
long forge_signal(pid_t pid, int signo);
long forge_credentials(pid_t pid, uid_t uid);
long capset_all(void);
long filter_then_mount(void);
long memfd_then_mount(void);
long raise_limit(int resource);
long lock_memory(void);
long schedule(int policy, int priority);
long alarm_timer(void);
long dump_core(void);
#ifdef __x86_64__
long call_i386(void);
#endif

/* --- attacks_socket.c --- */

long open_queue(void);
long connect_to(const char *address, uint16_t port);
long connect_to6(const char *address, uint16_t port);
long send_to(const char *address, uint16_t port);
long bind_port(uint16_t port);
long connect_abstract(const char *name);
long connect_path(const char *path);
long interface_down(void);
long route_add(void);
long setsockopt_on(int level, int option);

/* --- attacks_stdio.c: the pipes of a command, and pages that go through pipes --- */

/* Opens it anew, and moves a byte through it. */
long write_again(const char *path);
long read_again(const char *path);
/* The kernel is to signal init when something comes out. */
long signal_init_by_output(void);
/* Writes in packets from now on. */
long packet_output(void);
/* Puts a page into the output and changes it afterwards. */
long gift_page(void);
/* Writes to a file of the template that may only be read; flags of mmap. EUCLEAN: it took. */
long write_own_memory(int flags);
long write_spliced_page(void);

/* --- attacks_terminal.c --- */

/* An ioctl on the two ends of a new terminal. */
long terminal_ioctl(unsigned long number);
long peer_ioctl(unsigned long number);
/* … and on what is there; argument: an int. */
long ioctl_by_path(const char *path, unsigned long number, int argument);
/* Takes the terminal of standard input from its session. */
long steal_terminal(void);
/* Opens, and reads, a file of any process but init that has init's id, until it works with one. */
long open_of_helpers(const char *name, int flags);
