#!/usr/bin/python3
"""A client that shares nothing with the service but its protos does the main job.

    CROWNEST_URL=http://127.0.0.1:7070 CROWNEST_API_KEY=cnk_... tests/interop/grpcio_test.py -v

CROWNEST_URL and CROWNEST_API_KEY name a running service and a key of it with every scope.
"""

import hashlib
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

MISSING = []
for name in ("CROWNEST_URL", "CROWNEST_API_KEY"):
    if not os.environ.get(name):
        MISSING.append(f"${name}")
try:
    import grpc
    import generated
except ImportError as error:
    MISSING.append(f"the Python module {error.name}")

STREAMS = {1: "stdout", 2: "stderr"}

PROGRAM = b"""
import os, sys, time
print('first', flush=True)
while not os.path.exists('go'):
    time.sleep(0.005)
print('second', file=sys.stderr, flush=True)
with open('report.bin', 'wb') as report:
    report.write(bytes(range(256)) * 4)
"""


def target():
    return os.environ["CROWNEST_URL"].replace("http://", "").rstrip("/")


def length_delimited(field, data):
    """A field of a message, written by hand."""
    return bytes([field << 3 | 2, len(data)]) + data


def fields(message):
    """The length-delimited fields of a message, read by hand."""
    found = []
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        value, at = varint(message, at)
        if key & 7 == 2:
            found.append((key >> 3, message[at:at + value]))
            at += value
    return found


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


@unittest.skipIf(MISSING, "for want of " + ", ".join(MISSING))
class GrpcioTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.api = generated.Contract()
        cls.addClassCleanup(cls.api.close)
        cls.channel = grpc.insecure_channel(target())
        cls.addClassCleanup(cls.channel.close)
        cls.metadata = [("authorization", "Bearer " + os.environ["CROWNEST_API_KEY"])]
        cls.sandboxes = cls.api.sandbox_grpc.SandboxServiceStub(cls.channel)
        cls.commands = cls.api.command_grpc.CommandServiceStub(cls.channel)
        cls.files = cls.api.file_grpc.FileServiceStub(cls.channel)
        cls.artifacts = cls.api.artifact_grpc.ArtifactServiceStub(cls.channel)

    def create(self):
        request = self.api.sandbox.CreateSandboxRequest(template="python")
        request.ttl.seconds = 120
        sandbox = self.sandboxes.Create(request, metadata=self.metadata).sandbox
        self.addCleanup(self.kill, sandbox.sandbox_id)
        return sandbox.sandbox_id

    def kill(self, sandbox_id):
        request = self.api.sandbox.KillSandboxRequest(sandbox_id=sandbox_id)
        return self.sandboxes.Kill(request, metadata=self.metadata).sandbox

    def write(self, sandbox_id, path, data):
        def parts():
            message = self.api.file.WriteFileRequest()
            message.open.sandbox_id = sandbox_id
            message.open.path = path
            yield message
            yield self.api.file.WriteFileRequest(data=data)

        answer = self.files.Write(parts(), metadata=self.metadata)
        self.assertEqual(answer.size_bytes, len(data))

    def run_program(self, sandbox_id):
        """Runs it; it goes on when it sees the file that is written after its first output came."""
        request = self.api.command.RunCommandRequest()
        request.command.sandbox_id = sandbox_id
        request.command.argv.extend(["python3", "main.py"])
        request.command.env["NAME"] = "value"
        request.command.collect.add(path="report.bin")
        told = False
        events = []
        for message in self.commands.Run(request, metadata=self.metadata):
            events.append(message.event)
            if message.event.WhichOneof("event") == "output" and not told:
                self.write(sandbox_id, "go", b"")
                told = True
        return events

    def test_the_main_job(self):
        sandbox_id = self.create()
        self.write(sandbox_id, "main.py", PROGRAM)
        events = self.run_program(sandbox_id)
        kinds = [event.WhichOneof("event") for event in events]
        self.assertEqual(kinds[0], "started")
        self.assertEqual(kinds[-1], "exited")
        outputs = [(STREAMS[e.output.stream], e.output.data) for e in events[1:-1]]
        self.assertEqual(outputs, [("stdout", b"first\n"), ("stderr", b"second\n")])
        exited = events[-1].exited
        self.assertEqual(exited.command.exit_cause, self.api.command.EXIT_CAUSE_EXITED)
        self.assertEqual(exited.command.exit_code, 0)
        self.assertEqual([a.name for a in exited.artifacts], ["report.bin"])
        tombstone = self.kill(sandbox_id)
        self.assertEqual(tombstone.end_cause, self.api.sandbox.END_CAUSE_KILLED)
        self.assert_log(exited.command.command_id, b"first\nsecond\n")
        self.assert_artifact(exited.artifacts[0], bytes(range(256)) * 4)

    def assert_log(self, command_id, expected):
        for offset in (0, 3, len(expected)):
            request = self.api.command.StreamLogsRequest(command_id=command_id, offset=offset)
            data = b"".join(message.event.output.data
                            for message in self.commands.StreamLogs(request, metadata=self.metadata)
                            if message.event.WhichOneof("event") == "output")
            self.assertEqual(data, expected[offset:])

    def assert_artifact(self, artifact, expected):
        request = self.api.artifact.DownloadArtifactRequest(artifact_id=artifact.artifact_id)
        data = b"".join(message.data for message in
                        self.artifacts.Download(request, metadata=self.metadata))
        self.assertEqual(data, expected)
        self.assertEqual(artifact.digest, "sha256:" + hashlib.sha256(data).hexdigest())

    def test_an_error_says_what_is_wrong_in_the_standard_way(self):
        request = self.api.sandbox.CreateSandboxRequest(template="no-such-template")
        with self.assertRaises(grpc.RpcError) as caught:
            self.sandboxes.Create(request, metadata=self.metadata)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)
        details = dict(caught.exception.trailing_metadata())["grpc-status-details-bin"]
        infos = [value for field, value in fields(details) if field == 3]
        kinds = [dict(fields(info))[1] for info in infos]
        self.assertIn(b"type.googleapis.com/google.rpc.ErrorInfo", kinds)
        error_info = dict(fields(infos[kinds.index(b"type.googleapis.com/google.rpc.ErrorInfo")]))
        self.assertEqual(dict(fields(error_info[2]))[1], b"TEMPLATE_NOT_FOUND")

    def test_without_a_key_nothing_is_answered(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.sandboxes.List(self.api.sandbox.ListSandboxesRequest())
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAUTHENTICATED)

    def reflect(self, version, request):
        """One question to the reflection service, whose messages are written by hand."""
        call = self.channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")
        answers = list(call(iter([request])))
        self.assertEqual(len(answers), 1)
        return fields(answers[0])

    def test_reflection_lists_the_services(self):
        expected = {f"crownest.v1.{noun.capitalize()}Service" for noun in generated.NOUNS}
        expected |= {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
        for version in ("v1", "v1alpha"):
            with self.subTest(version=version):
                answer = dict(self.reflect(version, length_delimited(7, b"*")))
                listed = {dict(fields(entry))[1].decode() for field, entry in fields(answer[6])}
                self.assertLessEqual(expected, listed)

    def test_reflection_gives_the_file_of_a_symbol(self):
        symbol = b"crownest.v1.SandboxService"
        answer = dict(self.reflect("v1alpha", length_delimited(4, symbol)))
        names = [dict(fields(descriptor)).get(1) for _, descriptor in fields(answer[4])]
        self.assertIn(b"crownest/v1/sandbox.proto", names)

    def test_health_is_serving(self):
        check = self.channel.unary_unary("/grpc.health.v1.Health/Check")
        self.assertEqual(check(b""), b"\x08\x01")
        named = length_delimited(1, b"crownest.v1.SandboxService")
        self.assertEqual(check(named), b"\x08\x01")
        with self.assertRaises(grpc.RpcError) as caught:
            check(length_delimited(1, b"no.such.Service"))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)


if __name__ == "__main__":
    unittest.main()
