/*
 * A client of sandboxd and of nest-init for tests: starts a sandboxd of its own in a directory of
 * its own, and speaks both wires. Calls that wait give up after JAIL_TIMEOUT_MS, times as slow as
 * the machine is, and fail the test.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "sandboxd/init/wire.h"
#include "sandboxd/wire.h"

#define JAIL_TIMEOUT_MS 20000

/* How many times slower than a host this machine is, as CROWNEST_TEST_SLOWNESS says; else 1. */
int jail_slowness(void);

/* A running sandboxd. */
struct jail_daemon {
    pid_t pid;
    char dir[64];
    char socket_path[96];
    int socket;
    uint64_t serial;
    uint8_t digest[SD_DIGEST_SIZE]; /* of the template "base" */
    const char *volume;             /* NULL: layers in memory */
};

/* A sandbox that this client made. */
struct jail_box {
    char id[SD_ID_SIZE];
    int control;
    int pidfd;
    uint64_t serial;
    uint64_t last_command;
};

/* What a command did. */
struct jail_run {
    int error; /* of the spawn, with its step */
    uint32_t step;
    int wait_status;
    uint64_t cpu_usec;
    uint64_t memory_peak_bytes;
    uint64_t max_rss_bytes;
    uint32_t oom_kills;
    char out[65536];
    size_t out_bytes;
    char err[65536];
    size_t err_bytes;
};

/* NULL, or what this host lacks for these tests. */
const char *jail_missing(void);

/*
 * Starts sandboxd for client_uid and greets it; jail_stop ends it and checks that it went well. Its
 * layers are on the volume, which stays the caller's, or else on the one that CROWNEST_TEST_VOLUME
 * names, or else in memory.
 */
void jail_start_on(struct jail_daemon *daemon, const char *volume);
void jail_start(struct jail_daemon *daemon);
/* Kills it without a warning; starts another in the same directory; both. */
void jail_crash(struct jail_daemon *daemon);
void jail_relaunch(struct jail_daemon *daemon);
void jail_restart(struct jail_daemon *daemon);
void jail_stop(struct jail_daemon *daemon);

/* A further connection to it, not greeted. */
int jail_connect(const struct jail_daemon *daemon);

/* One request; the reply's descriptors go to ret_fds (SD_FD_COUNT, -1 where none). */
void jail_send(int socket, const struct sd_request *request);
bool jail_receive(int socket, struct sd_reply *ret_reply, int ret_fds[SD_FD_COUNT]);
struct sd_request jail_request(struct jail_daemon *daemon, uint32_t op, const char *id);
struct sd_reply jail_ask(struct jail_daemon *daemon, const struct sd_request *request,
                         int ret_fds[SD_FD_COUNT]);

/* Limits that differ in what tests are about. */
#define JAIL_LIMITS(memory_mib, disk_mib, millis, processes)                                       \
    {                                                                                              \
        .memory_bytes = (memory_mib##ULL) << 20, .disk_bytes = (disk_mib##ULL) << 20,              \
        .disk_inodes = 4096, .io_bytes_per_sec = 1ULL << 30, .cpu_millis = (millis),               \
        .max_processes = (processes), .max_open_files = 4096, .max_ptys = 64                       \
    }

/* Small default limits; a random id. */
void jail_fill_create(struct jail_daemon *daemon, struct sd_request *ret_request);
void jail_create(struct jail_daemon *daemon, struct jail_box *ret_box);
void jail_create_with(struct jail_daemon *daemon, const struct sd_limits *limits,
                      struct jail_box *ret_box);
struct sd_reply jail_kill(struct jail_daemon *daemon, struct jail_box *box);

/* --- nest-init's wire --- */

void jail_nest_send(struct jail_box *box, struct nest_request *request, size_t size, int fd);
/* Returns the number of descriptors. */
size_t jail_nest_receive(struct jail_box *box, struct nest_reply *ret_reply, int ret_fds[3]);

/* Starts a command; ret_fds: stdout, stderr, stdin, -1 where none. The reply tells of errors. */
struct nest_reply jail_spawn_with(struct jail_box *box, const struct nest_spawn *options,
                                  const char *const argv[], int ret_fds[3]);
/* The same with input that stays open and no terminal. */
struct nest_reply jail_spawn(struct jail_box *box, uint32_t user, const char *cwd,
                             const char *const argv[], int ret_fds[3]);

struct nest_reply jail_input(struct jail_box *box, uint64_t command, uint64_t offset,
                             const void *data, size_t size, bool close);
/* Closes all of them, so that a command that reads its input comes to its end. */
void jail_end_input(struct jail_box *box, uint64_t command, int fds[3]);
struct nest_reply jail_attach(struct jail_box *box, uint64_t command, int ret_fds[3]);
/* A further connection to a sandbox, which nest-init listens to from now on; not greeted. */
void jail_adopt(struct jail_daemon *daemon, struct jail_box *box);
void jail_hello(struct jail_box *box);

/* Waits for its end, and acknowledges it. */
void jail_wait(struct jail_box *box, uint64_t command, struct jail_run *run);
void jail_ack(struct jail_box *box, uint64_t command);

/* All of it: input is empty, output is gathered. */
void jail_run(struct jail_box *box, uint32_t user, const char *cwd, const char *const argv[],
              struct jail_run *ret_run);
/* The same for a shell line of the plain user in /workspace. */
void jail_shell(struct jail_box *box, const char *line, struct jail_run *ret_run);

/* A file operation with fd handed over (or -1). ret_fd: what came back, or -1. */
struct nest_reply jail_file(struct jail_box *box, uint32_t op, const char *path, uint32_t flags,
                            int fd, int *ret_fd);
struct nest_reply jail_write(struct jail_box *box, const char *path, uint32_t flags,
                             const void *data, size_t size);
struct nest_reply jail_connect_port(struct jail_box *box, uint32_t port, int *ret_fd);
