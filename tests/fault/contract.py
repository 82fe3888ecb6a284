"""What the service's clients have: messages and stubs made from the protos, and what errors say."""

import importlib
import pathlib
import sys

import grpc
from grpc_tools import protoc

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "interop"))

import generated  # noqa: E402

CHANNEL = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 20),
    ("grpc.max_reconnect_backoff_ms", 100),
    ("grpc.max_receive_message_length", -1),
]

contract = generated.Contract()


def _error_messages():
    arguments = ["protoc", f"--proto_path={generated.PROTO}"]
    arguments += [f"--proto_path={path}" for path in generated.includes()]
    arguments += [f"--python_out={contract.directory.name}", "private/google_rpc.proto"]
    if protoc.main(arguments) != 0:
        raise RuntimeError("protoc could not generate the error model")
    return importlib.import_module("private.google_rpc_pb2")


google_rpc = _error_messages()
artifact, command, file = contract.artifact, contract.command, contract.file
key, preview, sandbox = contract.key, contract.preview, contract.sandbox
audit_log, usage = contract.audit, contract.usage


class Refusal:
    """
    How a call failed. admitted is what the service said of it: "no", "yes" or "unknown", which is
    also what is true when the service said nothing.
    """

    def __init__(self, error):
        self.code = error.code()
        self.text = error.details() or ""
        self.reason = ""
        self.admitted = "unknown"
        self.retryable = self.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED,
                                       grpc.StatusCode.DEADLINE_EXCEEDED,
                                       grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL)
        for name, value in error.trailing_metadata() or ():
            if name == "grpc-status-details-bin":
                self._read(google_rpc.Status.FromString(value))

    def _read(self, status):
        for detail in status.details:
            if detail.type_url.endswith("/google.rpc.ErrorInfo"):
                info = google_rpc.ErrorInfo.FromString(detail.value)
                self.reason = info.reason
                self.admitted = info.metadata.get("admitted", "unknown")
                self.retryable = info.metadata.get("retryable") == "true"

    def __str__(self):
        return f"{self.code.name} {self.reason or '-'} admitted={self.admitted}: {self.text}"


class Stubs:
    """
    All services over one connection. calls: what each call is given. They wait for the connection,
    since without a call that waits nothing in the library moves to make it.
    """

    def __init__(self, target, secret=None):
        self.channel = grpc.insecure_channel(target, options=CHANNEL)
        self.calls = {"wait_for_ready": True}
        if secret:
            self.calls["metadata"] = [("authorization", f"Bearer {secret}")]
        for noun in ("artifact", "audit", "command", "file", "key", "preview", "sandbox",
                     "usage"):
            module = getattr(contract, noun + "_grpc")
            setattr(self, noun, getattr(module, noun.capitalize() + "ServiceStub")(self.channel))

    def close(self):
        self.channel.close()
