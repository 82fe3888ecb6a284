"""
The service under test: two programs that are started, killed without a warning, and brought back.
For one thread, since the programs die with the thread that started them.
"""

import contextlib
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from contract import Stubs, audit_log, key

READY_S = 20
STOP_S = 30
DISK_BYTES = 256 << 20
WAL_BLOCK = 32768  # RocksDB's, in which a record of its log does not go from one to the next
WAL_HEADER = 7
NAMES = ("sandboxd", "crownestd")
WRITE_FAULT = re.compile(r"store\.write\.\w+=(eio|enospc)@")


def _fired_in(text):
    return re.findall(r"^failpoint: (\S+)$", text, re.M)


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Service:
    """small_disk: whether its data lie on a disk that can be filled."""

    def __init__(self, programs, templates, pool, small_disk=False, broken=None):
        self.programs = pathlib.Path(programs)
        self.templates = templates
        self.pool = pool
        self.broken = broken
        self.port = _free_port()
        self.target = f"127.0.0.1:{self.port}"
        # /tmp, since the server's user must be able to pass and paths of sockets are short.
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="crownest-fault-", dir="/tmp"))
        self.dir.chmod(0o755)
        (self.dir / "server").mkdir(mode=0o700)
        self.small_disk = small_disk
        if small_disk:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "fault",
                            self.dir / "server"], check=True)
        shutil.chown(self.dir / "server", "crownest", "crownest")
        self.running = {}
        self.spans = {name: [] for name in NAMES}  # [when it served, when it no more did]
        self.start_seconds = []
        self.write_faults = []  # failpoints of crownestd that fail a write
        self.log_start = 0  # of the crownestd that runs

    def _command(self, name):
        if name == "sandboxd":
            uid = os.stat(self.dir / "server").st_uid
            return ["setpriv", "--pdeathsig", "TERM", self.programs / "sandboxd_faults",
                    "--socket", self.dir / "s.sock", "--run-dir", self.dir / "run",
                    "--templates", self.templates, "--client-uid", str(uid), "--kill-on-exit"]
        return ["setpriv", "--reuid", "crownest", "--regid", "crownest", "--clear-groups",
                "--pdeathsig", "TERM", self.programs / "crownestd",
                "--data", self.dir / "server/data", "--listen", self.target,
                "--socket", self.dir / "server/c.sock", "--sandboxd", self.dir / "s.sock",
                "--templates", self.templates, "--pool", str(self.pool), "--kill-on-exit"]

    def start(self, name, failpoints=()):
        """Whether it came to serve; with failpoints it may die before."""
        if self.broken:
            failpoints = [*failpoints, self.broken]
        if name == "crownestd":
            self.write_faults = [one for one in failpoints if WRITE_FAULT.match(one)]
            self.log_start = len(self._log(name))
        ready, told = os.pipe()
        began = time.time()
        with open(self.dir / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                [*self._command(name), "--ready-fd", str(told)], stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, pass_fds=[told],
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                     "CROWNEST_FAILPOINTS": ",".join(failpoints)})
        os.close(told)
        with open(ready, "rb") as pipe:
            heard, _, _ = select.select([pipe], [], [], READY_S)
            serves = bool(heard) and pipe.read(6) == b"READY\n"
        if not serves:
            process.kill()
            process.wait()
            return False
        self.running[name] = process
        self.spans[name].append([time.time(), None])
        if name == "crownestd":
            self.start_seconds.append(time.time() - began)
        return True

    def _ended(self, name):
        del self.running[name]
        self.spans[name][-1][1] = time.time()

    def kill(self, name):
        process = self.running.get(name)
        if process:
            process.kill()
            process.wait()
            self._ended(name)

    def collect_dead(self):
        """Those that have died since, by a failpoint or by themselves: name and exit status."""
        dead = {name: process.poll() for name, process in self.running.items()}
        dead = {name: status for name, status in dead.items() if status is not None}
        for name in dead:
            self._ended(name)
        return dead

    @contextlib.contextmanager
    def stopped(self, name):
        """While it stands still it serves nobody."""
        process = self.running.get(name)
        if process:
            process.send_signal(signal.SIGSTOP)
            self.spans[name][-1][1] = time.time()
        try:
            yield
        finally:
            if process:
                process.send_signal(signal.SIGCONT)
                self.spans[name].append([time.time(), None])

    def stop(self, name):
        """Ends it as an operator would; whether it ended well."""
        process = self.running.get(name)
        if not process:
            return True
        process.terminate()
        try:
            status = process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill(name)
            return False
        self._ended(name)
        return status == 0

    def fill_disk(self):
        """Until not a byte more is taken."""
        with open(self.dir / "server/ballast", "wb", buffering=0) as ballast:
            for size in (1 << 20, 4096, 1):
                try:
                    while True:
                        ballast.write(b"x" * size)
                except OSError:
                    continue

    def free_disk(self):
        (self.dir / "server/ballast").unlink(missing_ok=True)

    def tear_log(self, size):
        """What a write leaves behind that did not come to its end: the beginning of a record."""
        logs = sorted((self.dir / "server/data/db/records").glob("*.log"))
        if not logs:
            return
        left = WAL_BLOCK - logs[-1].stat().st_size % WAL_BLOCK - WAL_HEADER
        if left < size + 1:
            return
        with open(logs[-1], "ab") as log:
            log.write(b"torn" + (size + 1).to_bytes(2, "little") + b"\1" + b"x" * size)

    def mint(self):
        """A key with every scope."""
        stubs = Stubs(f"unix:{self.dir}/server/c.sock")
        try:
            return stubs.key.Create(key.CreateKeyRequest(label="fault"), timeout=10,
                                    **stubs.calls).secret
        finally:
            stubs.close()

    def export(self):
        """The audit, as its operator gets it."""
        stubs = Stubs(f"unix:{self.dir}/server/c.sock")
        try:
            parts = stubs.audit.Export(audit_log.ExportAuditRequest(), timeout=20, **stubs.calls)
            return b"".join(part.data for part in parts).decode()
        finally:
            stubs.close()

    def uptime(self, begin, end):
        """Seconds between two times in which both programs served."""
        total = 0.0
        for a in self.spans["sandboxd"]:
            for b in self.spans["crownestd"]:
                first = max(begin, a[0], b[0])
                last = min(end, a[1] or end, b[1] or end)
                total += max(0.0, last - first)
        return total

    def _log(self, name, start=0):
        path = self.dir / f"{name}.log"
        return path.read_text(errors="replace")[start:] if path.exists() else ""

    def fired(self):
        """The failpoints at which something has happened."""
        return [point for name in NAMES for point in _fired_in(self._log(name))]

    def writes_no_more(self):
        """A crownestd that could not write once waits for somebody to start it again."""
        if not self.write_faults or "crownestd" not in self.running:
            return False
        fired = _fired_in(self._log("crownestd", self.log_start))
        return any(fault.split("=")[0] in fired for fault in self.write_faults)

    def logs(self):
        return [f"{name}: {line}" for name in NAMES for line in self._log(name).split("\n")]

    def remove(self):
        """Whatever is left of it, and the jails with it."""
        self.kill("crownestd")
        if "sandboxd" not in self.running:
            self.broken = None
            self.start("sandboxd")
        self.stop("sandboxd")
        if self.small_disk:
            subprocess.run(["umount", self.dir / "server"], check=False)
        shutil.rmtree(self.dir, ignore_errors=True)
