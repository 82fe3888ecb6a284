"""A service of its own for tests of the command line, and a terminal to run commands in.

CROWNEST_BIN names the folder with crownest, crownestd and sandboxd; CROWNEST_TEST_TEMPLATES that of
the templates (default /var/lib/crownest/templates).
"""

import fcntl
import json
import os
import pty
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import time
import unittest

BIN = os.environ.get("CROWNEST_BIN", "")
TEMPLATES = os.environ.get("CROWNEST_TEST_TEMPLATES", "/var/lib/crownest/templates")
PATIENCE_S = 60


def missing():
    """What the tests need and do not have; empty: nothing."""
    if os.geteuid() != 0:
        return "root"
    if not os.access(os.path.join(BIN, "crownest"), os.X_OK):
        return "$CROWNEST_BIN with the programs"
    if not os.path.exists(os.path.join(TEMPLATES, "base")):
        return "the template base"
    return ""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Service:
    """One installation in a folder of its own: `up` may be called again after `down` or a crash."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="crownest-cli.", dir="/var/tmp")
        os.chmod(self.folder, 0o755)
        self.data = os.path.join(self.folder, "data")
        self.run_dir = os.path.join(self.folder, "run")
        self.port = free_port()
        os.mkdir(self.data, 0o755)
        templates = os.path.join(self.data, "templates")
        linked = subprocess.run(["cp", "-al", TEMPLATES, templates], stderr=subprocess.DEVNULL)
        if linked.returncode:
            subprocess.run(["cp", "-a", TEMPLATES, templates], check=True)
        self.environment = dict(os.environ, CROWNEST_URL=f"unix:{self.run_dir}/crownest.sock")

    def up_flags(self):
        return ["--data", self.data, "--run-dir", self.run_dir,
                "--listen", f"127.0.0.1:{self.port}"]

    def up(self):
        done = self.call("up", "--detach", *self.up_flags())
        if done.returncode:
            raise AssertionError(done.stderr + self.log("crownestd") + self.log("sandboxd"))

    def start_up(self, *flags):
        """Starts `up` in the foreground, for what it says on stderr."""
        return subprocess.Popen(self.command("up", *self.up_flags(), *flags), text=True,
                                stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def own_programs(self):
        """A folder with the daemons, for `up --bin-dir`, that a test may change."""
        folder = os.path.join(self.folder, "bin")
        os.mkdir(folder, 0o755)
        for name in ("crownestd", "sandboxd"):
            shutil.copy(os.path.join(BIN, name), folder)
        return folder

    def down(self):
        return self.call("down", "--run-dir", self.run_dir)

    def close(self):
        if self.pid("up"):
            self.down()
        shutil.rmtree(self.folder)

    def log(self, name):
        path = os.path.join(self.data, "log", f"{name}.log")
        with open(path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def command(self, *arguments):
        return [os.path.join(BIN, "crownest"), *arguments]

    def call(self, *arguments, text=True, **options):
        """Runs a command of crownest to its end."""
        options.setdefault("stdin", subprocess.DEVNULL)
        if "input" in options:
            del options["stdin"]
        return subprocess.run(self.command(*arguments), text=text, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=self.environment,
                              timeout=2 * PATIENCE_S, **options)

    def output(self, *arguments, **options):
        """What a command prints; it must succeed."""
        done = self.call(*arguments, **options)
        if done.returncode:
            raise AssertionError(f"{arguments} ended with {done.returncode}: {done.stderr}")
        return done.stdout if options.get("text") is False else done.stdout.strip()

    def json(self, *arguments):
        return json.loads(self.output(*arguments, "--json"))

    def start(self, *arguments, **options):
        """Starts a command of crownest, with pipes."""
        return subprocess.Popen(self.command(*arguments), env=self.environment,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)

    def pid(self, program):
        """The process of up, crownestd or sandboxd that serves; 0 while there is none."""
        try:
            with open(os.path.join(self.run_dir, f"{program}.pid"), encoding="ascii") as file:
                return int(file.read())
        except FileNotFoundError:
            return 0

    def kill(self, *programs):
        """Kills programs without a warning, and waits for those that take their places."""
        killed = {program: self.pid(program) for program in programs}
        for pid in killed.values():
            os.kill(pid, signal.SIGKILL)
        for program, pid in killed.items():
            await_that(lambda: self.pid(program) not in (0, pid), f"another {program}")


def rest_of(process):
    """What a process with pipes writes from now on, and its end: unlike communicate(), with what a
    readline() before has left in Python's buffer."""
    with process.stdout, process.stderr:
        written = process.stdout.read(), process.stderr.read()
    process.wait(PATIENCE_S)
    return written


def await_that(condition, what):
    """Waits for what no event tells us of."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"there was not {what}")
        time.sleep(0.02)


class Terminal:
    """A command in a terminal: what it shows, what is typed, and how the terminal is left."""

    def __init__(self, service, *arguments, rows=24, columns=80):
        self.service = service
        self.shown = ""
        self.ours, theirs = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.ours)
        self.process = subprocess.Popen(
            service.command(*arguments), stdin=theirs, stdout=theirs, stderr=theirs,
            env=service.environment, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(theirs)

    def resize(self, rows, columns):
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.ours, text.encode())

    def read(self, deadline, what):
        """Reads what is shown next; False at the end of the command."""
        ready, _, _ = select.select([self.ours], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            raise AssertionError(f"{what} did not come, but {self.shown!r}")
        try:
            more = os.read(self.ours, 65536)
        except OSError:
            return False
        self.shown += more.decode("utf-8", "replace")
        return bool(more)

    def until(self, text):
        """Waits for a text behind what was found last, and returns all before it."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.shown:
            if not self.read(deadline, repr(text)):
                raise AssertionError(f"it ended without {text!r}: {self.shown!r}")
        before, self.shown = self.shown.split(text, 1)
        return before

    def end(self):
        """Waits for the end of the command and returns its exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while self.read(deadline, "the end"):
            pass
        return self.process.wait(PATIENCE_S)

    def is_raw(self):
        return not termios.tcgetattr(self.ours)[3] & termios.ICANON

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.ours)


class ServiceTest(unittest.TestCase):
    """Tests that share one service."""

    @classmethod
    def setUpClass(cls):
        if missing():
            raise unittest.SkipTest(f"needs {missing()}")
        cls.service = Service()
        cls.addClassCleanup(cls.service.close)
        cls.service.up()

    def sandbox(self, *flags):
        """A sandbox that ends with the test."""
        sandbox = self.service.output("create", *flags)
        self.addCleanup(self.service.call, "kill", sandbox)
        return sandbox

    def terminal(self, *arguments, **options):
        terminal = Terminal(self.service, *arguments, **options)
        self.addCleanup(terminal.close)
        return terminal
