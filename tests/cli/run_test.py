#!/usr/bin/python3
"""`crownest run` passes input and keys on, shows output, and leaves the terminal as it was."""

import hashlib
import os
import signal
import sys
import termios
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from service import ServiceTest, await_that

DATA = bytes(range(256)) * 20000
DIGEST = hashlib.sha256(DATA).hexdigest()


class Input(ServiceTest):
    def test_a_pipe_is_passed_on_whole(self):
        out = self.service.output("run", "-i", "sha256sum", input=DATA, text=False)
        self.assertEqual(out.split()[0].decode(), DIGEST)

    def test_without_i_there_is_none(self):
        self.assertEqual(self.service.output("run", "wc", "-c", input="lost"), "0")

    def test_a_command_may_leave_some_of_it(self):
        done = self.service.call("run", "-i", "head", "-c", "3", input=DATA, text=False)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, DATA[:3], b""))

    def test_it_is_whole_while_the_service_is_killed(self):
        sandbox = self.sandbox()
        loop = "for i in $(seq 1 64); do head -c 80000; sleep 0.03; done | sha256sum"
        run = self.service.start("run", "-i", "--sandbox", sandbox, "--shell", loop,
                                 stdin=-1)
        run.stdin.write(DATA[:1000000])
        self.service.kill("crownestd")
        run.stdin.write(DATA[1000000:3000000])
        self.service.kill("crownestd", "sandboxd")
        out, errors = run.communicate(DATA[3000000:])
        self.assertEqual((run.returncode, errors), (0, b""))
        self.assertEqual(out.split()[0].decode(), DIGEST)


class Output(ServiceTest):
    def test_control_characters_are_escaped_on_a_terminal_only(self):
        command = ("run", "printf", r"\033[31mred\n")
        self.assertEqual(self.service.output(*command, text=False), b"\x1b[31mred\n")
        plain = self.terminal(*command)
        self.assertEqual(plain.end(), 0)
        self.assertEqual(plain.shown, "\\x1b[31mred\r\n")
        raw = self.terminal("run", "--raw", *command[1:])
        self.assertEqual(raw.end(), 0)
        self.assertEqual(raw.shown, "\x1b[31mred\r\n")


class Keys(ServiceTest):
    def shell(self, sandbox=None, **options):
        """A shell in a terminal, with nothing but its output shown."""
        where = ["--sandbox", sandbox] if sandbox else []
        terminal = self.terminal("run", "-it", *where, "-e", "PS1=ready> ", "bash", "--norc", "-i",
                                 **options)
        terminal.until("ready> ")
        self.assertTrue(terminal.is_raw())
        return terminal

    def only_sandbox(self):
        [sandbox] = self.service.json("ps")
        return sandbox["sandboxId"]

    def assert_left_well(self, terminal, code):
        self.assertEqual(terminal.end(), code)
        self.assertEqual(termios.tcgetattr(terminal.ours), terminal.before)

    def test_its_size_is_ours_and_follows_it(self):
        shell = self.shell(rows=31, columns=97)
        shell.type("stty size\n")
        shell.until("31 97")
        shell.resize(41, 99)
        shell.type("stty size\n")
        shell.until("41 99")
        shell.type("exit 6\n")
        self.assert_left_well(shell, 6)

    def test_control_c_goes_to_the_command(self):
        shell = self.shell()
        # One job, which says that it runs: before that the signal might be for the shell alone.
        shell.type("sh -c 'echo $((6 * 7)); exec sleep 1000'\n")
        shell.until("42")
        shell.type("\x03")
        shell.until("ready> ")
        shell.type("echo $?\n")
        shell.until("130")
        shell.type("exit 4\n")
        self.assert_left_well(shell, 4)

    def test_the_escape_cancels_it(self):
        shell = self.shell()
        shell.type("cat\r")
        shell.until("\n")
        shell.type("a~.b\r")
        shell.until("a~.b")
        shell.type("~.")
        self.assert_left_well(shell, 128 + signal.SIGTERM)

    def test_the_escape_works_though_nothing_is_taken(self):
        given = self.sandbox()
        shell = self.shell(sandbox=given)
        self.service.output("pause", given)
        shell.type("echo late\r")
        shell.type("~.")
        shell.until("SANDBOX_PAUSED")
        self.assert_left_well(shell, 128 + signal.SIGTERM)
        self.assertEqual(self.service.json("ps", given)[0]["exitCause"], "EXIT_CAUSE_UNSPECIFIED")

    def test_the_escape_ends_a_sandbox_of_its_own_that_is_paused(self):
        shell = self.shell()
        sandbox = self.only_sandbox()
        self.service.output("pause", sandbox)
        shell.type("~.")
        self.assert_left_well(shell, 128 + signal.SIGTERM)
        self.assertEqual(self.service.json("ps"), [])

    def test_another_terminal_takes_a_shell_over(self):
        first = self.shell()
        first.type("x=41\n")
        first.until("ready> ")
        command = self.service.json("ps", self.only_sandbox())[0]["commandId"]
        second = self.terminal("attach", command, rows=30, columns=90)
        second.until("ready> ")
        second.resize(35, 95)
        second.type("stty size; echo $((x + 1))\n")
        second.until("35 95")
        second.until("42")
        second.until("ready> ")
        second.type("\r~.")
        second.until("the command goes on")
        self.assert_left_well(second, 128 + signal.SIGTERM)
        third = self.terminal("attach", command)
        third.until("ready> ")
        third.type("exit 3\n")
        self.assert_left_well(third, 3)
        self.assert_left_well(first, 3)

    def test_a_signal_cancels_it(self):
        shell = self.shell()
        shell.process.send_signal(signal.SIGTERM)
        self.assert_left_well(shell, 128 + signal.SIGTERM)

    def test_a_second_signal_ends_all_at_once(self):
        shell = self.shell(sandbox=self.sandbox())
        server = self.service.pid("crownestd")
        os.kill(server, signal.SIGSTOP)
        self.addCleanup(os.kill, server, signal.SIGCONT)
        shell.process.send_signal(signal.SIGTERM)
        shell.process.send_signal(signal.SIGHUP)
        self.assertIn(shell.end(), (128 + signal.SIGTERM, 128 + signal.SIGHUP))
        self.assertEqual(termios.tcgetattr(shell.ours), shell.before)

    def test_it_goes_on_after_a_kill_of_the_service(self):
        shell = self.shell()
        self.service.kill("crownestd")
        shell.type("echo $((6 * 7))\n")
        shell.until("42")
        self.service.kill("crownestd", "sandboxd")
        shell.type("exit 5\n")
        self.assert_left_well(shell, 5)

    def test_a_command_may_close_its_terminal_before_it_ends(self):
        done = self.service.call("run", "-t", "--shell",
                                 "exec </dev/null >/dev/null 2>&1; sleep 0.5; exit 7")
        self.assertEqual(done.returncode, 7)

    def test_a_terminal_for_a_command_whose_input_is_a_pipe(self):
        done = self.service.call("run", "-t", "-i", "cat", input="a\n")
        self.assertEqual(done.returncode, 0)
        self.assertIn("a\r\n", done.stdout.replace("\n", "\r\n"))


class Sandboxes(ServiceTest):
    def test_one_that_run_made_is_killed_at_the_end_and_a_given_one_is_not(self):
        sandbox = self.sandbox()
        self.assertEqual(self.service.call("run", "--sandbox", sandbox, "false").returncode, 1)
        self.service.output("run", "true")
        living = [item["sandboxId"] for item in self.service.json("ps")]
        self.assertEqual(living, [sandbox])
        await_that(lambda: all(item["state"] != "SANDBOX_STATE_CREATING"
                               for item in self.service.json("ps", "--all")), "an end")


if __name__ == "__main__":
    unittest.main()
