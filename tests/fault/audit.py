"""What is there when everything stands still: asked of the service, and looked up on the host."""

import hashlib
import time

import grpc

import host
import programs
from contract import Refusal, artifact, command, file, preview, sandbox, usage
from transcript import Transcript

CALL_S = 20
PATIENCE_S = 20
SETTLE_S = 8
LIVING = (sandbox.SANDBOX_STATE_CREATING, sandbox.SANDBOX_STATE_RUNNING,
          sandbox.SANDBOX_STATE_PAUSED)


class Audit:
    """Asks again where the service dies meanwhile; somebody else brings it back."""

    def __init__(self, stubs, service, history):
        self.stubs = stubs
        self.service = service
        self.history = history

    def _patiently(self, ask):
        deadline = time.time() + PATIENCE_S
        while True:
            try:
                return ask()
            except grpc.RpcError as error:
                if not Refusal(error).retryable or time.time() > deadline:
                    raise
                time.sleep(0.05)

    def _stream(self, method, request):
        """All messages of a stream that is short."""
        return self._patiently(
            lambda: list(method(request, timeout=CALL_S, **self.stubs.calls)))

    def _pages(self, method, request, field):
        request.page_size = 100
        found = []
        while True:
            response = self._patiently(
                lambda: method(request, timeout=CALL_S, **self.stubs.calls))
            found += getattr(response, field)
            if not response.next_page_token:
                return found
            request.page_token = response.next_page_token

    def sandboxes(self):
        begin = time.time()
        found = self._pages(self.stubs.sandbox.List, sandbox.ListSandboxesRequest(), "sandboxes")
        for message in found:
            self.history.see_sandbox(begin, message)
        return {message.sandbox_id: message for message in found}

    def commands(self, sandbox_id):
        begin = time.time()
        request = command.ListCommandsRequest(sandbox_id=sandbox_id)
        found = self._pages(self.stubs.command.List, request, "commands")
        for message in found:
            self.history.see_command(begin, message)
        return {message.command_id: message for message in found}

    def receipt(self, sandbox_id):
        request = usage.GetReceiptRequest(sandbox_id=sandbox_id)
        return self._patiently(lambda: self.stubs.usage.GetReceipt(
            request, timeout=CALL_S, **self.stubs.calls)).receipt

    def usage_problem(self):
        """What is wrong with the first row or receipt that does not agree with the others."""
        request = usage.VerifyUsageRequest()
        while True:
            page = self._patiently(lambda: self.stubs.usage.Verify(
                request, timeout=CALL_S, **self.stubs.calls))
            if page.problem or not page.next_page_token:
                return f"{page.sandbox_id} {page.day}: {page.problem}" if page.problem else ""
            request.page_token = page.next_page_token

    def artifacts(self):
        return self._pages(self.stubs.artifact.List, artifact.ListArtifactsRequest(), "artifacts")

    def previews(self):
        return self._pages(self.stubs.preview.List, preview.ListPreviewsRequest(), "previews")

    def content_digest(self, artifact_id):
        request = artifact.DownloadArtifactRequest(artifact_id=artifact_id)
        digest = hashlib.sha256()
        for message in self._stream(self.stubs.artifact.Download, request):
            digest.update(message.data)
        return "sha256:" + digest.hexdigest()

    def log(self, command_id):
        transcript = Transcript()
        request = command.StreamLogsRequest(command_id=command_id)
        try:
            transcript.read(self._stream(self.stubs.command.StreamLogs, request), self.history)
        except grpc.RpcError as error:
            transcript.problems.append(str(Refusal(error)))
        return transcript

    def effects(self, sandbox_id):
        """What was run in a living sandbox, from inside: a tag for each time."""
        request = file.ReadFileRequest(sandbox_id=sandbox_id, path=programs.EFFECTS)
        try:
            parts = self._stream(self.stubs.file.Read, request)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND:
                return []
            raise
        return b"".join(part.data for part in parts).decode().split()

    def kill(self, sandbox_id):
        request = sandbox.KillSandboxRequest(sandbox_id=sandbox_id)
        begin = time.time()
        answer = self._patiently(
            lambda: self.stubs.sandbox.Kill(request, timeout=CALL_S, **self.stubs.calls))
        self.history.see_sandbox(begin, answer.sandbox)

    def workspace(self, sandbox_id):
        request = file.ListFilesRequest(sandbox_id=sandbox_id)
        answer = self._patiently(
            lambda: self.stubs.file.List(request, timeout=CALL_S, **self.stubs.calls))
        return {entry.name for entry in answer.entries}

    def probe(self, sandbox_id):
        """A running sandbox takes commands, unless it is just about to end."""
        problem = self._run_true(sandbox_id)
        if problem and not self._ends(sandbox_id):
            self.history.violation(f"{sandbox_id} is RUNNING, and `true` {problem}")

    def _run_true(self, sandbox_id):
        request = command.RunCommandRequest()
        request.command.sandbox_id = sandbox_id
        request.command.shell = "true"
        try:
            messages = self._stream(self.stubs.command.Run, request)
        except grpc.RpcError as error:
            return f"is refused: {Refusal(error)}"
        exited = messages[-1].event.exited.command
        if exited.exit_cause != command.EXIT_CAUSE_EXITED or exited.exit_code != 0:
            return f"ended as {exited}"
        return None

    def _ends(self, sandbox_id):
        deadline = time.time() + SETTLE_S
        while time.time() < deadline:
            if self.sandboxes()[sandbox_id].state not in LIVING:
                return True
            time.sleep(0.05)
        return False

    # --- the host beside the records ---

    def _difference(self, known):
        """What sandboxd, the kernel and the records do not agree about; empty when they do."""
        run = self.service.dir / "run"
        living = {sandbox_id for sandbox_id, message in self.sandboxes().items()
                  if message.state in LIVING}
        noted = host.inventory(run)
        server = self.service.running.get("crownestd")
        if server is None or "sandboxd" not in self.service.running:
            return ["the service is down"]
        try:
            held = host.descriptors(server.pid, "anon_inode:[pidfd]")
        except OSError:
            return ["the service is going down"]
        differences = []
        if self.service.pool == 0 and set(noted) != living:
            differences.append(f"inventory {sorted(noted)}, living {sorted(living)}")
        if len(noted) != held:
            differences.append(f"sandboxd has {len(noted)} jails, and crownestd holds {held}, "
                               f"{len(living)} of them for sandboxes")
        if len(noted) > len(living) + self.service.pool * 4:
            differences.append(f"{len(noted)} jails for {len(living)} sandboxes")
        if host.control_sockets(run) != set(noted):
            differences.append(f"control sockets {sorted(host.control_sockets(run))}, "
                               f"inventory {sorted(noted)}")
        groups = set(host.groups()) - known
        if groups != set(noted):
            differences.append(f"control groups {sorted(groups)}, inventory {sorted(noted)}")
        if any(pid == 0 for pid in noted.values()):
            differences.append("a jail is not complete")
        return differences

    def await_agreement(self, known):
        """known: control groups that were there before us."""
        deadline = time.time() + SETTLE_S
        while (differences := self._difference(known)) and time.time() < deadline:
            time.sleep(0.05)
        for difference in differences:
            self.history.violation(difference)
