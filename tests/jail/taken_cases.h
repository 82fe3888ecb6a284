/*
 * What a nest-init that was taken over tries with what it has, one line an attack:
 *
 *     CASE(name, what is tried, outcome)
 *
 * taken_init.c makes functions of the second column and is nest-init in the sandboxes of
 * taken_test.c, which reads the others. Outcomes as in hostile_cases.h. GROUP is the descriptor of
 * its cgroup in the v2 tree; what only a v2 host has there is missing (ENOENT) on others.
 */

/* --- the cgroup that it was given: its own limits --- */
CASE("lift the limit of memory", write_in(GROUP, "memory.max", "max"), "EACCES|ENOENT")
CASE("lift the limit of processes", write_in(GROUP, "pids.max", "max"), "EACCES|ENOENT")
CASE("lift the limit of processors", write_in(GROUP, "cpu.max", "max"), "EACCES|ENOENT")
CASE("weigh more than others", write_in(GROUP, "cpu.weight", "10000"), "EACCES|ENOENT")
CASE("lift the limit of io", write_in(GROUP, "io.max", "254:0 rbps=max"), "EACCES|ENOENT")
CASE("have memory that is never reclaimed", write_in(GROUP, "memory.min", "1G"), "EACCES|ENOENT")
CASE("swap", write_in(GROUP, "memory.swap.max", "max"), "EACCES|ENOENT")
CASE("lift the limit of groups", write_in(GROUP, "cgroup.max.descendants", "max"), "EACCES")
CASE("lift the limit of depth", write_in(GROUP, "cgroup.max.depth", "max"), "EACCES")
CASE("have more controllers", write_in(GROUP, "cgroup.subtree_control", "+pids"), "EACCES")
CASE("thaw itself", write_in(GROUP, "cgroup.freeze", "0"), "EACCES")
CASE("be of another kind", write_in(GROUP, "cgroup.type", "threaded"), "EACCES")
CASE("permit itself the limits", fchmodat(GROUP, "cgroup.max.depth", 0666, 0), "EPERM")
CASE("own the limits", fchownat(GROUP, "cgroup.max.depth", INIT_ID, INIT_ID, 0), "EPERM")
CASE("own the limits as root", as_root(fchownat(GROUP, "cgroup.max.depth", 0, 0, 0)), "EPERM")
CASE("write the limits as root", as_root(write_in(GROUP, "cgroup.max.depth", "max")), "EACCES")
CASE("remove its own group", unlinkat(GROUP, "../self", AT_REMOVEDIR), "ENOENT|EACCES")

/* --- … and what is above it --- */
CASE("find others' groups", entries_like(GROUP, "..", "sbx_"), "ENODATA")
CASE("find others' groups further up", entries_like(GROUP, "../../crownest", "sbx_"), "ENOENT")
CASE("find the root of the tree", entries_like(GROUP, "../..", "crownest"), "ENODATA")
CASE("find the host's services", entries_like(GROUP, "../..", "system.slice"), "ENODATA")
CASE("climb by its descriptor's link", entries_like(AT_FDCWD, "/proc/self/fd/5/..", "sbx_"),
     "ENODATA")
CASE("climb by working there", work_in_and_find(GROUP, "..", "sbx_"), "ENODATA")
CASE("move to the root of the tree", move_out("../../../cgroup.procs"), "EBUSY|EACCES|ENODATA")
CASE("move to the parent", move_out("../cgroup.procs"), "EBUSY|EACCES|ENODATA")
CASE("take in a process of the host", write_in(GROUP, "cgroup.procs", host_pid()),
     "ESRCH|EACCES|EBUSY")
CASE("start a process in the parent", start_out(".."), "EBUSY|EACCES|ENODATA")
CASE("start a process in the root", start_out("../../.."), "EBUSY|EACCES|ENODATA")
CASE("rename its group", renameat(GROUP, ".", GROUP, "../other"), "EBUSY|EPERM|EACCES|ENOENT")
CASE("mount the tree", mount("none", "/mnt", "cgroup2", 0, NULL), "EPERM")

CASE("find the host's root", entries_like(GROUP, "../../../../../..", "proc"), "ENODATA")
CASE("read the host's files", open_in(GROUP, "../../../../../../proc/1/cmdline"), "ENOENT")
CASE("put a file on the host", make_in(GROUP, "../../../../../../tmp/crownest-taken"),
     "ENOENT|EACCES|EPERM")

/* --- … and below it --- */
CASE("make a group, which it may", make_group("g"), "ok")
CASE("make a group below that", make_group("g/deeper"), "EAGAIN")
CASE("give it more than there is", write_in(GROUP, "g/memory.max", "max"), "ok|ENOENT")
CASE("hand controllers further down", write_in(GROUP, "g/cgroup.subtree_control", "+cpu"),
     "ENOENT|EINVAL")
CASE("make groups without end", make_groups(), "EAGAIN")

/* --- namespaces: nobody inside has use for more --- */
CASE("make a user namespace", syscall(SYS_unshare, CLONE_NEWUSER), "ENOSPC")
CASE("make a user namespace as root", as_root(syscall(SYS_unshare, CLONE_NEWUSER)), "ENOSPC")
CASE("start a process in a user namespace", clone_with(CLONE_NEWUSER), "ENOSPC")
CASE("start a process in others, too", clone_with(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWPID),
     "ENOSPC")
CASE("make a mount namespace", syscall(SYS_unshare, CLONE_NEWNS), "EPERM")
CASE("make a network namespace", syscall(SYS_unshare, CLONE_NEWNET), "EPERM")
CASE("make a cgroup namespace", syscall(SYS_unshare, CLONE_NEWCGROUP), "EPERM")
CASE("join its own user namespace again", setns_to("/proc/self/ns/user"), "ENOSYS")
CASE("have more namespaces", write_in(AT_FDCWD, "/proc/sys/user/max_user_namespaces", "9"),
     "EROFS|EACCES")

/* --- doors of the kernel: sandboxd's own filter is nest-init's --- */
CASE("mount a tmpfs", mount("none", "/mnt", "tmpfs", 0, NULL), "EPERM")
CASE("uncover /proc/sys", umount2("/proc/sys", MNT_DETACH), "EPERM")
CASE("copy a mount", syscall(SYS_open_tree, AT_FDCWD, "/", 1), "EPERM")
CASE("move to another root", syscall(SYS_pivot_root, "/tmp", "/tmp"), "EPERM")
CASE("change its root", chroot("/tmp"), "ENOSYS")
CASE("load a BPF program", syscall(SYS_bpf, 5, 0, 0), "ENOSYS")
CASE("set up io_uring", syscall(SYS_io_uring_setup, 1, 0), "ENOSYS")
CASE("count performance events", syscall(SYS_perf_event_open, 0, 0, -1, -1, 0), "ENOSYS")
CASE("handle page faults", syscall(SYS_userfaultfd, 0), "ENOSYS")
CASE("open a file by handle", syscall(SYS_open_by_handle_at, AT_FDCWD, 0, 0), "ENOSYS")
CASE("trace a process", syscall(SYS_ptrace, 16, 1, 0, 0), "ENOSYS")
CASE("write another's memory", syscall(SYS_process_vm_writev, 1, 0, 0, 0, 0, 0), "ENOSYS")
CASE("steal a descriptor", syscall(SYS_pidfd_getfd, 0, 0, 0), "ENOSYS")
CASE("look at the session keyring", syscall(SYS_keyctl, 0, -3, 0), "ENOSYS")
CASE("search keyrings", syscall(SYS_keyctl, 10, -3, "user", "x", 0), "ENOSYS")
CASE("add a key", syscall(SYS_add_key, "user", "x", "y", 1, -3), "ENOSYS")
CASE("load a module", syscall(SYS_finit_module, 0, "", 0), "ENOSYS")
CASE("restart the machine", syscall(SYS_reboot, 0xfee1dead, 672274793, 0x1234567, 0), "ENOSYS")
CASE("set the time", syscall(SYS_clock_settime, 0, 0), "ENOSYS")
CASE("read the kernel's log", syscall(SYS_syslog, 3, 0, 0), "ENOSYS")
CASE("open a netlink socket", socket(AF_NETLINK, SOCK_RAW, 0), "ENOSYS")
CASE("open a packet socket", socket(AF_PACKET, SOCK_RAW, 0), "ENOSYS")
CASE("open a kernel crypto socket", socket(38, SOCK_SEQPACKET, 0), "ENOSYS")
CASE("open a hypervisor socket", socket(40, SOCK_STREAM, 0), "ENOSYS")
CASE("open a raw socket", socket(AF_INET, SOCK_RAW, 1), "EPERM")

/* --- privileges --- */
CASE("gain all capabilities", capset_all(), "EPERM")
CASE("take no_new_privs back", prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), "EINVAL")
CASE("become an id beyond the range", setresuid(65536, 65536, 65536), "EINVAL")
CASE("join a group beyond the range", setgid(65536), "EINVAL")
CASE("raise the limit of open files", raise_limit(RLIMIT_NOFILE), "EPERM")
CASE("be scheduled in real time", schedule(SCHED_FIFO, 1), "EPERM")
CASE("be nicer than others", setpriority(PRIO_PROCESS, 0, -20), "EACCES|EPERM")
CASE("be spared by the oom killer", write_in(AT_FDCWD, "/proc/self/oom_score_adj", "-1000"),
     "EACCES")

/* --- files --- */
CASE("make a device", mknod("/tmp/device", S_IFBLK | 0600, makedev(254, 0)), "EPERM")
CASE("overwrite its own image", write_in(AT_FDCWD, "/proc/self/exe", "x"), "EACCES|ETXTBSY|EPERM")
CASE("change the filter of commands", write_in(AT_FDCWD, "/proc/self/fd/6", "x"),
     "EACCES|EPERM|ENOENT")
CASE("set the host's core handler", write_in(AT_FDCWD, "/proc/sys/kernel/core_pattern", "|/x"),
     "EACCES|EROFS")
CASE("make /proc/sys writable", mount(NULL, "/proc/sys", NULL, MS_REMOUNT | MS_BIND, NULL), "EPERM")

/* --- and whatever it leaves behind must not hold up its end; the last in a sandbox of its own ---
 */
CASE("dig itself in", dig_in("cgroup.freeze", "1"), "ok")
CASE("dig itself in with groups of threads", dig_in("cgroup.type", "threaded"), "ok|EOPNOTSUPP")
