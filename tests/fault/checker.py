"""
The model, and whether what was seen fits it. Each check reads the history and what the audit found
at the end, and says what is wrong in the history's list of violations.
"""

import collections
import time

import client
from chain import Chain
from contract import command, sandbox

# A state is never followed by one with a smaller rank; the last ones are final.
RANK = {
    sandbox.SANDBOX_STATE_CREATING: 0,
    sandbox.SANDBOX_STATE_RUNNING: 1,
    sandbox.SANDBOX_STATE_PAUSED: 1,
    sandbox.SANDBOX_STATE_KILLED: 2,
    sandbox.SANDBOX_STATE_FAILED: 2,
}
TTL_GRACE_S = 5
START_LIMIT_S = 5
CLOCK_S = 0.05  # between two readings of the same clock


def _seconds(timestamp):
    return timestamp.seconds + timestamp.nanos / 1e9


def _state(message):
    return sandbox.SandboxState.Name(message.state)[len("SANDBOX_STATE_"):]


def _cause(message):
    return sandbox.EndCause.Name(message.end_cause)[len("END_CAUSE_"):]


class Checker:
    def __init__(self, history, service, found):
        """found: what the audit read at the end, see scenario.Found."""
        self.history = history
        self.service = service
        self.found = found
        self.by_step = collections.defaultdict(list)
        for message in found.sandboxes.values():
            self.by_step[message.labels.get("step", "")].append(message)

    def wrong(self, text):
        self.history.violation(text)

    def of_kind(self, *kinds):
        return [record for record in self.history.records.values()
                if record.step.kind in kinds and not record.left_out]

    def check(self):
        self.check_starts()
        for record in self.of_kind("create"):
            self.check_create(record)
        self.check_no_strangers()
        for sandbox_id, message in self.found.sandboxes.items():
            self.check_life(sandbox_id)
            self.check_end(message)
            self.check_ttl(message)
            self.check_pauses(message)
            self.check_receipt(message)
        if self.found.usage_problem:
            self.wrong(f"usage and receipts differ: {self.found.usage_problem}")
        for record in self.of_kind("run", "start", "stall"):
            self.check_command(record)
        self.check_monotone_commands()
        self.check_effects()
        for record in self.of_kind("mkdir", "move", "remove"):
            self.check_change(record)
        self.check_workspaces()
        self.check_artifacts()
        self.check_previews()
        self.check_updates()
        self.check_refusals()
        for problem in Chain(self.found.export).check(self.found):
            self.wrong(problem)

    # --- sandboxes ---

    def check_starts(self):
        for seconds in self.service.start_seconds:
            if seconds > START_LIMIT_S:
                self.wrong(f"the service took {seconds:.1f} s to take over its sandboxes")

    def check_create(self, record):
        """One of it at most, and exactly one when it was acknowledged."""
        made = self.by_step[record.tag]
        ran = [message for message in made if message.HasField("start_time")]
        told = {answer.sandbox.sandbox_id for answer in record.answers}
        if len(told) > 1:
            self.wrong(f"{record.tag}: one request_id, and the answers {sorted(told)}")
        for sandbox_id in told:
            if sandbox_id not in self.found.sandboxes:
                self.wrong(f"{record.tag}: {sandbox_id} was acknowledged and is not there")
        if len(ran) > 1:
            self.wrong(f"{record.tag}: made {[message.sandbox_id for message in ran]}")
        if ran and not record.may_have_happened:
            self.wrong(f"{record.tag}: refused as not admitted, and {ran[0].sandbox_id} is there")
        for message in made:
            if not message.HasField("start_time") and _cause(message) != "CREATE_FAILED":
                self.wrong(f"{message.sandbox_id} never ran and ended as {_cause(message)}")

    def check_no_strangers(self):
        for tag, messages in self.by_step.items():
            if tag not in self.history.records:
                self.wrong(f"nobody created {[message.sandbox_id for message in messages]}")

    def check_life(self, sandbox_id):
        """What was seen later is a later state, and a tombstone stays as it is."""
        seen = sorted(self.history.sandboxes.get(sandbox_id, []), key=lambda one: one.begin)
        for i, earlier in enumerate(seen):
            for later in seen[i + 1:]:
                if later.begin < earlier.end:
                    continue
                if RANK[later.message.state] < RANK[earlier.message.state]:
                    self.wrong(f"{sandbox_id} was {_state(earlier.message)}, and then "
                               f"{_state(later.message)}")
                if RANK[earlier.message.state] == 2 and later.message != earlier.message:
                    self.wrong(f"the tombstone of {sandbox_id} has changed:\n{earlier.message}\n"
                               f"became\n{later.message}")

    def steps_about(self, message, kind):
        return [record for record in self.of_kind(kind)
                if record.attempts and record.step.sandbox == message.labels.get("step")]

    def check_end(self, message):
        """An end has a cause that somebody or something gave."""
        if not message.HasField("end_time"):
            self.check_still_there(message)
            return
        cause, end = _cause(message), _seconds(message.end_time)
        jumped = self.found.clock_jumped
        kills = [record for record in self.steps_about(message, "kill")
                 if record.begun <= end or jumped]
        inits = [at for at, kind, _ in self.history.faults
                 if kind == "init" and (at <= end or jumped)]
        parent = self.found.sandboxes.get(message.parent_sandbox_id)
        fair = {
            "KILLED": bool(kills) or end >= self.found.audit_time or jumped,
            "TTL": end >= _seconds(message.expire_time) - CLOCK_S or jumped,
            "INIT_DIED": bool(inits),
            "CREATE_FAILED": not message.HasField("start_time") or self.was_refused(message),
            "PARENT": parent is not None and parent.HasField("end_time"),
        }
        if not fair.get(cause, False):
            self.wrong(f"{message.sandbox_id} ended as {cause} ({message.end_detail}) with "
                       f"{len(kills)} kills, {len(inits)} inits killed, "
                       f"{_seconds(message.expire_time) - end:.2f} s left")

    def check_receipt(self, message):
        """Its intervals are its life, without a hole or an overlap."""
        receipt = self.found.receipts[message.sandbox_id]
        intervals = receipt.intervals
        if not intervals:
            if message.HasField("start_time"):
                self.wrong(f"{message.sandbox_id} ran, and its receipt is empty")
            return
        for one, following in zip(intervals, intervals[1:]):
            if one.end_time != following.start_time or one.paused == following.paused:
                self.wrong(f"{message.sandbox_id}: {following} does not go on where {one} ended")
        if intervals[0].start_time != message.start_time or intervals[0].paused:
            self.wrong(f"{message.sandbox_id} is billed from {intervals[0].start_time} on")
        if not message.HasField("end_time"):
            return
        end = intervals[-1].end_time.ToMicroseconds()
        lived = end - intervals[0].start_time.ToMicroseconds()
        if sum(one.duration_usec for one in intervals) != lived:
            self.wrong(f"{message.sandbox_id} lived {lived} us, and its receipt is another sum")
        if _seconds(message.end_time) < end / 1e6 - CLOCK_S and not self.found.clock_jumped:
            self.wrong(f"{message.sandbox_id} is billed beyond its end")

    def was_refused(self, message):
        """Of one that ran: its record could not be written, and its creator was told so."""
        record = self.history.records.get(message.labels.get("step"))
        return record is not None and not record.acknowledged

    def check_still_there(self, message):
        for record in self.steps_about(message, "kill"):
            if record.acknowledged:
                self.wrong(f"{message.sandbox_id} was killed and is {_state(message)}")

    def check_ttl(self, message):
        expire = _seconds(message.expire_time)
        end = _seconds(message.end_time) if message.HasField("end_time") else time.time()
        over = self.service.uptime(expire, end)
        if over > TTL_GRACE_S and not self.found.clock_jumped:
            self.wrong(f"{message.sandbox_id} has outlived its ttl by {over:.1f} s of service")

    def check_pauses(self, message):
        """Whoever looks after a pause or a resume, and before the next one, sees it so."""
        changes = sorted(self.steps_about(message, "pause") + self.steps_about(message, "resume"),
                         key=lambda record: record.begun)
        for seen in self.history.sandboxes.get(message.sandbox_id, []):
            before = [record for record in changes if record.begun < seen.end]
            if not before or seen.message.state not in (sandbox.SANDBOX_STATE_RUNNING,
                                                        sandbox.SANDBOX_STATE_PAUSED):
                continue
            last = before[-1]
            paused = seen.message.state == sandbox.SANDBOX_STATE_PAUSED
            if last.acknowledged and last.ended <= seen.begin and \
                    paused != (last.step.kind == "pause"):
                self.wrong(f"{message.sandbox_id} is {_state(seen.message)} after a "
                           f"{last.step.kind}")

    # --- commands ---

    @staticmethod
    def tag_of(message):
        """Of the step that a command was run for; the audit's own have none."""
        words = message.argv[-1].split(" ")
        return words[1] if words[0] == "echo" and words[2:3] == [">>"] else ""

    def commands_of(self, tag):
        return [message for message in self.found.commands.values()
                if self.tag_of(message) == tag]

    def check_command(self, record):
        made = self.commands_of(record.tag)
        told = {answer if isinstance(answer, str) else answer.command.command_id
                for answer in record.answers}
        if len(told) > 1:
            self.wrong(f"{record.tag}: one request_id, and the commands {sorted(told)}")
        for command_id in told:
            if command_id not in self.found.commands:
                self.wrong(f"{record.tag}: {command_id} was acknowledged and is not there")
        if len(made) > 1:
            self.wrong(f"{record.tag} is there as {[message.command_id for message in made]}")
        if made and not record.may_have_happened:
            self.wrong(f"{record.tag}: refused as not admitted, and {made[0].command_id} is there")
        for message in made:
            self.check_exit(record, message)
            self.check_log(record, message)

    def sandbox_ended(self, message):
        owner = self.found.sandboxes.get(message.sandbox_id)
        return owner is not None and owner.HasField("end_time")

    def check_exit(self, record, message):
        program = record.step.program
        cause = command.ExitCause.Name(message.exit_cause)[len("EXIT_CAUSE_"):]
        cancels = [other for other in self.of_kind("cancel")
                   if other.step.of == record.tag and other.attempts]
        if not message.HasField("end_time"):
            self.wrong(f"{record.tag}: {message.command_id} has no end")
            return
        right = {
            "EXITED": program.starved or message.exit_code == program.code and not program.signal,
            "SIGNALED": message.signal == program.signal != 0,
            "OUT_OF_MEMORY": program.starved,
            "CANCELLED": bool(cancels),
            "TIMEOUT": program.timeout_s > 0,
            "SANDBOX_ENDED": self.sandbox_ended(message),
        }
        if cause == "EXITED" and program.endless and "input" not in record.step.options:
            right["EXITED"] = False
        if not right.get(cause, False):
            self.wrong(f"{record.tag}: {message.command_id} ended as {cause} "
                       f"{message.exit_code} {message.signal}")

    def expected(self, record):
        """Both streams in full, of one that runs to its end."""
        if "input" not in record.step.options:
            return record.step.program.stdout, record.step.program.stderr
        lines = sum(other.step.options["lines"] for other in self.of_kind("input")
                    if other.step.of == record.tag)
        return b"".join(client.input_lines(record.tag, 0, lines)), b""

    def is_complete(self, record, message):
        """Whether it has written all that it should have."""
        if message.exit_cause == command.EXIT_CAUSE_EXITED:
            inputs = [other for other in self.history.records.values()
                      if other.step.kind == "input" and other.step.of == record.tag]
            return all(other.acknowledged for other in inputs)
        return message.exit_cause in (command.EXIT_CAUSE_SIGNALED,
                                      command.EXIT_CAUSE_OUT_OF_MEMORY)

    def check_log(self, record, message):
        log = self.found.logs[message.command_id]
        for problem in log.problems:
            self.wrong(f"{record.tag}: the log of {message.command_id}: {problem}")
        if message.HasField("end_time") and log.exited is None:
            self.wrong(f"{record.tag}: the log of {message.command_id} has no exited")
        elif log.exited and not self.found.filled and log.offset != message.log_bytes:
            self.wrong(f"{record.tag}: the log of {message.command_id} has {log.offset} bytes of "
                       f"{message.log_bytes}")
        if log.gaps and not self.found.log_may_fail:
            self.wrong(f"{record.tag}: the log of {message.command_id} has gaps: {log.gaps}")
        if self.found.filled:
            pass  # what was taken out of a pipe in vain may not have been counted before a kill
        elif log.gaps:
            self.check_around_gaps(record, message, log)
            return
        else:
            self.check_streams(record, message, log)
        for transcript in record.transcripts:
            self.check_transcript(record, message, log, transcript)

    def check_streams(self, record, message, log):
        for stream, whole in zip((command.LOG_STREAM_STDOUT, command.LOG_STREAM_STDERR),
                                 self.expected(record)):
            kept = log.text(stream)
            if not whole.startswith(kept) or (self.is_complete(record, message) and kept != whole):
                self.wrong(f"{record.tag}: stream {stream} of {message.command_id}: "
                           f"{difference(whole, kept)}")

    def check_around_gaps(self, record, message, log):
        """What is missing is where the gaps say, and all else is where it belongs."""
        stdout, stderr = self.expected(record)
        if self.is_complete(record, message) and log.offset != len(stdout) + len(stderr):
            self.wrong(f"{record.tag}: {log.offset} bytes of {message.command_id} were kept or are "
                       f"in gaps, and it wrote {len(stdout) + len(stderr)}")
        for offset, data in log.pieces if not stderr else ():
            if stdout[offset:offset + len(data)] != data:
                self.wrong(f"{record.tag}: at {offset} of {message.command_id}: "
                           f"{difference(stdout[offset:], data)}")

    def check_transcript(self, record, message, log, transcript):
        """What a reader was told live is what the log holds."""
        for problem in transcript.problems:
            self.wrong(f"{record.tag}: a reader of {message.command_id}: {problem}")
        if transcript.command_id != message.command_id:
            self.wrong(f"{record.tag}: a reader got {transcript.command_id}")
        for stream in (command.LOG_STREAM_STDOUT, command.LOG_STREAM_STDERR):
            kept, told = log.text(stream), transcript.text(stream)
            whole = transcript.exited is not None
            if not kept.startswith(told) or (whole and kept != told):
                self.wrong(f"{record.tag}: a reader of {message.command_id}: "
                           f"{difference(kept, told)}")

    def check_monotone_commands(self):
        """An end stays as it was first told."""
        for command_id, seen in self.history.commands.items():
            ended = sorted((one for one in seen if one.message.HasField("end_time")),
                           key=lambda one: one.end)
            for earlier in ended[:1]:
                for later in seen:
                    if later.begin > earlier.end and later.message != earlier.message:
                        self.wrong(f"{command_id} has changed after its end:\n{earlier.message}\n"
                                   f"became\n{later.message}")

    def check_effects(self):
        """From inside: nothing ran twice, what ran to its end ran, what was refused did not."""
        for tags in [*self.history.effects, *self.found.effects.values()]:
            for tag, count in collections.Counter(tags).items():
                if count > 1:
                    self.wrong(f"{tag} ran {count} times")
                record = self.history.records.get(tag)
                if record is None or not record.may_have_happened:
                    self.wrong(f"{tag} ran and should not have")
        for sandbox_id, tags in self.found.effects.items():
            for message in self.found.commands.values():
                tag = self.tag_of(message)
                whole = message.exit_cause == command.EXIT_CAUSE_EXITED
                if message.sandbox_id == sandbox_id and whole and tag and tag not in tags:
                    self.wrong(f"{tag} exited in {sandbox_id} and has not run there")

    # --- what else there is ---

    def check_change(self, record):
        """Once means that the second try does not meet what the first has done."""
        for attempt in record.attempts:
            refusal = attempt.refusal
            if refusal is None or not refusal.reason.startswith("FILE_"):
                continue
            if refusal.reason in ("FILE_EXISTS", "FILE_NOT_FOUND") and (
                    record.step.keyed or attempt is record.attempts[0]):
                self.wrong(f"{record.tag} {record.step.kind}: {refusal}")

    def check_workspaces(self):
        """Directories are where the last acknowledged change has put them."""
        moved = {record.step.of: record for record in self.of_kind("move", "remove")
                 if record.attempts}
        for record in self.of_kind("mkdir", "move"):
            owner = self.owner(record)
            if owner is None or owner.sandbox_id not in self.found.workspaces:
                continue
            there = record.tag in self.found.workspaces[owner.sandbox_id]
            next_change = moved.get(record.tag)
            if next_change is None and record.acknowledged and not there:
                self.wrong(f"{record.tag}: acknowledged, and not in {owner.sandbox_id}")
            if there and next_change is not None and next_change.acknowledged:
                self.wrong(f"{record.tag}: still there after {next_change.tag}")
            if there and not record.may_have_happened:
                self.wrong(f"{record.tag}: refused as not admitted, and there")

    def owner(self, record):
        """The sandbox that a step was about."""
        create = self.history.records.get(record.step.sandbox)
        answers = create.answers if create else []
        return self.found.sandboxes.get(answers[0].sandbox.sandbox_id) if answers else None

    def check_artifacts(self):
        by_name = collections.defaultdict(list)
        for message in self.found.artifacts:
            by_name[message.name].append(message)
            if self.found.digests[message.artifact_id] != message.digest:
                self.wrong(f"{message.artifact_id} holds {self.found.digests[message.artifact_id]} "
                           f"under {message.digest}")
        for record in self.of_kind("collect"):
            self.check_collected(record, by_name.pop(f"{record.tag}.file", []))
        for record in self.of_kind("run"):
            if record.step.program.collect:
                self.check_declared(record, by_name.pop(record.step.program.collect, []))
        for name, messages in by_name.items():
            if not name.endswith((".file", ".out")):
                self.wrong(f"nobody collected {name}: {messages}")

    def check_collected(self, record, made):
        told = {answer.artifacts[0].artifact_id for answer in record.answers}
        if len(told) > 1 or len(made) > 1:
            self.wrong(f"{record.tag}: collected {len(made)} times, told as {sorted(told)}")
        if told and told != {message.artifact_id for message in made}:
            self.wrong(f"{record.tag}: {sorted(told)} acknowledged, {made} there")
        if made and not record.may_have_happened:
            self.wrong(f"{record.tag}: refused as not admitted, and collected")
        size = len(record.tag) * record.step.options["size"]
        for message in made:
            if message.size_bytes != size:
                self.wrong(f"{record.tag}: {message.size_bytes} bytes of {size}")

    def check_declared(self, record, made):
        done = [message for message in self.commands_of(record.tag)
                if message.exit_cause == command.EXIT_CAUSE_EXITED]
        failures = sum(len(self.found.logs[message.command_id].exited.collect_failures)
                       for message in done if self.found.logs[message.command_id].exited)
        if len(made) > 1:
            self.wrong(f"{record.tag}: {len(made)} artifacts of one run")
        if done and len(made) + failures != 1:
            self.wrong(f"{record.tag}: exited, and {len(made)} artifacts and {failures} failures")
        if failures and not self.found.artifacts_may_fail and not self.sandbox_ended(done[0]):
            self.wrong(f"{record.tag}: its file could not be collected")
        for message in made:
            if message.digest != record.step.program.digest:
                self.wrong(f"{record.tag}: {message.digest}, not {record.step.program.digest}")

    def check_previews(self):
        there = collections.defaultdict(set)
        for message in self.found.previews:
            there[message.sandbox_id].add(message.preview_id)
        gone = {record.step.of: record for record in self.of_kind("unpreview") if record.attempts}
        told = set()
        for record in self.of_kind("preview"):
            ids = {answer.preview.preview_id for answer in record.answers}
            told |= ids
            if len(ids) > 1:
                self.wrong(f"{record.tag}: one request_id, and the previews {sorted(ids)}")
            for preview_id in ids:
                is_there = any(preview_id in group for group in there.values())
                removal = gone.get(record.tag)
                if removal is None and not is_there:
                    self.wrong(f"{record.tag}: {preview_id} was acknowledged and is not there")
                if removal is not None and removal.acknowledged and is_there:
                    self.wrong(f"{record.tag}: {preview_id} is there after {removal.tag}")
        self.check_extra_previews(there, told)

    def check_extra_previews(self, there, told):
        """More than were told are only those whose makers were not told, one each."""
        for sandbox_id, ids in there.items():
            unsure = [record for record in self.of_kind("preview")
                      if not record.acknowledged and record.may_have_happened
                      and (owner := self.owner(record)) and owner.sandbox_id == sandbox_id]
            if len(ids - told) > len(unsure):
                self.wrong(f"{sandbox_id} has the previews {sorted(ids)}, more than were made")

    def check_updates(self):
        """The labels are those of the last acknowledged update, or of a later one."""
        for message in self.found.sandboxes.values():
            if not message.HasField("start_time"):
                continue  # nobody was told of it, so the updates are those of another try
            updates = sorted(self.steps_about(message, "update"), key=lambda one: one.begun)
            last = next((i for i in reversed(range(len(updates))) if updates[i].acknowledged), -1)
            fair = {record.tag for record in updates[max(last, 0):] if record.may_have_happened}
            fair |= {record.tag for record in updates[:max(last, 0)]
                     if not record.acknowledged and record.may_have_happened}
            fair |= {""} if last < 0 else set()
            if message.labels.get("update", "") not in fair:
                self.wrong(f"{message.sandbox_id} has the labels {dict(message.labels)}; it should "
                           f"be one of {sorted(fair)}")

    def check_refusals(self):
        """Who was told that there is no such sandbox or command was told so for a reason."""
        for record in self.history.records.values():
            for attempt in record.attempts:
                reason = attempt.refusal.reason if attempt.refusal is not None else ""
                if reason in ("SANDBOX_NOT_RUNNING", "PARENT_NOT_RUNNING"):
                    self.check_was_over(record, attempt)
                elif reason == "SANDBOX_PAUSED" and record.step.options.get("pause"):
                    continue
                elif reason in ("COMMAND_NOT_RUNNING", "INPUT_CLOSED", "INPUT_OFFSET_GAP"):
                    self.check_was_ended(record, attempt)
                elif attempt.refusal is not None and reason and not attempt.refusal.retryable \
                        and reason not in ("FILE_EXISTS", "FILE_NOT_FOUND", "PREVIEW_NOT_FOUND"):
                    self.wrong(f"{record.tag} {record.step.kind}: {attempt.refusal}")

    def check_was_over(self, record, attempt):
        tag = record.step.sandbox or record.step.options.get("parent")
        for message in self.by_step[tag]:
            # Ending begins before its time is written down.
            if message.HasField("start_time") and not message.HasField("end_time"):
                self.wrong(f"{record.tag}: {attempt.refusal}, and {message.sandbox_id} is "
                           f"{_state(message)}")

    def check_was_ended(self, record, attempt):
        for message in self.commands_of(record.step.of):
            before = [other for other in self.of_kind("input") if other.step.of == record.step.of
                      and not other.acknowledged]
            if not message.HasField("end_time") and not before:
                self.wrong(f"{record.tag}: {attempt.refusal}, and {message.command_id} runs")


def difference(whole, part):
    """Where two texts part, for a person."""
    at = next((i for i, (a, b) in enumerate(zip(whole, part)) if a != b),
              min(len(whole), len(part)))
    return (f"{len(part)} of {len(whole)} bytes, different at {at}: "
            f"{part[at:at + 40]!r} instead of {whole[at:at + 40]!r}")
