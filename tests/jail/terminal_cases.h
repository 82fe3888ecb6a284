/*
 * What a command tries with the terminal that it has, as hostile_cases.h has it. It is the first
 * one of its sandbox, so it is /dev/pts/0.
 */

CASE("type into its terminal", syscall(SYS_ioctl, 0, TIOCSTI, "x"), "ENOSYS", "ENOSYS")
CASE("type into its output", syscall(SYS_ioctl, 1, TIOCSTI, "x"), "ENOSYS", "ENOSYS")
CASE("type into it, high bits set", syscall(SYS_ioctl, 0, 1UL << 40 | TIOCSTI, "x"), "ENOSYS",
     "ENOSYS")
CASE("type into the controlling terminal", ioctl_by_path("/dev/tty", TIOCSTI, 'x'), "ENOSYS",
     "ENOSYS")
CASE("type into the terminal by its name", ioctl_by_path("/dev/pts/0", TIOCSTI, 'x'), "ENOSYS",
     "ENOSYS")
CASE("type into the terminal by its link", ioctl_by_path("/proc/self/fd/0", TIOCSTI, 'x'), "ENOSYS",
     "ENOSYS")
CASE("paste into its terminal", syscall(SYS_ioctl, 0, TIOCLINUX, "\003"), "ENOSYS", "ENOSYS")
CASE("paste into the controlling terminal", ioctl_by_path("/dev/tty", TIOCLINUX, 3), "ENOSYS",
     "ENOSYS")
CASE("make it a modem", ioctl_by_path("/dev/tty", TIOCSETD, 21), "ENOSYS", "ENOSYS")
CASE("be the host's console", ioctl_by_path("/dev/tty", TIOCCONS, 0), "EPERM", "EPERM")
CASE("be the host's console by its name", ioctl_by_path("/dev/pts/0", TIOCCONS, 0), "EPERM",
     "EPERM")
CASE("hang up", ioctl_by_path("/dev/tty", TIOCVHANGUP, 0), "EPERM", "EPERM")
CASE("lock its settings", ioctl_by_path("/dev/tty", TIOCSLCKTRMIOS, 0), "EPERM", "EPERM")
CASE("take it from its session", steal_terminal(), "EPERM", "EPERM")
CASE("be given the other end", ioctl_by_path("/dev/tty", TIOCGPTPEER, O_RDWR), "EIO|ENOTTY",
     "EIO|ENOTTY")
CASE("unlock it once more", ioctl_by_path("/dev/tty", TIOCSPTLCK, 0), "EIO|ENOTTY", "EIO|ENOTTY")
CASE("switch to another console", ioctl_by_path("/dev/tty", 0x5606, 1), "ENOTTY|EINVAL",
     "ENOTTY|EINVAL")
CASE("load a font", ioctl_by_path("/dev/tty", 0x4b72, 0), "ENOTTY|EINVAL", "ENOTTY|EINVAL")
CASE("give it to root", fchown(0, 0, 0), "EPERM", "ok")
CASE("make it everybody's", fchmod(0, 0666), "ok", "ok")
CASE("reach the relay's terminal", open_of_helpers("fd/3", O_RDWR), "ENOENT", "EACCES")
CASE("reach the relay's output", open_of_helpers("fd/5", O_RDONLY), "ENOENT", "EACCES|ENOENT")
CASE("read the relay's memory", open_of_helpers("mem", O_RDONLY), "ENOENT", "EACCES")
CASE("see what the relay waits in", open_of_helpers("stack", O_RDONLY), "ENOENT", "EACCES")
