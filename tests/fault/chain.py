"""
The audit's chain, checked by a reader of our own: SHA-256 and the lines, nothing of the service's.
"""

import hashlib
import json

from contract import command, sandbox

HASH = ',"hash":"'
TAIL = len(HASH) + 64 + len('"}\n')


def _word(enum, value, prefix):
    return enum.Name(value)[len(prefix):]


class Chain:
    """lines: an export. problems: what is wrong with it."""

    def __init__(self, lines):
        self.problems = []
        self.entries = []
        self.by_resource = {}
        previous = "0" * 64
        for number, line in enumerate(lines.splitlines(keepends=True), 1):
            text = line[:-TAIL]
            said = line[-TAIL:][len(HASH):-3]
            entry = json.loads(line)
            if hashlib.sha256(text.encode()).hexdigest() != said:
                self.problems.append(f"entry {number} has not its hash")
            if entry["sequence"] != number or entry["previous_hash"] != previous:
                self.problems.append(f"entry {number} does not follow the one before")
            previous = said
            self.entries.append(entry)
            self.by_resource.setdefault(entry.get("resource_id"), []).append(entry)

    def _told(self, resource, action, **members):
        return any(entry["action"] == action and
                   all(entry.get(name) == value for name, value in members.items())
                   for entry in self.by_resource.get(resource, ()))

    def _check_sandbox(self, message):
        name = message.sandbox_id
        if not self._told(name, "sandbox.create"):
            self.problems.append(f"{name} was created, and no entry tells of it")
        cause = _word(sandbox.EndCause, message.end_cause, "END_CAUSE_")
        if message.HasField("end_time") and not self._told(name, "sandbox.end", reason=cause):
            self.problems.append(f"{name} ended as {cause}, and no entry tells of it")

    def _check_command(self, message):
        name = message.command_id
        if not self._told(name, "command.start", outcome="ok"):
            self.problems.append(f"{name} was started, and no entry tells of it")
        cause = _word(command.ExitCause, message.exit_cause, "EXIT_CAUSE_")
        if message.HasField("end_time") and not self._told(name, "command.end", reason=cause):
            self.problems.append(f"{name} ended as {cause}, and no entry tells of it")

    def check(self, found):
        """What is there must have been told of, and what was told of must be there."""
        for message in found.sandboxes.values():
            self._check_sandbox(message)
        for message in found.commands.values():
            self._check_command(message)
        for message in found.artifacts:
            if not self._told(message.artifact_id, "artifact.collect"):
                self.problems.append(f"{message.artifact_id} is kept, and no entry tells of it")
        for message in found.previews:
            if not self._told(message.preview_id, "preview.create"):
                self.problems.append(f"{message.preview_id} is open, and no entry tells of it")
        artifacts = {message.artifact_id for message in found.artifacts}
        for entry in self.entries:
            made = entry["action"] in ("sandbox.create", "artifact.collect")
            if made and entry["outcome"] == "ok" and \
                    entry["resource_id"] not in artifacts and \
                    entry["resource_id"] not in found.sandboxes:
                self.problems.append(f"entry {entry['sequence']} tells of what is not there")
        return self.problems
