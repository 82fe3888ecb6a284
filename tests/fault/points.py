"""
Every failpoint: which program has it, what can happen there, and how often it is passed in one
scenario, about. The names stand in the source; `missing` says where the two differ.
"""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]

DIE = ("kill9", "delay")
FAIL = ("kill9", "delay", "eio", "enospc")

# name: (actions, passings)
SERVER = {
    "store.write.before": (FAIL, 60),
    "store.write.after": (FAIL, 60),
    "store.write.marked": (DIE, 60),
    "sandbox.create.intended": (DIE, 4),
    "sandbox.create.built": (DIE, 6),
    "sandbox.create.recorded": (DIE, 6),
    "sandbox.end.begun": (DIE, 4),
    "sandbox.end.killed": (DIE, 4),
    "sandbox.end.settled": (DIE, 4),
    "sandbox.end.recorded": (DIE, 4),
    "sandbox.change.unrecorded": (DIE, 6),
    "sandbox.change.recorded": (DIE, 6),
    "sandbox.freeze.done": (DIE, 3),
    "sandbox.reconcile.listed": (DIE, 1),
    "sandbox.reconcile.adopted": (DIE, 4),
    "sandbox.reconcile.removed": (DIE, 1),
    "sandbox.reconcile.restated": (DIE, 1),
    "sandbox.reconcile.settled": (DIE, 1),
    "command.reconcile.attached": (DIE, 4),
    "command.reconcile.lost": (DIE, 1),
    "service.reconciled": (DIE, 1),
    "pool.built": (DIE, 6),
    "pool.destroy": (DIE, 1),
    "command.spawn.intended": (DIE, 12),
    "command.spawn.spawned": (DIE, 12),
    "command.start.done": (DIE, 12),
    "command.output.ready": (DIE, 200),
    "command.output.drained": (DIE, 12),
    "command.end.begun": (DIE, 12),
    "command.end.collected": (DIE, 12),
    "command.end.recorded": (DIE, 12),
    "command.end.acknowledged": (DIE, 12),
    "command.kill.intended": (DIE, 3),
    "command.kill.done": (DIE, 3),
    "log.write": (FAIL, 200),
    "log.opened": (DIE, 150),
    "log.size": (("short", "kill9"), 150),
    "log.move": (FAIL, 150),
    "log.moved": (DIE, 150),
    "log.finished": (DIE, 12),
    "artifact.copy": (FAIL, 12),
    "artifact.write": (("short", "kill9"), 12),
    "artifact.copied": (DIE, 4),
    "artifact.published": (DIE, 4),
    "artifact.collected": (DIE, 3),
    "artifact.removed": (DIE, 1),
    "tombstone.removed": (DIE, 1),
    "answer.done": (DIE, 6),
    "answer.end": (DIE, 20),
}

STEPS = ("cgroup", "sockets", "stage", "volume", "clone", "cgroup-settle", "userns", "layer",
         "template", "overlay", "dev", "start", "wait", "mount-namespace", "proc", "pivot", "net",
         "uts", "session", "rlimits", "capabilities", "exec")

SANDBOXD = {
    **{f"sandboxd.step.{step}": (FAIL, 6) for step in STEPS},
    "sandboxd.build.done": (DIE, 6),
    "sandboxd.note.before": (FAIL, 12),
    "sandboxd.note.after": (DIE, 12),
    "sandboxd.answer.before": (DIE, 20),
    "sandboxd.answer.after": (DIE, 20),
    "sandboxd.teardown.before": (DIE, 4),
    "sandboxd.teardown.kill": (DIE, 4),
    "sandboxd.teardown.remove": (DIE, 4),
    "sandboxd.teardown.removed": (DIE, 4),
    "sandboxd.forget.before": (DIE, 4),
    "sandboxd.forget.after": (DIE, 4),
    "sandboxd.freeze.before": (FAIL, 3),
    "sandboxd.freeze.after": (DIE, 3),
    "sandboxd.adopt.before": (DIE, 4),
    "sandboxd.adopt.after": (DIE, 4),
    "sandboxd.takeover.before": (DIE, 3),
    "sandboxd.takeover.after": (DIE, 3),
}

ALL = {**SERVER, **SANDBOXD}

# Not among them: it happens once and lasts.
CLOCK = "clock.wall"

# A service that is broken on purpose, to see that the checker sees it: (point, passing).
BROKEN = {
    "answer": ("broken.answer", 0),
    "write": ("broken.write", 40),
    "output": ("broken.output", 30),
    "forget": ("broken.forget", 0),
    "entry": ("broken.entry", 0),
}

# What is passed between doing what a request with a request_id asks for and answering it.
BETWEEN_CREATE = ("sandbox.create.intended", "sandbox.create.built", "sandbox.create.recorded",
                  "store.write.before", "store.write.after", "store.write.marked", "answer.end")
BETWEEN_RUN = ("command.spawn.intended", "command.spawn.spawned", "command.start.done",
               "store.write.before", "store.write.after", "store.write.marked", "answer.end",
               "log.moved", "command.end.begun", "command.end.recorded",
               "command.end.acknowledged")


def _in_source():
    sources = [*ROOT.glob("server/**/*.c"), ROOT / "tests/fault/sandboxd_faults.c"]
    names = set()
    for path in sources:
        names |= set(re.findall(r'FAILPOINT(?:_[A-Z]+)?\("([a-z0-9.-]+)"', path.read_text()))
    table = (ROOT / "sandboxd/jail.c").read_text()
    for steps in re.findall(r"struct step \w+_STEPS\[\] = \{(.*?)\};", table, re.S):
        names |= {f"sandboxd.step.{name}" for name in re.findall(r'\{"([a-z-]+)"', steps)}
    return names


def missing():
    """What stands in one of the two lists only: a failpoint that no scenario would pass."""
    known = {*ALL, CLOCK, *(point for point, _ in BROKEN.values())}
    return sorted(_in_source() ^ known)


def choose(random, names, action=None):
    """One of them, as CROWNEST_FAILPOINTS has it."""
    name = random.choice(sorted(names))
    actions, passings = ALL[name]
    action = action or random.choice(actions + ("kill9",) * len(actions))
    if action == "delay":
        action = f"delay:{random.choice((20, 100, 400))}"
    return f"{name}={action}@{random.randint(1, passings)}"
