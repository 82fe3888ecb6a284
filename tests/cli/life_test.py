#!/usr/bin/python3
"""What the command line does to sandboxes and commands that run."""

import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from service import BIN, ServiceTest, await_that, rest_of


class Lives(ServiceTest):
    def state(self, sandbox):
        return next(item for item in self.service.json("ps", "--all")
                    if item["sandboxId"] == sandbox)

    def test_create_takes_what_a_sandbox_may_have(self):
        made = self.service.json("create", "--ttl", "100", "--lease", "50", "--memory", "64",
                                 "--cpu", "500", "--processes", "30", "--disk", "10",
                                 "--label", "a=b", "--env", "X=from create")
        self.addCleanup(self.service.call, "kill", made["sandboxId"])
        resources = made["resources"]
        self.assertEqual((made["lease"], made["labels"]), ("50s", {"a": "b"}))
        self.assertEqual((resources["memoryBytes"], resources["diskBytes"]),
                         (str(64 << 20), str(10 << 20)))
        self.assertEqual((resources["cpuMillis"], resources["maxProcesses"]), (500, 30))
        self.assertEqual(self.service.output("run", "--sandbox", made["sandboxId"], "--shell",
                                             "echo $X"), "from create")

    def test_pause_and_resume(self):
        sandbox = self.sandbox()
        self.assertEqual(self.service.output("pause", sandbox), sandbox)
        self.assertIn("PAUSED", self.service.output("ps"))
        refused = self.service.call("run", "--sandbox", sandbox, "true")
        self.assertEqual(refused.returncode, 125)
        self.assertIn("SANDBOX_PAUSED", refused.stderr)
        self.assertEqual(self.service.output("resume", sandbox), sandbox)
        self.service.output("run", "--sandbox", sandbox, "true")

    def test_update_changes_what_is_given(self):
        sandbox = self.sandbox("--ttl", "10", "--label", "a=b")
        before = self.state(sandbox)
        self.service.output("update", sandbox, "--ttl", "1000")
        after = self.service.json("update", sandbox, "--label", "c=d")
        self.assertGreater(after["expireTime"], before["expireTime"])
        self.assertEqual(after["labels"], {"c": "d"})
        self.assertEqual(self.service.json("update", sandbox, "--no-labels").get("labels"), {})
        self.assertEqual(self.service.call("update", sandbox).returncode, 2)

    def test_a_lease_ends_without_a_heartbeat_and_not_with_one(self):
        sandbox = self.sandbox("--lease", "2")
        self.assertRegex(self.service.output("heartbeat", sandbox), r"^\d{4}-\d\d-\d\d ")
        keeper = self.service.start("heartbeat", "--keep", sandbox, text=True)
        # More heartbeats than two leases have.
        for _ in range(7):
            self.assertRegex(keeper.stdout.readline(), r"^\d{4}-")
        self.assertEqual(self.state(sandbox)["state"], "SANDBOX_STATE_RUNNING")
        keeper.terminate()
        rest_of(keeper)
        await_that(lambda: self.state(sandbox)["endCause"] == "END_CAUSE_LEASE", "an end")
        self.assertEqual(self.service.call("heartbeat", self.sandbox()).returncode, 1)

    def test_a_child_ends_with_its_parent_and_ps_says_why_it_lives(self):
        parent = self.sandbox("--lease", "100")
        child = self.sandbox("--parent", parent)
        why = {item["sandboxId"]: item["keptBy"] for item in self.service.json("ps", "--why")}
        self.assertTrue(any(line.startswith("lease:") for line in why[parent]), why)
        self.assertTrue(any(parent in line for line in why[child]), why)
        self.assertRegex(self.service.output("ps", "--why"), r"\n    ttl: \d+ s left")
        self.service.output("kill", parent)
        await_that(lambda: self.state(child)["endCause"] == "END_CAUSE_PARENT", "an end")

    def test_stats(self):
        sandbox = self.sandbox()
        self.service.output("run", "--sandbox", sandbox, "--detach", "sleep", "1000")
        stats = self.service.json("stats", sandbox)
        self.assertEqual(stats["commands"], 1)
        self.assertGreater(int(stats["memoryBytes"]), 0)
        text = self.service.output("stats", sandbox)
        self.assertRegex(text, r"(?m)^memory +\d+\.\d MiB")
        self.assertRegex(text, r"(?m)^kept by +ttl: ")


class Commands(ServiceTest):
    def start(self, line):
        return self.service.output("run", "--detach", "--sandbox", self.sandbox(), "--shell", line)

    def test_wait_has_the_exit_code_of_the_command(self):
        self.assertEqual(self.service.call("wait", self.start("sleep 0.3; exit 9")).returncode, 9)
        ended = self.start("kill -KILL $$")
        self.assertEqual(self.service.call("wait", ended).returncode, 128 + 9)
        done = self.service.call("wait", "--json", self.start("echo much; exit 3"))
        self.assertEqual(done.returncode, 3)
        self.assertIn('"exitCode": 3', done.stdout)
        self.assertNotIn("much\n", done.stdout)
        self.assertEqual(self.service.call("wait", "cmd_0").returncode, 125)

    def test_signals_by_name_and_number(self):
        for name, number in (("USR1", 10), ("SIGINT", 2), ("34", 34)):
            sleeper = self.start("exec sleep 1000")
            self.service.output("signal", sleeper, name)
            self.assertEqual(self.service.call("wait", sleeper).returncode, 128 + number)
        self.assertEqual(self.service.call("signal", "cmd_0", "SIGNOT").returncode, 2)

    def test_logs_from_an_offset_of_one_stream_and_the_last_lines(self):
        command = self.start("seq 1 50; echo oops >&2; seq 51 60")
        self.service.call("wait", command)
        logs = lambda *flags: self.service.call("logs", command, *flags)
        self.assertEqual(logs("--stream", "stderr").stderr, "oops\n")
        self.assertEqual(logs("--stream", "stderr").stdout, "")
        self.assertEqual(logs("--stream", "stdout", "--tail", "2").stdout, "59\n60\n")
        self.assertEqual(logs("-n", "1", "-f").stdout, "60\n")
        self.assertTrue(logs("--offset", "4").stdout.startswith("3\n4\n"))
        self.assertEqual(logs("--offset", "4", "--tail", "1").returncode, 2)
        self.assertEqual(logs("--stream", "both").returncode, 2)

    def test_a_command_without_input_is_attached_to_for_its_output(self):
        command = self.start("echo gone; read line; echo $line; exit 4")
        done = self.service.call("attach", "-i", command, input="lost\n")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (4, "gone\n\n", ""))
        again = self.service.call("attach", "--tail", "1", command)
        self.assertEqual((again.returncode, again.stdout), (4, "\n"))
        self.assertEqual(self.service.call("attach", "cmd_0").returncode, 125)

    def test_attach_goes_on_with_the_input_where_it_is(self):
        command = self.service.output("run", "--detach", "--stdin", "--sandbox", self.sandbox(),
                                      "cat")
        first = self.service.start("attach", "-i", command, stdin=-1, text=True)
        first.stdin.write("one\n")
        first.stdin.flush()
        self.assertEqual(first.stdout.readline(), "one\n")
        first.terminate()
        self.assertIn("the command goes on", rest_of(first)[1])
        self.assertEqual(first.returncode, 128 + 15)
        first.stdin.close()
        second = self.service.call("attach", "-i", command, input="two\n")
        self.assertEqual((second.returncode, second.stdout), (0, "one\ntwo\n"))

    def test_logs_are_followed_through_a_kill_of_the_service(self):
        command = self.start("for i in $(seq 1 200); do echo $i; echo x >&2; sleep 0.02; done")
        follower = self.service.start("logs", "-f", "--stream", "stdout", command, text=True)
        first = follower.stdout.readline()
        self.service.kill("crownestd")
        out, errors = rest_of(follower)
        self.assertEqual((follower.returncode, errors), (0, ""))
        self.assertEqual(first + out, "".join(f"{i}\n" for i in range(1, 201)))


class Absent(unittest.TestCase):
    def test_a_service_that_is_not_there_is_told_soon(self):
        crownest = os.path.join(BIN, "crownest")
        if not os.access(crownest, os.X_OK):
            self.skipTest("needs $CROWNEST_BIN with the programs")
        nowhere = dict(os.environ, CROWNEST_URL="unix:/nonexistent/socket")
        for arguments in (["logs", "cmd_1"], ["run", "true"], ["pause", "sbx_1"], ["ps"]):
            done = subprocess.run([crownest, *arguments], env=nowhere, timeout=30, check=False,
                                  stderr=subprocess.PIPE)
            self.assertIn(done.returncode, (1, 125))
            self.assertIn(b"Is the service running", done.stderr)


if __name__ == "__main__":
    unittest.main()
