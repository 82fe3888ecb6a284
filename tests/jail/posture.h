/*
 * What a live process of a sandbox must look like from the host: the written expectation. Where the
 * jail changes on purpose, this file changes with it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* A line of /proc/<pid>/status; numbers of ids are inside ones and shifted before comparing. */
struct posture_line {
    const char *key;
    const char *value;
};

struct posture {
    const char *name;
    unsigned int id; /* uid and gid inside */
    const char *effective;
    const char *groups; /* supplementary, as inside ids */
    const char *stdio;  /* how what its three descriptors are begins */
};

#define POSTURE_BOUNDING "00000000800004fb"

static const struct posture POSTURE_USER = {"user", 1000, "0000000000000000", "1000", "pipe:"};
static const struct posture POSTURE_ROOT = {"root", 0, POSTURE_BOUNDING, "0", "pipe:"};
static const struct posture POSTURE_TERMINAL = {"terminal", 1000, "0000000000000000", "1000",
                                                "/dev/pts/"};

static const struct posture_line POSTURE_STATUS[] = {
    {"CapInh", "0000000000000000"},
    {"CapBnd", POSTURE_BOUNDING},
    {"CapAmb", "0000000000000000"},
    {"NoNewPrivs", "1"},
    {"Seccomp", "2"},
    {"Seccomp_filters", "2"}, /* sandboxd's own, and the commands' */
    {"SigBlk", "0000000000000000"},
    {"SigIgn", "0000000000000000"},
    {"SigCgt", "0000000000000000"},
};

/* Namespaces that no other process of the host shares; time is the host's. */
static const char *const POSTURE_NAMESPACES[] = {"user", "mnt", "pid",   "net",
                                                 "ipc",  "uts", "cgroup"};

/* In mount order. A needs name says: only where the host's /proc has it. */
struct posture_mount {
    const char *point;
    const char *type;
    const char *options; /* of the mount, without atime's */
    const char *needs;
};

#define POSTURE_COVERED "ro,nosuid,noexec"
#define POSTURE_EMPTY "ro,nosuid,nodev,noexec"

static const struct posture_mount POSTURE_MOUNTS[] = {
    {"/", "overlay", "rw,nosuid,nodev", NULL},
    {"/dev", "tmpfs", "ro,nosuid,noexec", NULL},
    {"/dev/pts", "devpts", "rw,nosuid,noexec", NULL},
    {"/dev/shm", "tmpfs", "rw,nosuid,nodev", NULL},
    {"/proc", "proc", "rw,nosuid,nodev,noexec", NULL},
    {"/proc/kcore", "tmpfs", POSTURE_COVERED, "/proc/kcore"},
    {"/proc/keys", "tmpfs", POSTURE_COVERED, "/proc/keys"},
    {"/proc/key-users", "tmpfs", POSTURE_COVERED, "/proc/key-users"},
    {"/proc/kmsg", "tmpfs", POSTURE_COVERED, "/proc/kmsg"},
    {"/proc/kallsyms", "tmpfs", POSTURE_COVERED, "/proc/kallsyms"},
    {"/proc/latency_stats", "tmpfs", POSTURE_COVERED, "/proc/latency_stats"},
    {"/proc/timer_list", "tmpfs", POSTURE_COVERED, "/proc/timer_list"},
    {"/proc/sched_debug", "tmpfs", POSTURE_COVERED, "/proc/sched_debug"},
    {"/proc/sysrq-trigger", "tmpfs", POSTURE_COVERED, "/proc/sysrq-trigger"},
    {"/proc/timer_stats", "tmpfs", POSTURE_COVERED, "/proc/timer_stats"},
    {"/proc/acpi", "tmpfs", POSTURE_EMPTY, "/proc/acpi"},
    {"/proc/scsi", "tmpfs", POSTURE_EMPTY, "/proc/scsi"},
    {"/proc/driver", "tmpfs", POSTURE_EMPTY, "/proc/driver"},
    {"/proc/dynamic_debug", "tmpfs", POSTURE_EMPTY, "/proc/dynamic_debug"},
    {"/proc/sys", "proc", POSTURE_EMPTY, NULL},
    {"/proc/irq", "proc", POSTURE_EMPTY, "/proc/irq"},
    {"/proc/bus", "proc", POSTURE_EMPTY, "/proc/bus"},
    {"/proc/fs", "proc", POSTURE_EMPTY, "/proc/fs"},
};

/* Lines of /proc/<pid>/limits that are the jail's, soft and hard. */
static const struct posture_line POSTURE_LIMITS[] = {
    {"Max core file size", "0 0"},          {"Max locked memory", "65536 65536"},
    {"Max msgqueue size", "819200 819200"}, {"Max nice priority", "0 0"},
    {"Max realtime priority", "0 0"},
};

/* ... and of open files, which nest-init has more of: NEST_INIT_FILES. */
#define POSTURE_OPEN_FILES 4096U

/*
 * What the probe reports; the same for the plain user and for root, but for one line. Two more
 * depend on the host's kernel: what it has is covered, what it has not is missing.
 */
static const char POSTURE_PROBE[] =
    "unshare EPERM\nunshare EPERM\nsetns EPERM\nclone(NEWUSER) ENOSYS\nclone(NEWNET) ENOSYS\n"
    "clone3 ENOSYS\nmount EPERM\numount2 EPERM\npivot_root EPERM\nchroot EPERM\nfsopen EPERM\n"
    "fsmount EPERM\nfsconfig EPERM\nopen_tree EPERM\nmove_mount EPERM\nmount_setattr EPERM\n"
    "statmount ENOSYS\nlistmount ENOSYS\nquotactl EPERM\nswapon EPERM\n"
    "bpf EPERM\nperf_event_open EPERM\nuserfaultfd EPERM\nio_uring_setup EPERM\n"
    "io_uring_enter EPERM\nkeyctl EPERM\nadd_key EPERM\nrequest_key EPERM\nkexec_load EPERM\n"
    "init_module EPERM\nfinit_module EPERM\ndelete_module EPERM\nreboot EPERM\n"
    "settimeofday EPERM\nclock_settime EPERM\nsethostname EPERM\nsyslog EPERM\nacct EPERM\n"
    "personality ENOSYS\nmemfd_secret ENOSYS\nunknown ENOSYS\n"
#ifdef __x86_64__
    "iopl ENOSYS\nioperm ENOSYS\nmodify_ldt ENOSYS\n"
#endif
    "ptrace EPERM\nptrace EPERM\nprocess_vm_readv EPERM\nprocess_vm_writev EPERM\n"
    "pidfd_getfd EPERM\nkcmp EPERM\nopen_by_handle_at EPERM\nname_to_handle_at EPERM\n"
    "mknod(null) EPERM\nmknod(disk) EPERM\nopen(/proc/1/mem) %s\nopen(/proc/kcore) %s\n"
    "open(/proc/sys/kernel/core_pattern) EACCES\nopen(/proc/sys/net/ipv4/ip_forward) EACCES\n"
    "open(/proc/sysrq-trigger) %s\nmkdir(/dev/x) EROFS\nchmod(/dev/null) EROFS\n"
    "socket(UNIX) ok\nsocket(INET) ok\nsocket(INET6) ok\nsocket(INET, RAW) EPERM\n"
    "socket(NETLINK) EAFNOSUPPORT\nsocket(PACKET) EAFNOSUPPORT\nsocket(ALG) EAFNOSUPPORT\n"
    "socket(VSOCK) EAFNOSUPPORT\nsocket(XDP) ENOSYS\nsocketpair(TIPC) ENOSYS\n"
    "ioctl(TIOCSTI) ENOSYS\nioctl(TIOCSTI, high bits) ENOSYS\nioctl(TIOCLINUX) ENOSYS\n"
    "ioctl(TIOCLINUX, high bits) ENOSYS\nioctl(TIOCGWINSZ) ok\n"
#ifdef __x86_64__
    "x32 call killed\nint 0x80 call killed\n"
#endif
    ;

/* Of the layers that the kernel lets Landlock have, how many are taken; 0 where there is none. */
#define POSTURE_LANDLOCK_LAYERS 1

/* sandboxd itself. */
static const struct posture_line POSTURE_SANDBOXD[] = {
    {"CapInh", "0000000000000000"},
    {"CapPrm", "00000000082811eb"},
    {"CapEff", "00000000082811eb"},
    {"CapBnd", "00000000082811eb"},
    {"CapAmb", "0000000000000000"},
    {"NoNewPrivs", "1"},
    {"Seccomp", "2"},
    {"Seccomp_filters", "1"},
};

/* Who carries the bytes of a terminal: nest-init's id, and no right beside it. */
static const struct posture_line POSTURE_RELAY[] = {
    {"CapInh", "0000000000000000"},
    {"CapPrm", "0000000000000000"},
    {"CapEff", "0000000000000000"},
    {"CapBnd", POSTURE_BOUNDING},
    {"CapAmb", "0000000000000000"},
    {"NoNewPrivs", "1"},
    {"Seccomp", "2"},
    {"Seccomp_filters", "1"},
};
