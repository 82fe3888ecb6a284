"""Python's view of the contract, as anybody would make it: protoc and grpcio's plugin, no more."""

import importlib
import os
import pathlib
import sys
import tempfile

import grpc_tools
from grpc_tools import protoc

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"
NOUNS = sorted(path.stem for path in (PROTO / "crownest/v1").glob("*.proto")
               if "\nservice " in path.read_text())


def includes():
    """Where the well-known types are: with the plugin, or with Debian's protobuf compiler."""
    bundled = os.path.join(os.path.dirname(grpc_tools.__file__), "_proto")
    return [path for path in (bundled, "/usr/include") if os.path.isdir(path)]


def generate(directory):
    files = [str(p) for p in sorted((PROTO / "crownest/v1").glob("*.proto"))]
    arguments = ["protoc", f"--proto_path={PROTO}"]
    arguments += [f"--proto_path={path}" for path in includes()]
    arguments += [f"--python_out={directory}", f"--grpc_python_out={directory}", *files]
    if protoc.main(arguments) != 0:
        raise RuntimeError("protoc could not generate a client")


class Contract:
    """The generated modules: contract.sandbox.CreateSandboxRequest, contract.sandbox_grpc.…"""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="crownest-interop-")
        generate(self.directory.name)
        sys.path.insert(0, self.directory.name)
        for noun in NOUNS:
            setattr(self, noun, importlib.import_module(f"crownest.v1.{noun}_pb2"))
            setattr(self, noun + "_grpc", importlib.import_module(f"crownest.v1.{noun}_pb2_grpc"))

    def close(self):
        sys.path.remove(self.directory.name)
        self.directory.cleanup()
