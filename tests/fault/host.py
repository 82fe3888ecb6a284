"""What the host holds of sandboxes, as the kernel and the run directory tell it."""

import os
import pathlib
import time


def hierarchies():
    """Where control groups are."""
    lines = pathlib.Path("/proc/self/mounts").read_text().split("\n")
    mounts = [line.split(" ") for line in lines if line]
    return sorted({pathlib.Path(mount[1]) for mount in mounts if mount[2].startswith("cgroup")})


def groups():
    """Sandboxes' control groups: id -> paths."""
    found = {}
    for hierarchy in hierarchies():
        for path in (hierarchy / "crownest").glob("sbx_*"):
            found.setdefault(path.name, []).append(str(path))
    return found


def processes(ids):
    """Processes in the control groups of these."""
    pids = set()
    for sandbox_id, paths in groups().items():
        for path in paths if sandbox_id in ids else ():
            for directory, _, _ in os.walk(path):
                try:
                    text = pathlib.Path(directory, "cgroup.procs").read_text()
                except OSError:
                    continue
                pids |= {int(pid) for pid in text.split()}
    return pids


def inventory(run):
    """What sandboxd has noted: id -> pid of nest-init, 0 while its jail is not complete."""
    noted = {}
    for path in pathlib.Path(run, "inventory").glob("sbx_*"):
        try:
            noted[path.name] = int(path.read_text().split()[1])
        except (OSError, IndexError):
            continue
    return noted


def control_sockets(run):
    directory = pathlib.Path(run, "control")
    return {path.name for path in directory.iterdir()} if directory.is_dir() else set()


def descriptors(pid, kind):
    """How many of a process's open descriptors lead to something of this kind."""
    count = 0
    for path in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            count += os.readlink(path).startswith(kind)
        except OSError:
            continue
    return count


def mounts_below(directory):
    text = pathlib.Path("/proc/self/mountinfo").read_text()
    return [line for line in text.split("\n") if f" {directory}/" in line]


def sockets_below(directory):
    text = pathlib.Path("/proc/net/unix").read_text()
    return [line.split()[-1] for line in text.split("\n") if f" {directory}/" in line]


def children(pid):
    """Those that have ended and were not waited for are children, too."""
    text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def sweep(ids):
    """Ends what a failed scenario has left in the control groups of these, and removes them."""
    for sandbox_id, paths in groups().items():
        for path in paths if sandbox_id in ids else ():
            remove_group(pathlib.Path(path))


def remove_group(path):
    """And what is in it."""
    try:
        (path / "cgroup.kill").write_text("1")
    except OSError:
        pass  # of cgroup v1
    for _ in range(200):
        try:
            for directory, _, _ in os.walk(path, topdown=False):
                os.rmdir(directory)
            return
        except OSError:
            time.sleep(0.01)
