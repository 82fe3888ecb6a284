"""
One client: does the steps of its script one after the other, against a service that goes away and
comes back, and writes down what it was told. What has a request_id, or can be asked for twice, it
asks for until it is answered; all else once.
"""

import threading
import time

import grpc

import plan
import programs
from contract import Refusal, Stubs, artifact, command, file, preview, sandbox
from transcript import Transcript

CALL_S = 30
EFFECTS_S = 5
STEP_S = 40
RETRY_S = 0.03


class Abandoned(Exception):
    """Nobody waits for the answer any more."""


class Client:
    def __init__(self, number, target, secret, history, prefix):
        self.number = number
        self.stubs = Stubs(target, secret)
        self.history = history
        self.prefix = prefix  # of request ids
        self.ids = {}  # tag -> id of what the step made
        self.threads = []

    def close(self):
        self.stubs.close()

    # --- calls ---

    def _call(self, method, request, vanish_ms):
        future = method.future(request, timeout=CALL_S, **self.stubs.calls)
        if vanish_ms is None:
            return future.result()
        time.sleep(vanish_ms / 1000)
        if future.cancel() or future.cancelled():
            raise Abandoned()
        return future.result()

    def ask(self, record, method, request, again, vanish_ms=None):
        """The response, or None: it was refused, or is unknown and may not be asked for again."""
        deadline = time.time() + STEP_S
        while True:
            begin = time.time()
            try:
                response = self._call(method, request, vanish_ms)
            except (Abandoned, grpc.FutureCancelledError):
                self.history.attempt(record, begin, Vanished())
                retryable = True
            except grpc.RpcError as error:
                refusal = Refusal(error)
                self.history.attempt(record, begin, refusal)
                retryable = refusal.retryable
            else:
                self._see(begin, response)
                self.history.attempt(record, begin, None, response)
                return response
            if not retryable or not again or self.history.hopeless:
                return None
            if time.time() > deadline:
                self.history.violation(f"{record.tag}: not answered within {STEP_S} s")
                return None
            vanish_ms = None
            time.sleep(RETRY_S)

    def _see(self, begin, response):
        for field, message in response.ListFields():
            if field.name == "sandbox":
                self.history.see_sandbox(begin, message)
            elif field.name == "command":
                self.history.see_command(begin, message)

    def _request_id(self, step):
        return f"{self.prefix}-{step.tag}" if step.keyed else ""

    def _once(self, step, record, method, request):
        """A mutation: with a request_id by as many as the step says, and what they were told."""
        answers = []

        def one(vanish_ms):
            answers.append(self.ask(record, method, request, step.keyed, vanish_ms))

        others = [threading.Thread(target=one, args=(None,)) for _ in range(step.copies - 1)]
        for thread in others:
            thread.start()
        one(step.vanish_ms)
        for thread in others:
            thread.join()
        return next((answer for answer in answers if answer is not None), None)

    # --- steps ---

    def perform(self, step):
        record = self.history.record(step)
        needed = [tag for tag in (step.sandbox, step.of, step.options.get("parent")) if tag]
        if any(tag not in self.ids for tag in needed):
            record.left_out = True
            return
        getattr(self, step.kind)(step, record)

    def run_script(self, steps):
        for step in steps:
            if not self.history.hopeless:
                self.perform(step)

    def create(self, step, record):
        request = sandbox.CreateSandboxRequest(request_id=self._request_id(step))
        request.ttl.FromMilliseconds(int(step.options["ttl_s"] * 1000))
        request.labels["step"] = step.tag
        request.resources.memory_bytes = step.options.get("memory_mb", 256) << 20
        if "parent" in step.options:
            request.parent_sandbox_id = self.ids[step.options["parent"]]
        answer = self._once(step, record, self.stubs.sandbox.Create, request)
        if answer is not None:
            self.ids[step.tag] = answer.sandbox.sandbox_id

    def _spec(self, step, message):
        message.sandbox_id = self.ids[step.sandbox]
        message.shell = programs.shell(step.program, step.tag)
        message.keep_stdin = "input" in step.options
        if step.program.timeout_s:
            message.timeout.FromMilliseconds(int(step.program.timeout_s * 1000))
        if step.program.collect:
            message.collect.add(path=step.program.collect)

    def start(self, step, record):
        request = command.StartCommandRequest(request_id=self._request_id(step))
        self._spec(step, request.command)
        answer = self._once(step, record, self.stubs.command.Start, request)
        if answer is not None:
            self.ids[step.tag] = answer.command.command_id
            self._follow(record, step.background)

    def run(self, step, record):
        request = command.RunCommandRequest(request_id=self._request_id(step))
        self._spec(step, request.command)

        def one(vanish_ms):
            transcript = Transcript()
            if self._run(step, record, request, vanish_ms, transcript):
                self.ids[step.tag] = transcript.command_id
                self._follow(record, step.background, transcript)

        others = [threading.Thread(target=one, args=(None,)) for _ in range(step.copies - 1)]
        if step.options.get("pause"):
            others.append(threading.Thread(target=self._pause_and_resume, args=(step,)))
        for thread in others:
            thread.start()
        one(step.vanish_ms)
        for thread in others:
            thread.join()
        if step.options.get("pause") and step.keyed and step.tag not in self.ids:
            one(None)

    def _pause_and_resume(self, step):
        for kind in ("pause", "resume"):
            other = plan.Step(kind, f"{step.tag}{kind[0]}", sandbox=step.sandbox)
            self.perform(other)

    def _run(self, step, record, request, vanish_ms, transcript):
        """Until the stream ends, or is cut; whether its first message came."""
        deadline = time.time() + STEP_S
        while True:
            begin = time.time()
            stream = self.stubs.command.Run(request, timeout=STEP_S, **self.stubs.calls)
            if vanish_ms is not None:
                threading.Timer(vanish_ms / 1000, stream.cancel).start()
            refusal = None
            try:
                transcript.read(stream, self.history)
            except grpc.RpcError as error:
                refusal = Refusal(error)
            if transcript.command_id:
                self.history.attempt(record, begin, None, transcript.command_id)
                return True
            self.history.attempt(record, begin, refusal or Vanished())
            over = refusal is not None and not refusal.retryable
            if not step.keyed or over or self.history.hopeless:
                return False
            if time.time() > deadline:
                self.history.violation(f"{record.tag}: does not run within {STEP_S} s")
                return False
            vanish_ms = None
            time.sleep(RETRY_S)

    def _follow(self, record, background, transcript=None):
        if "readers" in record.step.options:
            self._aside(self._read_crowd, record)
        transcript = transcript or Transcript()
        if background or record.step.program.endless:
            self._aside(self._read_log, record, transcript)
        else:
            self._read_log(record, transcript)

    def _aside(self, work, *arguments):
        thread = threading.Thread(target=work, args=arguments)
        thread.start()
        self.threads.append(thread)

    def _open_log(self, record, offset):
        request = command.StreamLogsRequest(command_id=self.ids[record.tag], follow=True,
                                            offset=offset)
        return self.stubs.command.StreamLogs(request, **self.stubs.calls)

    def _read_crowd(self, record):
        """All of them are there at the same time, and one after the other takes what it was sent."""
        streams = [self._open_log(record, 0) for _ in range(record.step.options["readers"])]
        for stream in streams:
            self._read_log(record, Transcript(), stream)

    def _read_log(self, record, transcript, stream=None):
        """On from where it is, to the command's end."""
        record.transcripts.append(transcript)
        transcript.command_id = self.ids[record.tag]
        while transcript.exited is None and not transcript.problems and not self.history.hopeless:
            try:
                transcript.read(stream or self._open_log(record, transcript.offset), self.history)
            except grpc.RpcError as error:
                refusal = Refusal(error)
                self.history.say(record.tag, f"log at {transcript.offset}: {refusal}")
                stream = None
                if not refusal.retryable:
                    transcript.problems.append(f"at {transcript.offset}: {refusal}")
                time.sleep(RETRY_S)
            else:
                if transcript.exited is None:
                    transcript.problems.append(f"ended at {transcript.offset} without exited")

    def input(self, step, record):
        """Numbered lines, from a byte on that every try names again."""
        first = step.options["from"]
        offset = sum(len(line) for line in input_lines(step.of, 0, first))
        data = b"".join(input_lines(step.of, first, step.options["lines"]))
        end = offset + len(data)
        while True:
            request = command.WriteStdinRequest(command_id=self.ids[step.of], offset=offset,
                                                data=data, close=step.options["close"])
            answer = self.ask(record, self.stubs.command.WriteStdin, request, True)
            if answer is None or answer.offset >= end:
                return
            data = data[answer.offset - offset:]
            offset = answer.offset

    def cancel(self, step, record):
        request = command.CancelCommandRequest(command_id=self.ids[step.of])
        self.ask(record, self.stubs.command.Cancel, request, True)

    def kill(self, step, record):
        """Not before what it says from inside was read, if it can be."""
        try:
            parts = self.stubs.file.Read(
                file.ReadFileRequest(sandbox_id=self.ids[step.sandbox], path=programs.EFFECTS),
                timeout=EFFECTS_S, **self.stubs.calls)
            self.history.effects.append(b"".join(part.data for part in parts).decode().split())
        except grpc.RpcError:
            pass
        request = sandbox.KillSandboxRequest(sandbox_id=self.ids[step.sandbox])
        self.ask(record, self.stubs.sandbox.Kill, request, True)

    def pause(self, step, record):
        request = sandbox.PauseSandboxRequest(sandbox_id=self.ids[step.sandbox])
        self.ask(record, self.stubs.sandbox.Pause, request, True)

    def resume(self, step, record):
        request = sandbox.ResumeSandboxRequest(sandbox_id=self.ids[step.sandbox])
        self.ask(record, self.stubs.sandbox.Resume, request, True)

    def update(self, step, record):
        request = sandbox.UpdateSandboxRequest(request_id=self._request_id(step),
                                               sandbox_id=self.ids[step.sandbox],
                                               replace_labels=True)
        request.labels["step"] = step.sandbox
        request.labels["update"] = step.tag
        if step.options["ttl_s"]:
            request.ttl.FromSeconds(step.options["ttl_s"])
        self._once(step, record, self.stubs.sandbox.Update, request)

    def mkdir(self, step, record):
        request = file.MakeDirRequest(request_id=self._request_id(step), path=step.tag,
                                      sandbox_id=self.ids[step.sandbox])
        if self._once(step, record, self.stubs.file.MakeDir, request) is not None:
            self.ids[step.tag] = step.tag

    def move(self, step, record):
        request = file.MoveFileRequest(request_id=self._request_id(step), to_path=step.tag,
                                       sandbox_id=self.ids[step.sandbox], from_path=step.of)
        if self._once(step, record, self.stubs.file.Move, request) is not None:
            self.ids[step.tag] = step.tag

    def remove(self, step, record):
        request = file.RemoveFileRequest(request_id=self._request_id(step), path=step.of,
                                         sandbox_id=self.ids[step.sandbox])
        self._once(step, record, self.stubs.file.Remove, request)

    def collect(self, step, record):
        if not self._write(step, record):
            record.left_out = True
            return
        request = artifact.CollectArtifactsRequest(request_id=self._request_id(step),
                                                   sandbox_id=self.ids[step.sandbox])
        request.items.add(path=f"{step.tag}.file")
        self._once(step, record, self.stubs.artifact.Collect, request)

    def _write(self, step, record):
        """A file that is written again, whole, until that has gone well."""
        def parts():
            open_it = file.WriteFileRequest()
            open_it.open.sandbox_id = self.ids[step.sandbox]
            open_it.open.path = f"{step.tag}.file"
            yield open_it
            data = step.tag.encode() * step.options["size"]
            for at in range(0, len(data), 1 << 19):
                yield file.WriteFileRequest(data=data[at:at + (1 << 19)])

        deadline = time.time() + STEP_S
        while time.time() < deadline:
            try:
                self.stubs.file.Write(parts(), timeout=CALL_S, **self.stubs.calls)
                return True
            except grpc.RpcError as error:
                refusal = Refusal(error)
                self.history.say(record.tag, f"write: {refusal}")
                if not refusal.retryable:
                    return False
                time.sleep(RETRY_S)
        self.history.violation(f"{record.tag}: not written within {STEP_S} s")
        return False

    def preview(self, step, record):
        request = preview.CreatePreviewRequest(request_id=self._request_id(step), port=8000,
                                               sandbox_id=self.ids[step.sandbox])
        answer = self._once(step, record, self.stubs.preview.Create, request)
        if answer is not None:
            self.ids[step.tag] = answer.preview.preview_id

    def unpreview(self, step, record):
        request = preview.DeletePreviewRequest(preview_id=self.ids[step.of])
        self.ask(record, self.stubs.preview.Delete, request, True)

    def stall(self, step, record):
        """Asks for much, and reads nothing of it."""
        request = command.RunCommandRequest()
        self._spec(step, request.command)
        begin = time.time()
        stream = self.stubs.command.Run(request, timeout=STEP_S, **self.stubs.calls)
        time.sleep(0.05)
        stream.cancel()
        self.history.attempt(record, begin, Vanished())


class Vanished:
    """In the place of a refusal: the client did not wait for the answer."""

    code = grpc.StatusCode.CANCELLED
    reason = ""
    admitted = "unknown"
    retryable = True

    def __str__(self):
        return "the client went away"


def input_lines(tag, first, count):
    return [f"{tag} {i}\n".encode() for i in range(first, first + count)]
