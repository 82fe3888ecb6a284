/*
 * The server's end of a sandbox's control socket. nest-init is in a hostile place: what it says is
 * checked for size, op, serial and number of descriptors, and a reply that does not fit fails its
 * request.
 *
 * Functions that ask for something block until the answer comes or their bound has passed, and may
 * be called from any thread, the loop's excepted.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "sandboxd/init/wire.h"
#include "server/sandbox/loop.h"
#include "server/util/bytes.h"
#include "server/util/fdpass.h"

struct nest;

/* Called on the loop's thread. */
struct nest_hooks {
    /* A command has ended and nothing of it is left. */
    void (*exited)(void *arg, const struct nest_reply *reply);
    /* nest-init is gone; nothing follows. */
    void (*closed)(void *arg);
    void *arg;
};

/* Takes the socket. *ret_nest is set before the first hook is called. */
void nest_new(struct loop *loop, int fd, const struct nest_hooks *hooks, struct nest **ret_nest);
struct nest *nest_ref(struct nest *nest);
void nest_unref(struct nest *nest);
/* After the loop was stopped: nothing is heard of it any more, not even its end. */
void nest_abandon(struct nest *nest);

/* Says that exits of commands may be told, those of before too; without waiting. */
void nest_hello(struct nest *nest);

enum nest_pipe { NEST_PIPE_STDOUT, NEST_PIPE_STDERR, NEST_PIPE_STDIN, NEST_PIPE_COUNT };

struct nest_spawn_options {
    enum nest_user user;
    const char *cwd;
    uint32_t argc;
    uint32_t envc;
    struct bytes blob; /* argc and envc strings, each with its NUL */
    bool keep_input;
    uint16_t rows; /* 0: no terminal */
    uint16_t columns;
};

/*
 * ret_fds: the server's ends, which are pipes; that of input is for waiting only, and -1 when input
 * is not kept. On failure ret_step says which field is at fault.
 */
int nest_spawn(struct nest *nest, uint64_t command, const struct nest_spawn_options *options,
               int ret_fds[NEST_PIPE_COUNT], enum nest_step *ret_step);
/*
 * The pipes of a command that an earlier process has started; -ESRCH: nest-init knows of no such
 * command that was not acknowledged. The input's is -1 when it was closed.
 */
int nest_attach(struct nest *nest, uint64_t command, int ret_fds[NEST_PIPE_COUNT]);
/*
 * Writes what fits of at most NEST_INPUT_MAX bytes; ret_taken is how many bytes were taken in all,
 * also with -ERANGE (a gap). -EPIPE: nobody will read more; -ESRCH: the command has ended.
 */
int nest_input(struct nest *nest, uint64_t command, uint64_t offset, struct bytes data, bool close,
               uint64_t *ret_taken);
/* -ENOTTY: the command has no terminal. */
int nest_resize(struct nest *nest, uint64_t command, uint16_t rows, uint16_t columns);
/* token: see struct nest_request. */
int nest_signal(struct nest *nest, uint64_t command, int signo, uint64_t token);
int nest_kill(struct nest *nest, uint64_t command);
/* Sends without waiting: nest-init may forget the command. */
void nest_ack(struct nest *nest, uint64_t command);

/* flags: enum nest_file_flag. */
int nest_read(struct nest *nest, const char *path, uint32_t flags, int *ret_fd, uint64_t *ret_size);
/* A connected socket to a port of the sandbox's loopback. */
int nest_connect(struct nest *nest, uint16_t port, int *ret_fd);

/* An entry of a directory or a match; name is not NUL-terminated. False ends the walk. */
typedef bool nest_visit_fn(void *arg, const struct nest_entry *entry, struct bytes name);

int nest_list(struct nest *nest, const char *path, nest_visit_fn *visit, void *arg);
int nest_glob(struct nest *nest, const char *pattern, nest_visit_fn *visit, void *arg);
/* Visits the one file; a symlink itself. */
int nest_stat(struct nest *nest, const char *path, nest_visit_fn *visit, void *arg);

/* flags: enum nest_file_flag; token: see struct nest_request. */
int nest_make_dir(struct nest *nest, const char *path, uint32_t flags, uint64_t token);
int nest_move(struct nest *nest, const char *from, const char *to, uint32_t flags, uint64_t token);
int nest_remove(struct nest *nest, const char *path, uint32_t flags, uint64_t token);

/* A file that is being written. */
struct nest_upload;

/* How to write it. */
struct nest_upload_options {
    const char *path;
    uint32_t mode;
    uint32_t flags;  /* enum nest_file_flag */
    uint64_t name;   /* 0, or under which it is kept when it is broken off */
    uint64_t offset; /* how much was kept; -ERANGE comes when it is finished, if that is not so */
};

int nest_upload_begin(struct nest *nest, const struct nest_upload_options *options,
                      struct nest_upload **ret_upload);
/* Blocks while the sandbox does not take it, LIMIT_NEST_WAIT_MS at most. -EPIPE: nest_upload_finish
 * says why. */
int nest_upload_data(struct nest_upload *upload, struct bytes data);
/* Makes the file appear, and frees the upload. */
int nest_upload_finish(struct nest_upload *upload, uint64_t *ret_size);
/* Leaves nothing behind, or what came of one with a name, and frees the upload. */
void nest_upload_abort(struct nest_upload *upload);
