/*
 * What code in a sandbox tries against the kernel, one line an attack:
 *
 *     CASE(name, what is tried, outcome for the plain user, outcome for root inside)
 *
 * hostile_probe.c makes functions of the second column and runs them inside; hostile_test.c reads
 * the others. An outcome is an errno's name, "ok" where the call succeeds and must do no harm, or
 * "killed"; alternatives, where kernels differ, are parted by "|".
 */

/* --- escape: namespaces --- */
CASE("unshare a user namespace", syscall(SYS_unshare, CLONE_NEWUSER), "EPERM", "EPERM")
CASE("unshare a mount namespace", syscall(SYS_unshare, CLONE_NEWNS), "EPERM", "EPERM")
CASE("unshare a network namespace", syscall(SYS_unshare, CLONE_NEWNET), "EPERM", "EPERM")
CASE("unshare a pid namespace", syscall(SYS_unshare, CLONE_NEWPID), "EPERM", "EPERM")
CASE("unshare a cgroup namespace", syscall(SYS_unshare, CLONE_NEWCGROUP), "EPERM", "EPERM")
CASE("unshare a time namespace", syscall(SYS_unshare, CLONE_NEWTIME), "EPERM", "EPERM")
CASE("clone into a user namespace", clone_with(CLONE_NEWUSER), "ENOSYS", "ENOSYS")
CASE("clone into a mount namespace", clone_with(CLONE_NEWNS), "ENOSYS", "ENOSYS")
CASE("clone into a network namespace", clone_with(CLONE_NEWNET), "ENOSYS", "ENOSYS")
CASE("clone into a pid namespace", clone_with(CLONE_NEWPID), "ENOSYS", "ENOSYS")
CASE("clone into an ipc namespace", clone_with(CLONE_NEWIPC), "ENOSYS", "ENOSYS")
CASE("clone into a uts namespace", clone_with(CLONE_NEWUTS), "ENOSYS", "ENOSYS")
CASE("clone into a cgroup namespace", clone_with(CLONE_NEWCGROUP), "ENOSYS", "ENOSYS")
CASE("clone into a user namespace, high bits set", clone_with(CLONE_NEWUSER | 1UL << 40), "ENOSYS",
     "ENOSYS")
CASE("clone3 into a user namespace", clone3_with(CLONE_NEWUSER), "ENOSYS", "ENOSYS")
CASE("clone3 into init's cgroup", clone3_with(1ULL << 33), "ENOSYS", "ENOSYS")
CASE("join init's mount namespace", setns_to("/proc/1/ns/mnt"), "ENOENT", "EACCES")
CASE("join one's own user namespace again", setns_to("/proc/self/ns/user"), "EPERM", "EPERM")
CASE("join by init's pidfd", syscall(SYS_setns, pidfd_of(1), CLONE_NEWNS), "EPERM", "EPERM")
CASE("ask for the parent user namespace", parent_namespace("/proc/self/ns/user"), "EPERM", "EPERM")
CASE("ask for the parent pid namespace", parent_namespace("/proc/self/ns/pid"), "EPERM", "EPERM")
CASE("write one's own uid_map", write_to("/proc/self/uid_map", "0 0 1"), "EPERM|EACCES",
     "EPERM|EACCES")
CASE("write init's gid_map", write_to("/proc/1/gid_map", "0 0 1"), "ENOENT", "EACCES|EPERM")
CASE("allow setgroups again", write_to("/proc/self/setgroups", "deny"), "EACCES|EPERM",
     "EACCES|EPERM")

/* --- escape: mounts and roots --- */
CASE("mount a tmpfs over /etc", mount("none", "/etc", "tmpfs", 0, NULL), "EPERM", "EPERM")
CASE("mount a second procfs", mount("proc", "/mnt", "proc", 0, NULL), "EPERM", "EPERM")
CASE("mount sysfs", mount("sysfs", "/sys", "sysfs", 0, NULL), "EPERM", "EPERM")
CASE("mount cgroup2", mount("none", "/mnt", "cgroup2", 0, NULL), "EPERM", "EPERM")
CASE("mount an overlay", mount("none", "/mnt", "overlay", 0, "lowerdir=/"), "EPERM", "EPERM")
CASE("mount debugfs", mount("none", "/mnt", "debugfs", 0, NULL), "EPERM", "EPERM")
CASE("bind /proc/1/root", mount("/proc/1/root", "/mnt", NULL, MS_BIND, NULL), "EPERM", "EPERM")
CASE("make /proc/sys writable", mount(NULL, "/proc/sys", NULL, MS_REMOUNT | MS_BIND, NULL), "EPERM",
     "EPERM")
CASE("make / shared", mount(NULL, "/", NULL, MS_SHARED | MS_REC, NULL), "EPERM", "EPERM")
CASE("uncover /proc/kallsyms", umount2("/proc/kallsyms", MNT_DETACH), "EPERM", "EPERM")
CASE("uncover /proc/sys", umount2("/proc/sys", 0), "EPERM", "EPERM")
CASE("detach the root", umount2("/", MNT_DETACH), "EPERM", "EPERM")
CASE("pivot to another root", syscall(SYS_pivot_root, "/tmp", "/tmp"), "EPERM", "EPERM")
CASE("chroot and climb out", chroot_escape(), "EPERM", "EPERM")
CASE("fsopen proc", syscall(SYS_fsopen, "proc", 0), "EPERM", "EPERM")
CASE("fspick the root", syscall(SYS_fspick, AT_FDCWD, "/", 0), "EPERM", "EPERM")
CASE("clone a mount tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1), "EPERM", "EPERM")
CASE("clone a mount tree with attributes", syscall(467, AT_FDCWD, "/", 1, 0, 0), "ENOSYS", "ENOSYS")
CASE("move a mount", syscall(SYS_move_mount, AT_FDCWD, "/proc", AT_FDCWD, "/mnt", 0), "EPERM",
     "EPERM")
CASE("clear nosuid from the root", clear_nosuid(), "EPERM", "EPERM")
CASE("list mounts by statmount", syscall(457, 0, 0, 0, 0), "ENOSYS", "ENOSYS")
CASE("list mounts by listmount", syscall(458, 0, 0, 0, 0), "ENOSYS", "ENOSYS")
CASE("open a file by handle", open_by_handle(), "EPERM", "EPERM")
CASE("make a file handle", syscall(SYS_name_to_handle_at, AT_FDCWD, "/", 0, 0, 0), "EPERM", "EPERM")

/* --- escape: other processes --- */
CASE("trace init", ptrace(PTRACE_ATTACH, 1, 0, 0), "EPERM", "EPERM")
CASE("seize init", ptrace(PTRACE_SEIZE, 1, 0, 0), "EPERM", "EPERM")
CASE("be traced", ptrace(PTRACE_TRACEME, 0, 0, 0), "EPERM", "EPERM")
CASE("read init's memory by process_vm_readv", vm_of_init(SYS_process_vm_readv), "EPERM", "EPERM")
CASE("write init's memory by process_vm_writev", vm_of_init(SYS_process_vm_writev), "EPERM",
     "EPERM")
CASE("open init's memory", open("/proc/1/mem", O_RDWR), "ENOENT", "EACCES")
CASE("open init's binary", open("/proc/1/exe", O_RDONLY), "ENOENT", "EACCES")
CASE("overwrite init's binary", open("/proc/1/exe", O_WRONLY), "ENOENT", "EACCES")
CASE("execute init's binary", run_program("/proc/1/exe"), "ENOENT", "EACCES")
CASE("walk through init's root", open("/proc/1/root/etc/shadow", O_RDONLY), "ENOENT", "EACCES")
CASE("walk through init's working directory", open("/proc/1/cwd/etc", O_RDONLY), "ENOENT", "EACCES")
/* Their numbers may be seen, what they are may not. */
CASE("list init's descriptors", read_directory("/proc/1/fd"), "ENOENT", "ok|EACCES")
CASE("see what init's descriptors are",
     readlink("/proc/1/fd/3", attack_buffer, sizeof(attack_buffer)), "ENOENT", "EACCES")
CASE("see the details of init's descriptors", read_some("/proc/1/fdinfo/3"), "ENOENT", "EACCES")
CASE("open init's control socket", open("/proc/1/fd/3", O_RDWR), "ENOENT", "EACCES")
CASE("open init's cgroup directory", open("/proc/1/fd/4", O_RDONLY), "ENOENT", "EACCES")
CASE("read init's environment", read_some("/proc/1/environ"), "ENOENT", "EACCES")
CASE("read init's address map", read_some("/proc/1/maps"), "ENOENT", "EACCES")
CASE("read init's kernel stack", read_some("/proc/1/stack"), "ENOENT", "EACCES")
CASE("steal init's descriptor", syscall(SYS_pidfd_getfd, pidfd_of(1), 3, 0), "EPERM", "EPERM")
CASE("compare with init's descriptors", syscall(SYS_kcmp, getpid(), 1, 0, 0, 0), "EPERM", "EPERM")
CASE("move init's pages", syscall(SYS_migrate_pages, 1, 0, 0, 0), "EPERM", "EPERM")
CASE("reap init's memory", syscall(448, pidfd_of(1), 0), "ENOSYS", "ENOSYS")
CASE("become init's id and open its memory", as_init_open("/proc/1/mem"), "EPERM", "EACCES|ENOENT")
CASE("become init's id and open its socket", as_init_open("/proc/1/fd/3"), "EPERM", "EACCES|ENOENT")
CASE("kill init", kill(1, SIGKILL), "EPERM", "ok")
CASE("stop init", kill(1, SIGSTOP), "EPERM", "ok")
CASE("crash init", kill(1, SIGSEGV), "EPERM", "ok")
CASE("kill init by thread", syscall(SYS_tgkill, 1, 1, SIGKILL), "EPERM", "ok")
CASE("kill init by pidfd", syscall(SYS_pidfd_send_signal, pidfd_of(1), SIGKILL, 0, 0), "EPERM",
     "ok")
CASE("forge a SIGCHLD to init", forge_signal(1, SIGCHLD), "EPERM", "EPERM|ok")
CASE("be the host's pid 1 in credentials", forge_credentials(1, getuid()), "EPERM", "EPERM")
CASE("be another user in credentials", forge_credentials(getpid(), 4242), "EPERM", "ok")
/* Root's harm to its own sandbox, which then ends for want of memory. */
CASE("let the kernel kill init first", write_to("/proc/1/oom_score_adj", "1000"), "ENOENT", "ok")
CASE("be spared by the oom killer", write_to("/proc/self/oom_score_adj", "-1000"), "EACCES",
     "EACCES")

/* --- escape: privileges --- */
CASE("gain CAP_SYS_ADMIN", capset_all(), "EPERM", "EPERM")
CASE("raise an ambient capability", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 21, 0, 0), "EPERM",
     "EPERM")
CASE("take no_new_privs back", prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), "EINVAL", "EINVAL")
CASE("set secure bits", prctl(PR_SET_SECUREBITS, 1, 0, 0, 0), "EPERM", "EPERM")
CASE("move one's own code", prctl(PR_SET_MM, PR_SET_MM_EXE_FILE, 0, 0, 0), "EPERM", "EPERM")
CASE("drop the filter", prctl(PR_SET_SECCOMP, 0, 0, 0, 0), "EINVAL", "EINVAL")
CASE("allow mount by a filter of one's own", filter_then_mount(), "EPERM", "EPERM")
CASE("run a memfd that mounts", memfd_then_mount(), "EPERM", "EPERM")
CASE("become root", setuid(0), "EPERM", "ok")
CASE("become an id beyond the range", setresuid(65536, 65536, 65536), "EINVAL", "EINVAL")
CASE("join a group beyond the range", setgid(100000), "EINVAL", "EINVAL")
CASE("own a file by an id beyond the range", chown_to(70000), "EINVAL", "EINVAL")
CASE("give a file to root", chown_to(0), "EPERM", "ok")
CASE("make a set-user-id root file", set_id_file(), "EPERM", "ok")
CASE("give a file capabilities of the host's root", host_file_caps(), "EPERM|EINVAL",
     "EPERM|EINVAL")
CASE("set a trusted attribute", set_attribute("trusted.overlay.opaque"), "EPERM", "EPERM")
CASE("set a security attribute", set_attribute("security.ima"), "EPERM", "EPERM")
CASE("make a file immutable", set_flags(0x10), "EPERM|ENOTTY|EOPNOTSUPP", "EPERM|ENOTTY|EOPNOTSUPP")
CASE("raise the limit of open files", raise_limit(RLIMIT_NOFILE), "EPERM", "EPERM")
CASE("raise the limit of core dumps", raise_limit(RLIMIT_CORE), "EPERM", "EPERM")
CASE("raise the limit of locked memory", raise_limit(RLIMIT_MEMLOCK), "EPERM", "EPERM")
CASE("raise the limit of message queues", raise_limit(RLIMIT_MSGQUEUE), "EPERM", "EPERM")
CASE("lock more memory than allowed", lock_memory(), "ENOMEM|EPERM", "ENOMEM|EPERM")
CASE("be scheduled in real time", schedule(SCHED_FIFO, 1), "EPERM", "EPERM")
CASE("be nicer than others", setpriority(PRIO_PROCESS, 0, -20), "EACCES|EPERM", "EACCES|EPERM")
CASE("read disks in real time", syscall(SYS_ioprio_set, 1, 0, 1 << 13), "EPERM", "EPERM")
CASE("wake the machine from sleep", alarm_timer(), "EPERM|EOPNOTSUPP", "EPERM|EOPNOTSUPP")

/* --- escape: doors of the kernel --- */
CASE("load a BPF program", syscall(SYS_bpf, 5, 0, 0), "EPERM", "EPERM")
CASE("make a BPF map", syscall(SYS_bpf, 0, 0, 0), "EPERM", "EPERM")
CASE("count performance events", syscall(SYS_perf_event_open, 0, 0, -1, -1, 0), "EPERM", "EPERM")
CASE("handle page faults", syscall(SYS_userfaultfd, 0), "EPERM", "EPERM")
CASE("set up io_uring", syscall(SYS_io_uring_setup, 1, 0), "EPERM", "EPERM")
CASE("enter io_uring", syscall(SYS_io_uring_enter, 0, 0, 0, 0, 0, 0), "EPERM", "EPERM")
CASE("register with io_uring", syscall(SYS_io_uring_register, 0, 0, 0, 0), "EPERM", "EPERM")
CASE("look at the session keyring", syscall(SYS_keyctl, 0, -3, 0), "EPERM", "EPERM")
CASE("join another's keyring", syscall(SYS_keyctl, 1, "_ses"), "EPERM", "EPERM")
CASE("add a key", syscall(SYS_add_key, "user", "x", "y", 1, -3), "EPERM", "EPERM")
CASE("request a key", syscall(SYS_request_key, "user", "x", 0, 0), "EPERM", "EPERM")
CASE("load a kernel", syscall(SYS_kexec_load, 0, 0, 0, 0), "EPERM", "EPERM")
CASE("load a kernel from a file", syscall(320, 0, 0, 0, 0, 0), "EPERM", "EPERM")
CASE("load a module", syscall(SYS_finit_module, 0, "", 0), "EPERM", "EPERM")
CASE("load a module from memory", syscall(SYS_init_module, 0, 0, ""), "EPERM", "EPERM")
CASE("unload a module", syscall(SYS_delete_module, "overlay", 0), "EPERM", "EPERM")
CASE("restart the machine", syscall(SYS_reboot, 0xfee1dead, 672274793, 0x1234567, 0), "EPERM",
     "EPERM")
CASE("restart on Ctrl-Alt-Del", syscall(SYS_reboot, 0xfee1dead, 672274793, 0x89abcdef, 0), "EPERM",
     "EPERM")
CASE("swap to a file", syscall(SYS_swapon, "/tmp/x", 0), "EPERM", "EPERM")
CASE("stop swapping", syscall(SYS_swapoff, "/dev/vda"), "EPERM", "EPERM")
CASE("account processes", syscall(SYS_acct, "/tmp/x"), "EPERM", "EPERM")
CASE("set quotas", syscall(SYS_quotactl, 0, 0, 0, 0), "EPERM", "EPERM")
CASE("set quotas by descriptor", syscall(443, 0, 0, 0, 0), "ENOSYS", "ENOSYS")
CASE("set the time", clock_settime(CLOCK_REALTIME, &(struct timespec){0}), "EPERM", "EPERM")
CASE("adjust the time", syscall(SYS_adjtimex, 0), "ENOSYS", "ENOSYS")
CASE("adjust a clock", syscall(SYS_clock_adjtime, 0, 0), "ENOSYS", "ENOSYS")
CASE("name the host", sethostname("owned", 5), "EPERM", "EPERM")
CASE("name the domain", setdomainname("owned", 5), "EPERM", "EPERM")
CASE("read the kernel's log", syscall(SYS_syslog, 3, attack_buffer, sizeof(attack_buffer)), "EPERM",
     "EPERM")
CASE("clear the kernel's log", syscall(SYS_syslog, 5, 0, 0), "EPERM", "EPERM")
CASE("hang up a terminal", syscall(SYS_vhangup), "EPERM", "EPERM")
CASE("watch all files", syscall(SYS_fanotify_init, 0, 0), "ENOSYS", "ENOSYS")
CASE("hide memory from the kernel", syscall(447, 0), "ENOSYS", "ENOSYS")
CASE("set security attributes of oneself", syscall(460, 0, 0, 0, 0), "ENOSYS", "ENOSYS")
CASE("be another personality", syscall(SYS_personality, 0x0400000), "ENOSYS", "ENOSYS")
CASE("call what no kernel knows", syscall(999), "ENOSYS", "ENOSYS")
CASE("call number -1", syscall(-1), "ENOSYS", "ENOSYS")
#ifdef __x86_64__
CASE("touch the ports", syscall(SYS_iopl, 3), "ENOSYS", "ENOSYS")
CASE("touch one port", syscall(SYS_ioperm, 0x80, 1, 1), "ENOSYS", "ENOSYS")
CASE("change the descriptor table", syscall(SYS_modify_ldt, 0, 0, 0), "ENOSYS", "ENOSYS")
CASE("call as x32", syscall(0x40000000 | 39), "killed", "killed")
CASE("call as i386", call_i386(), "killed", "killed")
#endif

/* --- escape: devices and terminals --- */
CASE("make the null device", make_device(S_IFCHR, 1, 3), "EPERM", "EPERM")
CASE("make the memory device", make_device(S_IFCHR, 1, 1), "EPERM", "EPERM")
CASE("make a disk", make_device(S_IFBLK, 254, 0), "EPERM", "EPERM")
CASE("make overlay's whiteout", make_device(S_IFCHR, 0, 0), "EPERM|ok", "EPERM|ok")
CASE("open the memory device", open("/dev/mem", O_RDWR), "ENOENT", "ENOENT")
CASE("open the first disk", open("/dev/vda", O_RDONLY), "ENOENT", "ENOENT")
CASE("open /dev/kvm", open("/dev/kvm", O_RDWR), "ENOENT", "ENOENT")
CASE("open /dev/fuse", open("/dev/fuse", O_RDWR), "ENOENT", "ENOENT")
CASE("open /dev/net/tun", open("/dev/net/tun", O_RDWR), "ENOENT", "ENOENT")
CASE("open /dev/loop-control", open("/dev/loop-control", O_RDWR), "ENOENT", "ENOENT")
CASE("open /dev/userfaultfd", open("/dev/userfaultfd", O_RDWR), "ENOENT", "ENOENT")
CASE("open /dev/vsock", open("/dev/vsock", O_RDWR), "ENOENT", "ENOENT")
CASE("open /dev/console", open("/dev/console", O_RDWR), "ENOENT", "ENOENT")
CASE("replace /dev/null", rename("/dev/null", "/dev/zero"), "EROFS|EBUSY|EXDEV",
     "EROFS|EBUSY|EXDEV")
CASE("remove /dev/urandom", unlink("/dev/urandom"), "EROFS|EBUSY", "EROFS|EBUSY")
CASE("put a file into /dev", open("/dev/x", O_CREAT | O_WRONLY, 0600), "EROFS|EACCES",
     "EROFS|EACCES")
CASE("reseed the random device", ioctl_on("/dev/urandom", 0x5207), "EPERM", "EPERM")
CASE("claim entropy", ioctl_on("/dev/urandom", 0x5204), "EPERM", "EPERM")
CASE("type into a terminal", terminal_ioctl(TIOCSTI), "ENOSYS", "ENOSYS")
CASE("type into a terminal, high bits set", terminal_ioctl(1UL << 32 | TIOCSTI), "ENOSYS", "ENOSYS")
CASE("paste into a console", terminal_ioctl(TIOCLINUX), "ENOSYS", "ENOSYS")
CASE("paste into a console, high bits set", terminal_ioctl(0xffUL << 32 | TIOCLINUX), "ENOSYS",
     "ENOSYS")
CASE("take over the host's console", peer_ioctl(TIOCCONS), "EPERM", "EPERM")
CASE("switch the virtual terminal", terminal_ioctl(0x5606), "ENOTTY|EINVAL", "ENOTTY|EINVAL")
CASE("freeze the file system", ioctl_on("/", 0xc0045877), "EPERM|EOPNOTSUPP", "EPERM|EOPNOTSUPP")
CASE("shut the file system down", ioctl_on("/", 0x8004587d), "EPERM|ENOTTY|EOPNOTSUPP",
     "EPERM|ENOTTY|EOPNOTSUPP")

CASE("have the kernel load a modem's driver", peer_ioctl(TIOCSETD), "ENOSYS", "ENOSYS")
CASE("have the kernel load a modem's driver, high bits set", peer_ioctl(1UL << 33 | TIOCSETD),
     "ENOSYS", "ENOSYS")

/* --- escape: its own pipes and pages --- */
CASE("write into its own input", write_again("/proc/self/fd/0"), "ok|EPIPE", "ok|EPIPE")
CASE("read its own output", read_again("/proc/self/fd/2"), "ok", "ok")
CASE("make the output a pipe of a byte", fcntl(2, F_SETPIPE_SZ, 1), "ok|EBUSY", "ok|EBUSY")
CASE("make the output a pipe of 1 MiB", fcntl(2, F_SETPIPE_SZ, 1 << 20), "ok|EPERM", "ok|EPERM")
CASE("make the output a pipe of 1 GiB", fcntl(2, F_SETPIPE_SZ, 1 << 30), "EPERM", "EPERM")
CASE("have init killed when output comes", signal_init_by_output(), "ok|EPERM", "ok|EPERM")
CASE("write output in packets", packet_output(), "ok|EINVAL", "ok|EINVAL")
CASE("hold a lease of the output", fcntl(2, F_SETLEASE, F_WRLCK), "EINVAL", "EINVAL")
CASE("be notified of the output", fcntl(2, F_NOTIFY, 1), "ENOTDIR", "ENOTDIR")
CASE("lock the output", flock(2, LOCK_EX | LOCK_NB), "ok|EINVAL|EBADF", "ok|EINVAL|EBADF")
CASE("change pages that are in the output", gift_page(), "ok", "ok")
CASE("overwrite the template through its own memory", write_own_memory(MAP_PRIVATE), "ok|EIO",
     "ok|EIO")
CASE("overwrite the template through shared memory", write_own_memory(MAP_SHARED), "EIO", "EIO")
CASE("overwrite the template through a pipe", write_spliced_page(), "ok", "ok")
CASE("dump core", dump_core(), "ENODATA", "ENODATA")
CASE("share a core with nobody", prctl(PR_SCHED_CORE, 1, 0, 0, 0), "ENOSYS", "ENOSYS")
CASE("share a core with nobody, high bits set", syscall(SYS_prctl, 1UL << 32 | 62, 1, 0, 0, 0),
     "ENOSYS", "ENOSYS")
CASE("be a child of init", clone_with(CLONE_PARENT), "ok", "ok")

/* --- escape: the ways by which the server comes in --- */
CASE("reach its control socket by path", connect_path(attack_targets.control), "ENOENT", "ENOENT")
CASE("reach its control socket through init", connect_path("/proc/1/fd/4"), "ENOENT", "EACCES")
CASE("reach it by an abstract name", connect_abstract(attack_targets.control), "ECONNREFUSED",
     "ECONNREFUSED")
CASE("find it among the sockets", find_in("/proc/net/unix", "control"), "ENODATA", "ENODATA")
CASE("find sandboxd's among the sockets", find_in("/proc/net/unix", "crownest"), "ENODATA",
     "ENODATA")
CASE("find the host's name of its groups", find_in("/proc/self/cgroup", "crownest"), "ENODATA",
     "ENODATA")
CASE("find the host's name of init's groups", find_in("/proc/1/cgroup", "crownest"), "ENOENT",
     "ENODATA")
CASE("find where the host keeps it", find_in("/proc/self/mountinfo", "crownest"), "ENODATA",
     "ENODATA")
CASE("find the host's name of its disk", find_in("/proc/self/mountinfo", "/dev/loop"), "ENODATA",
     "ENODATA")
CASE("reach what waits to be the next command", open_of_helpers("fd/3", O_RDWR), "ENOENT", "EACCES")
CASE("write the memory of what waits", open_of_helpers("mem", O_RDWR), "ENOENT", "EACCES")

/* --- leak: what /proc and /sys give away or take --- */
CASE("set the host's core handler", write_to("/proc/sys/kernel/core_pattern", "|/x"),
     "EACCES|EROFS", "EACCES|EROFS")
CASE("set the host's module loader", write_to("/proc/sys/kernel/modprobe", "/x"),
     "EACCES|EROFS|ENOENT", "EACCES|EROFS|ENOENT")
CASE("register a binary format", write_to("/proc/sys/fs/binfmt_misc/register", ":x:"),
     "ENOENT|EACCES|EROFS", "ENOENT|EACCES|EROFS")
CASE("drop the host's caches", write_to("/proc/sys/vm/drop_caches", "1"), "EACCES|EROFS",
     "EACCES|EROFS")
CASE("forward packets", write_to("/proc/sys/net/ipv4/ip_forward", "1"), "EACCES|EROFS",
     "EACCES|EROFS")
CASE("allow low ports", write_to("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"),
     "EACCES|EROFS", "EACCES|EROFS")
CASE("raise System V limits", write_to("/proc/sys/kernel/shmmax", "1"), "EACCES|EROFS",
     "EACCES|EROFS")
CASE("choose the next pid", write_to("/proc/sys/kernel/ns_last_pid", "1"), "EACCES|EROFS|ENOENT",
     "EACCES|EROFS|ENOENT")
CASE("press magic keys", write_to("/proc/sysrq-trigger", "h"), "ENOENT|EACCES|ok",
     "ENOENT|EACCES|ok")
CASE("steer interrupts", write_to("/proc/irq/default_smp_affinity", "1"), "ENOENT|EACCES|EROFS",
     "ENOENT|EACCES|EROFS")
CASE("change memory ranges", write_to("/proc/mtrr", "x"), "ENOENT|EACCES", "ENOENT|EACCES")
CASE("read physical memory", read_some("/proc/kcore"), "ENOENT|ENODATA", "ENOENT|ENODATA")
CASE("read kernel symbols", read_some("/proc/kallsyms"), "ENOENT|ENODATA", "ENOENT|ENODATA")
CASE("read the kernel's messages", read_some("/proc/kmsg"), "ENOENT|ENODATA", "ENOENT|ENODATA")
CASE("read the keys of all", read_some("/proc/keys"), "ENOENT|ENODATA", "ENOENT|ENODATA")
CASE("read timers of all", read_some("/proc/timer_list"), "ENOENT|ENODATA", "ENOENT|ENODATA")
CASE("read the scheduler's state", read_some("/proc/sched_debug"), "ENOENT|ENODATA",
     "ENOENT|ENODATA")
CASE("read slab sizes", read_some("/proc/slabinfo"), "ENOENT|EACCES", "ENOENT|EACCES")
CASE("read page flags", read_some("/proc/kpageflags"), "ENOENT|EACCES", "ENOENT|EACCES")
CASE("read physical addresses of one's pages", read_frame(), "ENODATA|ENOENT|EPERM",
     "ENODATA|ENOENT|EPERM")
CASE("find anything in /sys", read_directory("/sys"), "ENODATA", "ENODATA")
CASE("find a cgroup tree", open("/sys/fs/cgroup", O_RDONLY), "ENOENT", "ENOENT")
CASE("find SCSI devices", read_directory("/proc/scsi"), "ENOENT|ENODATA", "ENOENT|ENODATA")
CASE("find a host process by number", read_some(host_pid_path()), "ENOENT", "ENOENT")
CASE("find the host's shared memory by key", shmget(0x43724e73, 0, 0), "ENOENT", "ENOENT")
CASE("find the host's message queue", open_queue(), "ENOENT", "ENOENT")
CASE("find the host's POSIX shared memory", open("/dev/shm/crownest-canary", O_RDONLY), "ENOENT",
     "ENOENT")
CASE("find the host's temporary files", open("/tmp/crownest-canary", O_RDONLY), "ENOENT", "ENOENT")
CASE("find the stage below the root", open("/../lower", O_RDONLY), "ENOENT", "ENOENT")
CASE("read beyond a symlink to the host's root", readlink_climb(), "ENOENT", "ENOENT")

/* --- network --- */
CASE("open a raw IPv4 socket", socket(AF_INET, SOCK_RAW, 1), "EPERM", "EPERM")
CASE("open a raw IPv6 socket", socket(AF_INET6, SOCK_RAW, 58), "EPERM", "EPERM")
CASE("open a packet socket", socket(AF_PACKET, SOCK_RAW, 0), "EAFNOSUPPORT", "EAFNOSUPPORT")
CASE("open a netlink route socket", socket(AF_NETLINK, SOCK_RAW, 0), "EAFNOSUPPORT", "EAFNOSUPPORT")
CASE("open a netlink audit socket", socket(AF_NETLINK, SOCK_RAW, 9), "EAFNOSUPPORT", "EAFNOSUPPORT")
CASE("open a netlink netfilter socket", socket(AF_NETLINK, SOCK_RAW, 12), "EAFNOSUPPORT",
     "EAFNOSUPPORT")
CASE("open a kernel crypto socket", socket(38, SOCK_SEQPACKET, 0), "EAFNOSUPPORT", "EAFNOSUPPORT")
CASE("open a kernel crypto socket, high bits set",
     syscall(SYS_socket, 1UL << 32 | 38, SOCK_SEQPACKET, 0), "EAFNOSUPPORT|ENOSYS",
     "EAFNOSUPPORT|ENOSYS")
CASE("open a hypervisor socket", socket(40, SOCK_STREAM, 0), "EAFNOSUPPORT", "EAFNOSUPPORT")
CASE("open a bluetooth socket", socket(31, SOCK_RAW, 0), "EAFNOSUPPORT", "EAFNOSUPPORT")
CASE("open an express data path socket", socket(44, SOCK_RAW, 0), "ENOSYS", "ENOSYS")
CASE("open a CAN socket", socket(29, SOCK_RAW, 0), "ENOSYS", "ENOSYS")
CASE("open a TIPC socket", socket(30, SOCK_STREAM, 0), "ENOSYS", "ENOSYS")
CASE("open an RDS socket", socket(21, SOCK_SEQPACKET, 0), "ENOSYS", "ENOSYS")
CASE("open a KCM socket", socket(41, SOCK_DGRAM, 0), "ENOSYS", "ENOSYS")
CASE("open a PPP socket", socket(24, SOCK_STREAM, 0), "ENOSYS", "ENOSYS")
CASE("open an AppleTalk socket", socket(5, SOCK_DGRAM, 0), "ENOSYS", "ENOSYS")
CASE("open an SMC socket", socket(43, SOCK_STREAM, 0), "ENOSYS", "ENOSYS")
CASE("open a pair of TIPC sockets", socketpair(30, SOCK_STREAM, 0, (int[2]){0}), "ENOSYS", "ENOSYS")
CASE("take lo down", interface_down(), "EPERM", "EPERM")
CASE("add a route", route_add(), "EPERM", "EPERM")
CASE("replace the packet filter", setsockopt_on(SOL_IP, 64), "EPERM|ENOPROTOOPT",
     "EPERM|ENOPROTOOPT")
CASE("mark packets", setsockopt_on(SOL_SOCKET, SO_MARK), "EPERM", "EPERM")
CASE("force a large receive buffer", setsockopt_on(SOL_SOCKET, SO_RCVBUFFORCE), "EPERM", "EPERM")
CASE("reach the host's loopback", connect_to("127.0.0.1", attack_targets.port), "ECONNREFUSED",
     "ECONNREFUSED")
CASE("reach the host's loopback over IPv6", connect_to6("::1", attack_targets.port),
     "ECONNREFUSED|EADDRNOTAVAIL", "ECONNREFUSED|EADDRNOTAVAIL")
CASE("reach the host by 0.0.0.0", connect_to("0.0.0.0", attack_targets.port), "ECONNREFUSED",
     "ECONNREFUSED")
CASE("reach the cloud's metadata", connect_to("169.254.169.254", 80), "ENETUNREACH", "ENETUNREACH")
CASE("reach a private network", connect_to("10.0.0.1", 22), "ENETUNREACH", "ENETUNREACH")
CASE("reach the internet", connect_to("1.1.1.1", 443), "ENETUNREACH", "ENETUNREACH")
CASE("reach the internet over IPv6", connect_to6("2606:4700:4700::1111", 443),
     "ENETUNREACH|EADDRNOTAVAIL", "ENETUNREACH|EADDRNOTAVAIL")
CASE("reach a link-local neighbour", connect_to6("fe80::1", 22), "ENETUNREACH|EINVAL|EADDRNOTAVAIL",
     "ENETUNREACH|EINVAL|EADDRNOTAVAIL")
CASE("send a name query", send_to("8.8.8.8", 53), "ENETUNREACH", "ENETUNREACH")
CASE("send a broadcast", send_to("255.255.255.255", 67), "ENETUNREACH|EACCES", "ENETUNREACH|EACCES")
CASE("send a multicast", send_to("224.0.0.251", 5353), "ENETUNREACH", "ENETUNREACH")
CASE("reach the host's abstract socket", connect_abstract("crownest-canary"), "ECONNREFUSED",
     "ECONNREFUSED")
CASE("reach the neighbour's abstract socket", connect_abstract("crownest-neighbour"),
     "ECONNREFUSED", "ECONNREFUSED")
CASE("reach sandboxd's socket", connect_path(attack_targets.socket), "ENOENT", "ENOENT")
CASE("reach the service's socket", connect_path("/run/crownest/socket"), "ENOENT", "ENOENT")
CASE("bind a low port", bind_port(80), "EACCES", "ok")
