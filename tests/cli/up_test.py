#!/usr/bin/python3
"""`crownest up` keeps the service running: what is killed comes back, and sandboxes go on; and when
it gives up, it leaves none of them behind."""

import os
import re
import signal
import socket
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from service import Service, ServiceTest, await_that, missing, rest_of

COUNT = 400
COUNTING = f"i=0; while [ $i -lt {COUNT} ]; do i=$((i+1)); echo $i; sleep 0.01; done; exit 7"
COUNTED = "".join(f"{i}\n" for i in range(1, COUNT + 1))


class Up(ServiceTest):
    def counting(self):
        """A run that counts for some seconds, and has begun to."""
        run = self.service.start("run", "--sandbox", self.sandbox(), "--shell", COUNTING, text=True)
        self.first = run.stdout.readline()
        return run

    def assert_counted(self, run):
        out, errors = rest_of(run)
        self.assertEqual((run.returncode, errors), (7, ""))
        self.assertEqual(self.first + out, COUNTED)

    def tombstone(self, sandbox):
        for item in self.service.json("ps", "--all"):
            if item["sandboxId"] == sandbox:
                return item["endCause"], item["endDetail"]
        return None

    def test_each_program_comes_back_and_a_run_is_complete(self):
        for programs in (["crownestd"], ["sandboxd"], ["crownestd", "sandboxd"]):
            with self.subTest(programs):
                run = self.counting()
                self.service.kill(*programs)
                self.assert_counted(run)
        self.assertIn("crownestd ended unexpectedly: signal 9", self.service.log("up"))
        self.assertIn("sandboxd is ready again", self.service.log("up"))

    def test_a_restart_is_of_the_server_alone(self):
        run = self.counting()
        up, server, sandboxd = [self.service.pid(name) for name in ("up", "crownestd", "sandboxd")]
        self.assertEqual(self.service.output("restart", "--run-dir", self.service.run_dir), "")
        self.assertNotEqual(self.service.pid("crownestd"), server)
        self.assertEqual((self.service.pid("up"), self.service.pid("sandboxd")), (up, sandboxd))
        self.assert_counted(run)

    def test_down_ends_sandboxes_and_says_so(self):
        sandbox = self.sandbox()
        self.assertEqual(self.service.down().returncode, 0)
        self.assertEqual([self.service.pid(name) for name in ("up", "crownestd", "sandboxd")],
                         [0, 0, 0])
        self.service.up()
        self.assertEqual(self.tombstone(sandbox), ("END_CAUSE_KILLED", "the service was stopped"))

    def test_down_says_so_also_when_no_server_runs(self):
        sandbox = self.sandbox()
        # With a file where its database should be no server can start; up goes on trying.
        server = self.service.pid("crownestd")
        database = os.path.join(self.service.data, "server")
        os.rename(database, database + ".away")
        with open(database, "w", encoding="ascii"):
            pass
        os.kill(server, signal.SIGKILL)
        await_that(lambda: "before it was ready" in self.service.log("up"), "a failed start")
        os.unlink(database)
        os.rename(database + ".away", database)
        self.assertEqual(self.service.down().returncode, 0)
        self.service.up()
        self.assertEqual(self.tombstone(sandbox), ("END_CAUSE_KILLED", "the service was stopped"))

    def test_the_next_up_takes_over_what_a_killed_one_left(self):
        sandbox = self.sandbox()
        command = self.service.output("run", "--detach", "--sandbox", sandbox, "--shell", COUNTING)
        programs = [self.service.pid(name) for name in ("up", "crownestd", "sandboxd")]
        os.kill(programs[0], signal.SIGKILL)
        for pid in programs:
            await_that(lambda: not os.path.exists(f"/proc/{pid}"), f"an end of {pid}")
        self.service.up()
        done = self.service.call("logs", "-f", command)
        self.assertEqual((done.returncode, done.stdout), (0, COUNTED))
        self.assertEqual(self.service.call("wait", command).returncode, 7)

    def test_a_second_up_is_refused(self):
        done = self.service.call("up", "--data", self.service.data, "--run-dir",
                                 self.service.run_dir)
        self.assertEqual(done.returncode, 1)
        self.assertIn("another `crownest up` uses", done.stderr)


class GiveUp(unittest.TestCase):
    """Each test has a service of its own, whose `up` is watched."""

    LIMIT = 2

    def setUp(self):
        if missing():
            self.skipTest(f"needs {missing()}")
        self.service = Service()
        self.addCleanup(self.service.close)
        self.addCleanup(self.end_leftovers)
        self.programs = self.service.own_programs()
        self.up = self.service.start_up("--bin-dir", self.programs,
                                        "--give-up-after", str(self.LIMIT))
        self.addCleanup(self.up.stderr.close)
        self.lines_until("serving ")
        self.sandbox = self.service.output("create")
        self.service.output("run", "--detach", "--sandbox", self.sandbox, "sleep", self.token())

    def end_leftovers(self):
        """Of a test that failed."""
        if self.up.poll() is None:
            self.up.terminate()
            self.up.wait()
        if self.inside():
            self.service.up()
            self.service.down()

    def token(self):
        """A time to sleep that stands for this test among all processes."""
        return f"86400.{os.getpid()}{self.service.port}"

    def inside(self):
        """The processes of the sandbox's command, as the host sees them."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
            except OSError:
                continue
            if words[:2] == [b"sleep", self.token().encode()]:
                found.append(pid)
        return found

    def lines_until(self, text):
        """What `up` says until it says this, or ends."""
        lines = []
        for line in self.up.stderr:
            lines.append(line)
            if text in line:
                break
        return "".join(lines)

    def kill_each_sandboxd(self):
        """Until `up` has had enough; returns what it says from then on."""
        os.kill(self.service.pid("sandboxd"), signal.SIGKILL)
        kills = 1
        for line in self.up.stderr:
            again = re.search(r"sandboxd is ready again \(pid (\d+)\)", line)
            if again:
                os.kill(int(again[1]), signal.SIGKILL)
                kills += 1
            if "is given up" in line:
                break
        self.assertEqual(kills, self.LIMIT + 1)
        return self.lines_until("crownest up: stopped")

    def assert_ended(self):
        self.assertEqual(self.up.wait(60), 1)
        self.assertEqual(self.inside(), [])
        self.assertEqual([self.service.pid(name) for name in ("up", "crownestd", "sandboxd")],
                         [0, 0, 0])

    def test_a_sandboxd_that_dies_too_often_leaves_no_sandbox(self):
        self.assertEqual(len(self.inside()), 1)
        self.kill_each_sandboxd()
        self.assert_ended()
        self.service.up()
        ended = self.service.json("ps", "--all")[0]
        self.assertEqual((ended["sandboxId"], ended["endCause"], ended["endDetail"]),
                         (self.sandbox, "END_CAUSE_KILLED", "the service was stopped"))

    def test_a_server_that_cannot_start_leaves_no_sandbox_and_says_what_is_lost(self):
        database = os.path.join(self.service.data, "server")
        os.rename(database, database + ".away")
        with open(database, "w", encoding="ascii"):
            pass
        os.kill(self.service.pid("crownestd"), signal.SIGKILL)
        said = self.lines_until("crownest up: stopped")
        self.assertIn("tombstones will not say", said)
        self.assert_ended()

    def test_a_sandboxd_that_is_not_there_any_more_is_said_and_made_up_for_later(self):
        os.rename(os.path.join(self.programs, "sandboxd"), os.path.join(self.programs, "away"))
        os.kill(self.service.pid("sandboxd"), signal.SIGKILL)
        said = self.lines_until("crownest up: stopped")
        self.assertIn("sandboxes may be left", said)
        self.assertEqual(self.up.wait(60), 1)
        self.assertEqual(len(self.inside()), 1)
        self.service.up()
        self.assertEqual(self.service.down().returncode, 0)
        self.assertEqual(self.inside(), [])

    def test_a_start_that_fails_leaves_none_of_an_earlier_up(self):
        programs = [self.service.pid(name) for name in ("up", "crownestd", "sandboxd")]
        os.kill(self.up.pid, signal.SIGKILL)
        for pid in programs[1:]:
            await_that(lambda: not os.path.exists(f"/proc/{pid}"), f"an end of {pid}")
        self.up.wait()
        self.assertEqual(len(self.inside()), 1)
        self.up.stderr.close()
        with socket.create_server(("127.0.0.1", self.service.port)):
            self.up = self.service.start_up()
            self.addCleanup(self.up.stderr.close)
            self.assertIn("crownestd ended before it was ready", self.lines_until("never said"))
        self.assert_ended()


if __name__ == "__main__":
    unittest.main()
