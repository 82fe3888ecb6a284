"""
What one seed does, all of it decided beforehand: steps of clients in rounds, and what is broken
meanwhile. Steps name sandboxes and commands by the steps that make them; one whose sandbox did not
come to be is left out when it is its turn.
"""

import dataclasses
import random

import points
import programs

CLIENTS = 4
ROUNDS = 2
READERS = 1000  # of one log at one time
CROWD = 150
CROWD_EVERY = 20  # seeds


@dataclasses.dataclass
class Step:
    kind: str
    tag: str  # unique; stands in labels, paths and lines of what the step makes
    sandbox: str = ""  # tag of the step that created it
    of: str = ""  # tag of the step that made what this one is about
    keyed: bool = False  # with a request_id, and so tried until it is answered
    copies: int = 1  # how many ask for it at the same time
    vanish_ms: float | None = None  # the first try is abandoned so soon
    background: bool = False
    program: programs.Program | None = None
    options: dict = dataclasses.field(default_factory=dict)

    def __str__(self):
        marks = ["keyed"] if self.keyed else []
        marks += [f"x{self.copies}"] if self.copies > 1 else []
        marks += [f"vanish {self.vanish_ms} ms"] if self.vanish_ms is not None else []
        marks += [f"{name}={value}" for name, value in self.options.items()]
        line = f" `{self.program.line}`" if self.program else ""
        about = " ".join(filter(None, (self.sandbox, self.of)))
        return f"{self.tag} {self.kind} {about} {' '.join(marks)}{line}"


@dataclasses.dataclass
class Fault:
    at_ms: int
    kind: str  # kill, freeze, init, storm, fill, tear
    names: tuple = ()
    length_ms: int = 0
    number: int = 0
    server: tuple = ()  # failpoints to come back with
    sandboxd: tuple = ()

    def __str__(self):
        after = ",".join(self.server + self.sandboxd) or "no failpoints"
        return (f"{self.at_ms} ms: {self.kind} {'+'.join(self.names)} for {self.length_ms} ms, "
                f"then {after}")


@dataclasses.dataclass
class Round:
    scripts: list  # of each client
    faults: list


@dataclasses.dataclass
class Plan:
    seed: int
    pool: int
    small_disk: bool
    crowd: int  # sandboxes that live from the beginning to the end
    once_create: str  # failpoints, see once.py
    once_run: str
    first_server: tuple
    first_sandboxd: tuple
    rounds: list

    def lines(self):
        disk = "small" if self.small_disk else "large"
        yield f"seed {self.seed}: pool {self.pool}, {disk} disk, crowd {self.crowd}"
        yield f"once: {self.once_create}, {self.once_run}"
        yield f"begins with {','.join(self.first_server + self.first_sandboxd)}"
        for number, turn in enumerate(self.rounds):
            for script in turn.scripts:
                yield from (f"round {number}: {step}" for step in script)
            yield from (f"round {number}: {fault}" for fault in turn.faults)


class Author:
    """Writes one client's script, keeping in mind what should be there at each step."""

    def __init__(self, chance, number):
        self.chance = chance
        self.number = number
        self.steps = 0
        self.living = []  # tags of sandboxes
        self.paused = set()
        self.open = {}  # tag of a command that waits for input -> its sandbox
        self.asleep = {}
        self.dirs = {}  # tag of a directory -> its sandbox
        self.previews = {}
        self.inputs = {}

    def step(self, kind, protect=True, **more):
        chance = self.chance
        self.steps += 1
        step = Step(kind, f"{kind[0]}{self.number}n{self.steps}", **more)
        if protect:
            step.keyed = chance.random() < 0.75
            if step.keyed and chance.random() < 0.2:
                step.copies = chance.randint(2, 4)
            if chance.random() < 0.25:
                step.vanish_ms = chance.choice((0, 1, 3, 8, 20))
        return step

    def create(self):
        step = self.step("create")
        step.options["ttl_s"] = self.chance.choice((1, 2)) if self.chance.random() < 0.1 else 600
        if self.living and self.chance.random() < 0.06:
            step.options["parent"] = self.chance.choice(self.living)
        if self.chance.random() < 0.1:
            step.options["memory_mb"] = 48
        # What lives but a moment is watched, and nothing is done in it.
        if step.options["ttl_s"] == 600 and "parent" not in step.options:
            self.living.append(step.tag)
        return step

    def awake(self):
        return [tag for tag in self.living if tag not in self.paused]

    def run(self):
        sandbox = self.chance.choice(self.awake())
        step = self.step("run", sandbox=sandbox, background=self.chance.random() < 0.5)
        step.program = self.chance.choice(programs.FINITE)(self.chance, step.tag)
        if self.chance.random() < 0.02:
            step.program = programs.starve(self.chance, step.tag)
        if self.chance.random() < 0.01:
            step.program = programs.count(self.chance, step.tag)
            step.options["readers"] = READERS
        if self.chance.random() < 0.05:
            # Meanwhile the sandbox is paused and resumed.
            step.options["pause"] = True
            step.background = True
        return step

    def cat(self):
        step = self.step("start", sandbox=self.chance.choice(self.awake()), background=True)
        step.program = programs.cat(self.chance, step.tag)
        step.options["input"] = True
        self.open[step.tag] = step.sandbox
        self.inputs[step.tag] = 0
        return step

    def input(self, close=False):
        tag = self.chance.choice(sorted(t for t, s in self.open.items() if s not in self.paused))
        step = self.step("input", protect=False, sandbox=self.open[tag], of=tag)
        step.options["lines"] = self.chance.randint(1, 3000)
        step.options["from"] = self.inputs[tag]
        step.options["close"] = close or self.chance.random() < 0.4
        self.inputs[tag] += step.options["lines"]
        if step.options["close"]:
            del self.open[tag]
        return step

    def sleep(self):
        step = self.step("start", sandbox=self.chance.choice(self.awake()), background=True)
        step.program = programs.sleep(self.chance, step.tag)
        self.asleep[step.tag] = step.sandbox
        return step

    def cancel(self):
        tag = self.chance.choice(sorted(t for t, s in self.asleep.items() if s not in self.paused))
        return self.step("cancel", protect=False, sandbox=self.asleep.pop(tag), of=tag)

    def kill(self):
        tag = self.chance.choice(self.living)
        self.living.remove(tag)
        self.paused.discard(tag)
        for table in (self.open, self.asleep, self.dirs, self.previews):
            for name in [name for name, sandbox in table.items() if sandbox == tag]:
                del table[name]
        return self.step("kill", protect=False, sandbox=tag)

    def pause(self):
        tag = self.chance.choice(self.awake())
        self.paused.add(tag)
        return self.step("pause", protect=False, sandbox=tag)

    def resume(self):
        tag = self.chance.choice(sorted(self.paused))
        self.paused.discard(tag)
        return self.step("resume", protect=False, sandbox=tag)

    def mkdir(self):
        step = self.step("mkdir", sandbox=self.chance.choice(self.awake()))
        self.dirs[step.tag] = step.sandbox
        return step

    def move(self):
        tag = self.chance.choice(sorted(t for t, s in self.dirs.items() if s not in self.paused))
        step = self.step("move", sandbox=self.dirs.pop(tag), of=tag)
        self.dirs[step.tag] = step.sandbox
        return step

    def remove(self):
        tag = self.chance.choice(sorted(t for t, s in self.dirs.items() if s not in self.paused))
        return self.step("remove", sandbox=self.dirs.pop(tag), of=tag)

    def collect(self):
        step = self.step("collect", sandbox=self.chance.choice(self.awake()))
        step.options["size"] = self.chance.choice((0, 100, 200_000, 900_000))
        return step

    def preview(self):
        step = self.step("preview", sandbox=self.chance.choice(self.awake()))
        self.previews[step.tag] = step.sandbox
        return step

    def unpreview(self):
        tag = self.chance.choice(sorted(self.previews))
        return self.step("unpreview", protect=False, sandbox=self.previews.pop(tag), of=tag)

    def update(self):
        step = self.step("update", sandbox=self.chance.choice(self.living))
        step.options["ttl_s"] = self.chance.choice((0, 500))
        return step

    def stall(self):
        step = self.step("stall", protect=False, sandbox=self.chance.choice(self.awake()))
        step.program = programs.burst(self.chance, step.tag)
        return step

    def script(self, count, first):
        steps = [self.create()] if first else []
        while len(steps) < count:
            writer = self.chance.choice(self.possible())
            steps.append(writer())
        return steps

    def possible(self):
        """More of what matters more."""
        can = [self.create] * (6 if len(self.living) < 2 else 2)
        if self.awake():
            can += [self.run] * 10 + [self.cat, self.sleep, self.mkdir, self.mkdir, self.collect,
                                      self.preview, self.pause, self.stall]
        if self.living:
            can += [self.update, self.kill]
        if self.paused:
            can += [self.resume] * 6
        if any(s not in self.paused for s in self.open.values()):
            can += [self.input] * 4
        if any(s not in self.paused for s in self.asleep.values()):
            can += [self.cancel] * 3
        if any(s not in self.paused for s in self.dirs.values()):
            can += [self.move, self.remove]
        if self.previews:
            can += [self.unpreview]
        return can

    def finish(self):
        """Lets everything run to its end."""
        steps = []
        while self.paused:
            steps.append(self.resume())
        while self.open:
            steps.append(self.input(close=True))
        while self.asleep:
            steps.append(self.cancel())
        return steps


def _failpoints(chance):
    """For the next start of each program."""
    server = tuple(points.choose(chance, points.SERVER) for _ in range(chance.choice((0, 1, 1, 2))))
    if chance.random() < 0.04:
        seconds = chance.choice((-7200, -3, 3, 7200))
        server += (f"{points.CLOCK}=jump:{seconds * 1000}@{chance.randint(1, 300)}",)
    sandboxd = tuple(points.choose(chance, points.SANDBOXD)
                     for _ in range(chance.choice((0, 0, 1, 1))))
    return server, sandboxd


def _faults(chance, small_disk):
    faults = []
    for _ in range(chance.randint(2, 3)):
        server, sandboxd = _failpoints(chance)
        fault = Fault(chance.randint(10, 900), "kill", server=server, sandboxd=sandboxd,
                      length_ms=chance.choice((0, 0, 30, 100, 300)))
        fault.names = chance.choice((("crownestd",), ("crownestd",), ("sandboxd",),
                                     ("sandboxd", "crownestd")))
        kind = chance.random()
        if kind < 0.12:
            fault.kind, fault.names, fault.length_ms = "freeze", ("sandboxd",), chance.choice(
                (50, 300, 1000))
        elif kind < 0.22:
            fault.kind, fault.number = "init", chance.randint(0, 1000)
        elif kind < 0.27:
            fault.kind, fault.number = "storm", 300
        elif kind < 0.40 and small_disk:
            fault.kind, fault.length_ms = "fill", chance.choice((50, 300))
        elif kind < 0.44:
            fault.kind, fault.number = "tear", chance.randint(0, 400)
        elif kind < 0.49:
            # Down for so long that the short-lived should have ended.
            fault.length_ms = 2500
        faults.append(fault)
    return sorted(faults, key=lambda fault: fault.at_ms)


def write(seed):
    chance = random.Random(seed)
    pool = chance.choice((0, 0, 2, 4))
    small_disk = chance.random() < 0.2
    authors = [Author(chance, number) for number in range(CLIENTS)]
    rounds = []
    for number in range(ROUNDS):
        scripts = [author.script(chance.randint(5, 9), number == 0) for author in authors]
        rounds.append(Round(scripts, _faults(chance, small_disk)))
    rounds.append(Round([author.finish() for author in authors], []))
    server, sandboxd = _failpoints(chance)
    return Plan(seed, pool, small_disk, CROWD if seed % CROWD_EVERY == 0 else 0,
                once_create=_once(chance, points.BETWEEN_CREATE, 3),
                once_run=_once(chance, points.BETWEEN_RUN, 4),
                first_server=server, first_sandboxd=sandboxd, rounds=rounds)


def _once(chance, names, passings):
    """Soon, since there are few things to be done in between."""
    return f"{chance.choice(names)}=kill9@{chance.randint(1, passings)}"
