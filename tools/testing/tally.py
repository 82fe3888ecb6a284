#!/usr/bin/env python3
"""Counts the test cases that ran, from what the runners of each language wrote.

    tally.py KIND NAME FILE STATUS [KIND NAME FILE STATUS]...

KIND is bazel (FILE is a build event file), node (the output of `node --test`), unittest (the output
of `python3 -m unittest`), programs (the output of tests/vm/run) or fault (that of tests/fault/run);
NAME is what the suite is called here; STATUS is its runner's exit code. Prints each suite, the names of what failed, and last the line

    N passed, N failed[, N skipped]

Exits with 0 only if something passed and nothing failed. What a runner should have run and did not
is a failure: a suite without a test, a test that ended its process, a target that was not built.
A C test that is no cmocka program is tagged `one-case`: it passes or fails as a whole.
"""

import json
import re
import sys
import urllib.parse


class Suite:
    """What one runner ran."""

    def __init__(self, name):
        self.name = name
        self.passed = 0
        self.failed = []
        self.skipped = []

    def add(self, other):
        self.passed += other.passed
        self.failed += [f"{other.name}: {case}" for case in other.failed]
        self.skipped += [f"{other.name}: {case}" for case in other.skipped]

    def close(self, status):
        """Nothing at all, and a runner that failed without naming a case, are failures."""
        if not self.passed and not self.failed and not self.skipped:
            self.failed.append("no test ran")
        elif status != 0 and not self.failed:
            self.failed.append(f"the runner ended with {status} although no case failed")


# A test's own output may stand before cmocka's on a line.
CMOCKA = re.compile(
    r"\[(?P<what>=+| RUN      |       OK |  FAILED  |  SKIPPED |  ERROR   )\] (?P<rest>.*)")


class Cmocka:
    """Reads one program's output. A case counts when it is begun and ended."""

    def __init__(self, name):
        self.suite = Suite(name)
        self.current = None
        self.due = 0
        self.in_summary = True
        self.groups = 0

    def end_group(self):
        if self.current is not None:
            self.suite.failed.append(f"{self.current} (the program ended in it)")
            self.current = None
            self.due -= 1
        if self.due > 0:
            self.suite.failed.append(f"{self.due} cases never ran")
        self.due = 0

    def begin_group(self, count):
        self.end_group()
        self.groups += 1
        self.due = count
        self.in_summary = False

    def end_case(self, what):
        if what == "OK":
            self.suite.passed += 1
        elif what == "SKIPPED":
            self.suite.skipped.append(self.current)
        else:
            self.suite.failed.append(self.current)
        self.current = None
        self.due -= 1

    def line(self, text):
        match = CMOCKA.search(text)
        if not match:
            return
        what, rest = match["what"].strip(), match["rest"].strip()
        if what.startswith("="):
            running = re.match(r"Running (\d+) test", rest)
            if running:
                self.begin_group(int(running[1]))
            else:
                self.in_summary = True
        elif self.in_summary:
            return
        elif what == "RUN":
            self.current = rest
        elif self.current is not None and rest == self.current:
            self.end_case(what)

    def read(self, lines):
        for text in lines:
            self.line(text)
        self.end_group()
        return self.suite


class BazelEvents:
    """What a build event file says of test targets: kind, status and log of each."""

    def __init__(self):
        self.kinds = {}
        self.one_case = set()
        self.results = {}
        self.problems = []

    def event(self, event):
        ident = event.get("id", {})
        if "targetConfigured" in ident:
            kind = event.get("configured", {}).get("targetKind", "")
            if kind.endswith("_test rule"):
                label = ident["targetConfigured"]["label"]
                self.kinds[label] = kind
                if kind != "cc_test rule" or "one-case" in event["configured"].get("tag", []):
                    self.one_case.add(label)
        elif "testResult" in ident:
            result = event.get("testResult", {})
            self.results[ident["testResult"]["label"]] = (result.get("status", "NO_STATUS"),
                                                          log_path(result))
        elif "aborted" in event and "pattern" in ident:
            self.problems.append(event["aborted"].get("description", "loading failed").strip())
        elif "targetCompleted" in ident and not event.get("completed", {}).get("success"):
            label = ident["targetCompleted"]["label"]
            if label not in self.kinds:
                self.problems.append(f"{label} was not built")


def log_path(result):
    for output in result.get("testActionOutput", []):
        if output.get("name") == "test.log":
            return urllib.parse.unquote(urllib.parse.urlparse(output["uri"]).path)
    return None


def bazel_target(label, one_case, status, log):
    if log is None:
        suite = Suite(label)
        suite.failed.append(f"not run ({status})")
        return suite
    with open(log, encoding="utf-8", errors="replace") as lines:
        reader = Cmocka(label)
        suite = reader.read(lines)
    if one_case and not reader.groups:
        suite.passed += status == "PASSED"
    elif not suite.passed and not suite.failed and not suite.skipped:
        suite.failed.append("no test ran")
    if status != "PASSED" and not suite.failed:
        suite.failed.append(f"the program itself ({status})")
    return suite


def read_bazel(name, path):
    suite = Suite(name)
    events = BazelEvents()
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            events.event(json.loads(line))
    for label in sorted(events.kinds):
        status, log = events.results.get(label, ("NO_STATUS", None))
        suite.add(bazel_target(label, label in events.one_case, status, log))
    suite.failed += events.problems
    return suite


def read_node(name, path):
    """Both of Node's reporters: TAP (`# pass 3`) and spec (`ℹ pass 3`)."""
    suite = Suite(name)
    counts = {}
    names = []
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            count = re.match(r"(?:#|ℹ) (pass|fail|cancelled|skipped|todo) (\d+)$", line.strip())
            if count:
                counts[count[1]] = int(count[2])
            failed = re.match(r"\s*(?:not ok \d+ -|✖) (.*)$", line)
            if failed and not re.search(r"# (TODO|SKIP)", line):
                names.append(failed[1].strip())
    suite.passed = counts.get("pass", 0)
    bad = counts.get("fail", 0) + counts.get("cancelled", 0)
    # Reporters name a case's parents and, again, the whole list: keep as many as were counted.
    names = list(dict.fromkeys(re.sub(r" \([\d.]+ms\)$", "", n) for n in names))
    names = [n for n in names if n != "failing tests:"]
    suite.failed = (names + ["(not named)"] * bad)[:bad]
    suite.skipped = ["(not named)"] * (counts.get("skipped", 0) + counts.get("todo", 0))
    return suite


def read_unittest(name, path):
    suite = Suite(name)
    ran = 0
    skipped = 0
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            failed = re.match(r"(?:FAIL|ERROR|UNEXPECTED SUCCESS): (.*)$", line)
            if failed:
                suite.failed.append(failed[1].strip())
            total = re.match(r"Ran (\d+) tests? in ", line)
            if total:
                ran = int(total[1])
            result = re.match(r"(?:OK|FAILED) \((.*)\)$", line)
            if result:
                for count in re.finditer(r"(?:skipped|expected failures)=(\d+)", result[1]):
                    skipped += int(count[1])
    suite.skipped = ["(not named)"] * skipped
    suite.passed = max(ran - skipped - len(suite.failed), 0)
    return suite


def read_programs(name, path):
    """Programs that something else runs: each one's output between two lines, all named beforehand."""
    suite = Suite(name)
    planned = []
    program, output = None, []
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            # A program's last line may lack its end.
            match = re.search(r"(?:vm|coverage): (plan|begin|end|skipped:) (.+)$", line.strip())
            if not match:
                output.append(line)
                continue
            what, rest = match[1], match[2].split()
            if what == "plan":
                planned = rest
            elif what == "skipped:":
                suite.skipped.append(match[2])
            elif what == "begin":
                program, output = rest[0], []
            elif program is not None and rest[0] == program:
                output.append(line[:match.start()])
                suite.add(vm_program(program, output, rest[-1]))
                planned = [p for p in planned if p != program]
                program = None
    suite.failed += [f"{p} (not run to its end)" for p in planned]
    return suite


def vm_program(program, lines, status):
    suite = Cmocka(program).read(lines)
    if not suite.passed and not suite.failed and not suite.skipped:
        suite.failed.append("no test ran")
    if status != "0" and not suite.failed:
        suite.failed.append(f"the program itself ({status})")
    return suite


def read_fault(name, path):
    """A case is a seed, or a way to be broken that is to be seen."""
    suite = Suite(name)
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            match = re.match(r"(seed \d+|broken \w+): (ok|FAILED)\b", line)
            if match and match[2] == "ok":
                suite.passed += 1
            elif match:
                suite.failed.append(match[1])
    return suite


READERS = {"bazel": read_bazel, "node": read_node, "unittest": read_unittest,
           "programs": read_programs, "fault": read_fault}


def read_suite(kind, name, path, status):
    try:
        suite = READERS[kind](name, path)
    except (OSError, ValueError) as error:
        suite = Suite(name)
        suite.failed.append(f"left no result that can be read: {error}")
    suite.close(int(status))
    return suite


def report(suites, out):
    total = Suite("all")
    for suite in suites:
        total.add(suite)
        out.write(f"{suite.name}: {suite.passed} passed, {len(suite.failed)} failed, "
                  f"{len(suite.skipped)} skipped\n")
    for word, cases in (("SKIPPED", total.skipped), ("FAILED", total.failed)):
        for case in cases:
            out.write(f"{word} {case}\n")
    last = f"{total.passed} passed, {len(total.failed)} failed"
    if total.skipped:
        last += f", {len(total.skipped)} skipped"
    out.write(last + "\n")
    return 0 if total.passed and not total.failed else 1


def main(argv):
    if len(argv) < 4 or len(argv) % 4 or any(k not in READERS for k in argv[::4]):
        sys.stderr.write(__doc__)
        return 2
    suites = [read_suite(*argv[i:i + 4]) for i in range(0, len(argv), 4)]
    return report(suites, sys.stdout)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
