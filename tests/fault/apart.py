"""
A process whose services see no control groups but their own, so that several may run beside each
other: a mount and a cgroup namespace, whose roots are groups made for it.
"""

import ctypes
import os
import pathlib
import signal

import host

ROOT = pathlib.Path("/sys/fs/cgroup")
CLONE_NEWNS, CLONE_NEWCGROUP = 0x20000, 0x2000000
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
PR_SET_PDEATHSIG = 1
CPUSET = ("cpuset.cpus", "cpuset.mems")

libc = ctypes.CDLL(None, use_errno=True)


def _check(result, what):
    if result < 0:
        raise OSError(ctypes.get_errno(), what)


def _mount(source, target, flags):
    result = libc.mount(os.fsencode(source), os.fsencode(target), None, flags, None)
    _check(result, f"mount {target}")


def possible():
    """
    Where each controller has a hierarchy of its own: in one that has them all, a group that holds
    processes, as a namespace's root does, hands none of them on.
    """
    return not (ROOT / "cgroup.controllers").exists()


def enter(prefix):
    """For the rest of this process's life, which ends with its parent's."""
    _check(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    own = f"{prefix}-{os.getpid()}"
    hierarchies = list(host.hierarchies())
    for hierarchy in hierarchies:
        (hierarchy / own).mkdir()
        for name in CPUSET if (hierarchy / CPUSET[0]).exists() else ():
            (hierarchy / own / name).write_text((hierarchy / name).read_text())
        (hierarchy / own / "cgroup.procs").write_text("0")
    _check(libc.unshare(CLONE_NEWNS | CLONE_NEWCGROUP), "unshare")
    _mount("none", "/", MS_REC | MS_PRIVATE)
    for hierarchy in hierarchies:
        _mount(hierarchy / own, hierarchy, MS_BIND)


def remove(prefix):
    """What those who have entered with it leave behind when they have ended."""
    for hierarchy in host.hierarchies():
        for path in hierarchy.glob(f"{prefix}-*"):
            host.remove_group(path)
