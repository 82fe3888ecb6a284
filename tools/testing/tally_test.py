"""The counting of tests must itself be able to fail."""

import io
import json
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(__file__))

import tally

GOOD = """[==========] Running 2 test(s).
[ RUN      ] first
noise without a newline[       OK ] first
[ RUN      ] second
[       OK ] second
[==========] 2 test(s) run.
[  PASSED  ] 2 test(s).
"""

MIXED = """[==========] Running 4 test(s).
[ RUN      ] good
[       OK ] good
[ RUN      ] bad
[  ERROR   ] --- 0x1 != 0x2
[   LINE   ] --- t.c:9: error: Failure!
[  FAILED  ] bad
[ RUN      ] later
[  SKIPPED ] later
[ RUN      ] no_setup
Could not run test: Test setup failed
[  ERROR   ] no_setup
[==========] 4 test(s) run.
[  PASSED  ] 1 test(s).
[  SKIPPED ] 1 test(s), listed below:
[  SKIPPED ] later
[  FAILED  ] 1 test(s), listed below:
[  FAILED  ] bad
"""

DIED = """[==========] Running 3 test(s).
[ RUN      ] first
[       OK ] first
[ RUN      ] second
"""

TAP = """TAP version 13
not ok 1 - resumes a stream
  ---
  ...
ok 2 - retries
1..2
# tests 2
# pass 1
# fail 1
# cancelled 0
# skipped 0
"""

SPEC = """✔ retries (1.2ms)
✖ resumes a stream (3.4ms)
ℹ tests 2
ℹ pass 1
ℹ fail 1
ℹ cancelled 0
✖ failing tests:
✖ resumes a stream (3.4ms)
"""

FAULT = """seed 7: ok (4.1 s, 60 steps, 9 faults)
seed 8: VIOLATION c1n1 is there twice
seed 8: FAILED (3.0 s, 12 steps, 2 faults)
broken answer: ok (seen with seed 1)
2 passed, 1 failed: seeds [8]
"""

UNITTEST = """.F
======================================================================
FAIL: test_run (job.Job.test_run)
----------------------------------------------------------------------
Ran 3 tests in 0.1s

FAILED (failures=1, skipped=1)
"""


def cmocka(text):
    return tally.Cmocka("t").read(text.splitlines())


class FolderTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return path


class CmockaTest(unittest.TestCase):
    def test_counts_each_case(self):
        suite = cmocka(GOOD)
        self.assertEqual((suite.passed, suite.failed, suite.skipped), (2, [], []))

    def test_names_what_failed_and_was_skipped_once(self):
        suite = cmocka(MIXED)
        self.assertEqual((suite.passed, suite.failed, suite.skipped),
                         (1, ["bad", "no_setup"], ["later"]))

    def test_a_case_that_ends_the_program_fails_with_all_after_it(self):
        suite = cmocka(DIED)
        self.assertEqual(suite.passed, 1)
        self.assertEqual(suite.failed, ["second (the program ended in it)", "1 cases never ran"])

    def test_groups_add_up(self):
        self.assertEqual(cmocka(GOOD + MIXED).passed, 3)


class BazelTest(FolderTest):
    def events(self, targets, extra=()):
        lines = list(extra)
        for label, kind, status, log, *tags in targets:
            lines.append({"id": {"targetConfigured": {"label": label}},
                          "configured": {"targetKind": kind, "tag": tags}})
            if status:
                path = self.write(label.replace("/", "_").replace(":", "_"), log)
                lines.append({"id": {"testResult": {"label": label}},
                              "testResult": {"status": status, "testActionOutput": [
                                  {"name": "test.log", "uri": "file://" + path}]}})
        path = self.write("events", "\n".join(json.dumps(line) for line in lines))
        return tally.read_suite("bazel", "C", path, 0)

    def test_counts_cases_and_not_targets(self):
        suite = self.events([("//a:a", "cc_test rule", "PASSED", GOOD),
                             ("//b:b", "cc_test rule", "PASSED", GOOD)])
        self.assertEqual((suite.passed, suite.failed), (4, []))

    def test_a_target_without_a_case_fails(self):
        suite = self.events([("//a:a", "cc_test rule", "PASSED", "")])
        self.assertEqual(suite.failed, ["//a:a: no test ran"])

    def test_a_target_that_was_not_built_fails(self):
        suite = self.events([("//a:a", "cc_test rule", None, None)])
        self.assertEqual(suite.failed, ["//a:a: not run (NO_STATUS)"])

    def test_a_failure_after_the_last_case_counts(self):
        suite = self.events([("//a:a", "cc_test rule", "FAILED", GOOD)])
        self.assertEqual((suite.passed, suite.failed), (2, ["//a:a: the program itself (FAILED)"]))

    def test_another_kind_of_target_is_one_case(self):
        suite = self.events([("//a:a", "sh_test rule", "PASSED", "whatever")])
        self.assertEqual((suite.passed, suite.failed), (1, []))

    def test_a_target_tagged_so_is_one_case(self):
        suite = self.events([("//a:a", "cc_test rule", "PASSED", "", "one-case"),
                             ("//b:b", "cc_test rule", "FAILED", "", "one-case")])
        self.assertEqual((suite.passed, suite.failed),
                         (1, ["//b:b: the program itself (FAILED)"]))

    def test_a_library_that_was_not_built_fails(self):
        suite = self.events([], [{"id": {"targetCompleted": {"label": "//a:lib"}},
                                  "completed": {}}])
        self.assertEqual(suite.failed, ["//a:lib was not built"])

    def test_no_target_fails(self):
        self.assertEqual(self.events([]).failed, ["no test ran"])


class OtherRunnersTest(FolderTest):
    def test_node(self):
        for text in (TAP, SPEC):
            suite = tally.read_suite("node", "sdk", self.write("node", text), 1)
            self.assertEqual((suite.passed, suite.failed), (1, ["resumes a stream"]))

    def test_unittest(self):
        suite = tally.read_suite("unittest", "py", self.write("py", UNITTEST), 1)
        self.assertEqual((suite.passed, suite.failed, len(suite.skipped)),
                         (1, ["test_run (job.Job.test_run)"], 1))

    def test_fault(self):
        suite = tally.read_suite("fault", "fault", self.write("fault", FAULT), 1)
        self.assertEqual((suite.passed, suite.failed), (2, ["seed 8"]))

    def test_a_runner_that_wrote_nothing_fails(self):
        suite = tally.read_suite("node", "sdk", self.write("node", ""), 0)
        self.assertEqual(suite.failed, ["no test ran"])

    def test_a_runner_that_left_no_file_fails(self):
        suite = tally.read_suite("node", "sdk", os.path.join(self.folder, "none"), 0)
        self.assertEqual(len(suite.failed), 1)

    def test_a_status_without_a_failed_case_fails(self):
        suite = tally.read_suite("node", "sdk", self.write("node", "# pass 3\n"), 7)
        self.assertEqual(suite.failed, ["the runner ended with 7 although no case failed"])


class MachineTest(FolderTest):
    def machine(self, text, status=0):
        return tally.read_suite("programs", "vm", self.write("vm", text), status)

    def test_counts_the_cases_of_each_program(self):
        suite = self.machine(f"vm: plan a b\nvm: up\nvm: begin a\n{GOOD}vm: end a 0\n"
                             f"vm: begin b\n{MIXED}vm: end b 2\nvm: finished\n", 1)
        self.assertEqual((suite.passed, suite.failed, suite.skipped),
                         (3, ["b: bad", "b: no_setup"], ["b: later"]))

    def test_what_the_machine_did_not_come_to_has_failed(self):
        suite = self.machine(f"vm: plan a b c\nvm: begin a\n{GOOD}vm: end a 0\n"
                             f"vm: begin b\n{DIED}", 1)
        self.assertEqual(suite.passed, 2)
        self.assertEqual(suite.failed, ["b (not run to its end)",
                                        "c (not run to its end)"])

    def test_a_program_that_ends_badly_or_says_nothing_fails(self):
        suite = self.machine(f"vm: plan a b\nvm: begin a\n{GOOD}vm: end a 134\n"
                             "vm: begin b\nAbortedvm: end b 0\n", 1)
        self.assertEqual(suite.failed, ["a: the program itself (134)", "b: no test ran"])

    def test_a_host_without_a_machine_skips(self):
        suite = self.machine("vm: skipped: qemu-system-x86_64 is missing\n")
        self.assertEqual((suite.failed, suite.skipped), ([], ["qemu-system-x86_64 is missing"]))


class ReportTest(FolderTest):
    def last_line(self, *arguments):
        done = subprocess.run([sys.executable, tally.__file__, *arguments], check=False,
                              stdout=subprocess.PIPE, encoding="utf-8")
        return done.returncode, done.stdout.splitlines()[-1]

    def test_the_last_line_when_all_is_well(self):
        path = self.write("node", "# pass 3\n# fail 0\n")
        self.assertEqual(self.last_line("node", "sdk", path, "0"), (0, "3 passed, 0 failed"))

    def test_the_last_line_when_a_case_failed(self):
        path = self.write("py", UNITTEST)
        self.assertEqual(self.last_line("unittest", "py", path, "1"),
                         (1, "1 passed, 1 failed, 1 skipped"))

    def test_names_come_before_the_last_line(self):
        suite = tally.Suite("sdk")
        suite.failed.append("resumes a stream")
        out = io.StringIO()
        self.assertEqual(tally.report([suite], out), 1)
        self.assertIn("FAILED sdk: resumes a stream\n0 passed, 1 failed\n", out.getvalue())


if __name__ == "__main__":
    unittest.main()
