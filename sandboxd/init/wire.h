/*
 * What crownestd and nest-init say to each other over the sandbox's control socket (unix
 * SOCK_SEQPACKET). nest-init lives in a hostile place: crownestd checks the size, the op, the
 * serial and the number of descriptors of all it gets, and believes none of the numbers.
 *
 * nest-init listens; a new connection takes the place of the one before. Each request gets one
 * reply with its serial. NEST_SPAWN is followed by a NEST_EXITED event, which goes to whoever has
 * said NEST_HELLO, and to every later peer that does, until NEST_ACK. So a peer that comes back
 * asks for the commands it knows of by NEST_ATTACH first, and says hello then.
 *
 * A command is a process tree in a cgroup of its own. When its first process exits, whatever is
 * left of the tree is killed, and only then NEST_EXITED is sent: so its output has an end.
 */
#pragma once

#include <stdint.h>

#define NEST_WIRE_VERSION 2
#define NEST_PATH_MAX 4096                 /* bytes with the NUL */
#define NEST_MAX_COMMANDS 1024             /* alive or not yet acknowledged */
#define NEST_SPAWN_BLOB_MAX (1280U * 1024) /* argv and env, with their NULs */
#define NEST_NAME_MAX 256
#define NEST_INPUT_MAX 32768 /* bytes of input in one request */
#define NEST_TOKENS 1024
#define NEST_MAX_WORKERS 64 /* file operations under way; more get -EBUSY */

enum nest_op {
    NEST_HELLO = 1, /* reply: the jail is up */
    NEST_SPAWN,     /* starts a command; in: [blob memfd]; reply out: the pipes, see below */
    NEST_SIGNAL,    /* sends a signal to each process of a command */
    NEST_KILL,      /* kills each process of a command; NEST_EXITED follows */
    NEST_ACK,       /* forgets an exited command */
    NEST_ATTACH,    /* reply out: the pipes of a command that was not acknowledged, once more */
    NEST_INPUT,     /* writes to a command's input as much as fits now, or closes it */
    NEST_RESIZE,    /* sets the size of a command's terminal */
    NEST_READ,      /* opens a regular file for reading; reply out: [file] */
    NEST_WRITE,     /* writes a file whole from a pipe, see below; in: [pipe]; replies at its end */
    NEST_LIST,      /* writes struct nest_entry records of a directory; in: [pipe]; then replies */
    NEST_GLOB,      /* writes matching paths as struct nest_entry; in: [pipe]; then replies */
    NEST_STAT,      /* writes one struct nest_entry; in: [pipe]; then replies */
    NEST_MAKE_DIR,  /* makes a directory */
    NEST_MOVE,      /* gives a file or directory another name */
    NEST_REMOVE,    /* removes a file or directory */
    NEST_CONNECT,   /* connects to a port on the sandbox's loopback; reply out: [socket] */
    NEST_EXITED,    /* event: a command has ended and no process of it is left */
    NEST_OP_COUNT
};

enum nest_user { NEST_USER = 1, NEST_ROOT };

enum nest_file_flag {
    NEST_NO_SYMLINKS = 1,  /* NEST_READ: no component may be a symlink */
    NEST_MAKE_PARENTS = 2, /* NEST_WRITE, NEST_MAKE_DIR: makes missing directories, 0755 */
    NEST_REPLACE = 4,      /* NEST_MOVE: what has the new name goes */
    NEST_RECURSIVE = 8,    /* NEST_REMOVE: a directory goes with all that is in it */
};

/* Which step of a spawn failed: says which field of the request is at fault. */
enum nest_step {
    NEST_STEP_NONE,
    NEST_STEP_INIT, /* no room, no pipe, no cgroup: not the caller's fault */
    NEST_STEP_CWD,
    NEST_STEP_EXEC,
};

/*
 * The pipes of NEST_SPAWN and NEST_ATTACH: the read ends of output and error output, and the write
 * end of input while it is open, to wait for room in it (its bytes go through NEST_INPUT, so that
 * their count outlives the peer); input ends when both nest-init and the peer have closed it. With
 * a terminal everything comes out of the first.
 */
enum nest_spawn_flag {
    NEST_TERMINAL = 1,  /* a controlling terminal is input and both outputs */
    NEST_KEEP_INPUT = 2 /* input stays open until it is closed by NEST_INPUT; else it is empty */
};

struct nest_spawn {
    uint32_t user;  /* enum nest_user */
    uint32_t flags; /* enum nest_spawn_flag */
    uint16_t rows;  /* NEST_TERMINAL: its size in characters */
    uint16_t columns;
    uint32_t argc;       /* the blob begins with argc strings, each with its NUL … */
    uint32_t envc;       /* … then envc strings of the form NAME=value */
    uint32_t blob_bytes; /* size of the blob; the memfd is sealed against change */
    char cwd[NEST_PATH_MAX];
};

struct nest_file {
    uint32_t flags;           /* enum nest_file_flag */
    uint32_t mode;            /* NEST_WRITE: permission bits of a new file */
    uint64_t upload;          /* NEST_WRITE: 0, or the name under which a broken one is kept */
    uint64_t offset;          /* NEST_WRITE: how much of it was kept; -ERANGE if it is not so */
    char path[NEST_PATH_MAX]; /* relative paths start at /workspace */
};

struct nest_size {
    uint16_t rows;
    uint16_t columns;
};

/*
 * Input by offset: bytes that were taken before are skipped, so that a repeated write counts once.
 * A gap is -ERANGE. The reply's size_bytes says how many bytes were taken in all; when they are
 * fewer than offset + size, there was no room for the rest. -EPIPE: nobody will read more.
 */
struct nest_input {
    uint64_t offset; /* of data in the command's whole input */
    uint32_t size;   /* bytes of data, which follow this struct in the message */
    uint32_t close;  /* 1: end of input, if all of data could be taken */
};

struct nest_move {
    struct nest_file file; /* what there is */
    char to[NEST_PATH_MAX];
};

/*
 * A request is the header and the member that its op uses, not more: its size is
 * NEST_REQUEST_SIZE(member), or NEST_HEADER_SIZE where the op uses none.
 */
struct nest_request {
    uint32_t version;
    uint32_t op;
    uint64_t serial;
    uint64_t command; /* SPAWN to RESIZE: chosen by crownestd, unique in the sandbox */
    /*
     * SIGNAL, MAKE_DIR, MOVE, REMOVE: 0, or a name of this change. Asked for again under the name
     * of one of the last NEST_TOKENS that went well, it is answered so and not made again; -EBUSY
     * while it is being made. 0 in all others.
     */
    uint64_t token;
    union {
        struct nest_spawn spawn;
        struct nest_file file;
        struct nest_move move;
        struct nest_input input;
        struct nest_size terminal;
        int32_t signo;
        uint32_t port;
    };
};

#define NEST_HEADER_SIZE offsetof(struct nest_request, spawn)
#define NEST_REQUEST_SIZE(member) (NEST_HEADER_SIZE + sizeof(((struct nest_request *)0)->member))
/* NEST_INPUT alone is longer, by its data. */
#define NEST_INPUT_SIZE(bytes) (NEST_REQUEST_SIZE(input) + (bytes))

/* A reply, or a NEST_EXITED event (serial 0). */
struct nest_reply {
    uint32_t version;
    uint32_t op;
    uint64_t serial;
    uint64_t command;
    int32_t error;              /* 0, or a negative errno */
    uint32_t step;              /* enum nest_step */
    int32_t wait_status;        /* EXITED: as from waitpid */
    uint32_t oom_kills;         /* EXITED: of its processes, for want of memory; v2 hosts only */
    uint64_t cpu_usec;          /* EXITED: of the whole tree */
    uint64_t memory_peak_bytes; /* EXITED: of the whole tree at one time; 0 but on v2 hosts */
    uint64_t max_rss_bytes;     /* EXITED: of its largest process */
    uint64_t size_bytes; /* READ: of the file; WRITE: bytes written; LIST, GLOB: entries written;
                            INPUT, ATTACH: bytes of input taken */
};

/*
 * What the pipe of NEST_WRITE carries: chunks, each a uint32_t length and that many bytes. A length
 * of 0 makes the file appear; a pipe that ends without it leaves nothing behind, or, of an upload
 * with a name, what came: in NEST_UPLOAD_NAME beside the file to be.
 */
#define NEST_UPLOAD_NAME ".crownest-%016llx" /* of the upload's name, an unsigned long long */
#define NEST_CHUNK_MAX (1U << 20)

/* One record on the pipe of NEST_LIST and NEST_GLOB, followed by name_bytes bytes. */
struct nest_entry {
    uint32_t type; /* S_IFMT bits of st_mode */
    uint32_t mode; /* permission bits */
    uint64_t size_bytes;
    int64_t mtime_sec;
    uint32_t mtime_nsec;
    uint32_t name_bytes; /* LIST: the name; GLOB: the absolute path. At most NEST_PATH_MAX */
};
