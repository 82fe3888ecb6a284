"""What happened, as clients and the one who breaks things saw it: the checker's only witness."""

import threading
import time

MANY = 3


class Attempt:
    """One call: when it was made, when it ended, and how. refusal None: it was answered."""

    def __init__(self, begin, end, refusal, value):
        self.begin = begin
        self.end = end
        self.refusal = refusal
        self.value = value


class Record:
    """All that was tried of one step. Several threads may be at it."""

    def __init__(self, step):
        self.step = step
        self.attempts = []
        self.transcripts = []
        self.left_out = False  # what it is about did not come to be

    @property
    def tag(self):
        return self.step.tag

    @property
    def answers(self):
        return [attempt.value for attempt in self.attempts if attempt.refusal is None]

    @property
    def acknowledged(self):
        return any(attempt.refusal is None for attempt in self.attempts)

    @property
    def may_have_happened(self):
        return any(attempt.refusal is None or attempt.refusal.admitted != "no"
                   for attempt in self.attempts)

    @property
    def begun(self):
        return min((attempt.begin for attempt in self.attempts), default=None)

    @property
    def ended(self):
        return max((attempt.end for attempt in self.attempts), default=None)


class Seen:
    """A sandbox or a command as an answer showed it, between two points in time."""

    def __init__(self, begin, end, message):
        self.begin = begin
        self.end = end
        self.message = message


class History:
    def __init__(self):
        self.lock = threading.Lock()
        self.start = time.time()
        self.over = False  # nobody is there any more to be asked
        self.lines = []
        self.records = {}  # by tag
        self.sandboxes = {}  # id -> [Seen]
        self.commands = {}
        self.violations = []
        self.faults = []  # (time, kind, what)
        self.effects = []  # of sandboxes that were killed since: tags of what had run

    def say(self, who, text):
        with self.lock:
            self.lines.append((time.time(), who, text))

    @property
    def hopeless(self):
        """What is still to be seen would say no more."""
        return self.over or len(self.violations) >= MANY

    def violation(self, text):
        self.say("VIOLATION", text)
        with self.lock:
            self.violations.append(text)

    def fault(self, kind, what):
        self.say("fault", f"{kind} {what}")
        with self.lock:
            self.faults.append((time.time(), kind, what))

    def record(self, step):
        with self.lock:
            return self.records.setdefault(step.tag, Record(step))

    def attempt(self, record, begin, refusal, value=None):
        end = time.time()
        shown = refusal if refusal is not None else f"ok {value if value is not None else ''}"
        with self.lock:
            record.attempts.append(Attempt(begin, end, refusal, value))
            self.lines.append((begin, record.tag, f"{record.step.kind} -> {shown}"
                                                  f" ({(end - begin) * 1000:.1f} ms)"))

    def see_sandbox(self, begin, message):
        with self.lock:
            seen = self.sandboxes.setdefault(message.sandbox_id, [])
            seen.append(Seen(begin, time.time(), message))

    def see_command(self, begin, message):
        with self.lock:
            seen = self.commands.setdefault(message.command_id, [])
            seen.append(Seen(begin, time.time(), message))

    def text(self):
        """In the order in which things were begun."""
        with self.lock:
            ordered = sorted(self.lines, key=lambda line: line[0])
        return "\n".join(f"{(at - self.start) * 1000:9.1f} ms  {who:10} {text}"
                         for at, who, text in ordered)
