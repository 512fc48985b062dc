"""What the Python client scripts share: generated messages, named checks, a report.

A script prints one line per check and "all N checks passed" at the end, and exits 1 if one failed.
"""

import atexit
import importlib
import os
import shutil
import sys
import tempfile
import traceback

import grpc
from grpc_tools import protoc


def generate(root, file, stubs=True):
    """Generates and imports the modules of one .proto file: (messages, stubs), or the messages alone.

    Without stubs the messages are imported by their bare name: the package "grpc" of the standard services' files
    would hide grpcio itself.
    """
    out = tempfile.mkdtemp(prefix="keyva-py-")
    atexit.register(shutil.rmtree, out, ignore_errors=True)
    arguments = ["protoc", "-I" + root, "--python_out=" + out]
    if stubs:
        arguments.append("--grpc_python_out=" + out)
    code = protoc.main(arguments + [os.path.join(root, file)])
    if code != 0:
        sys.exit("protoc failed with %d" % code)
    base = file[: -len(".proto")]
    if not stubs:
        sys.path.insert(0, os.path.join(out, os.path.dirname(base)))
        return importlib.import_module(os.path.basename(base) + "_pb2")
    sys.path.insert(0, out)
    name = base.replace("/", ".")
    return importlib.import_module(name + "_pb2"), importlib.import_module(name + "_pb2_grpc")


class Checks:
    """Runs checks, functions named for what they check, one after the other and reports each."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def run(self, check):
        name = check.__name__.replace("_", " ")
        try:
            check()
            self.passed += 1
            print("ok   " + name, flush=True)
        except Exception:  # a report, whatever went wrong
            self.failed += 1
            print("FAIL " + name, flush=True)
            traceback.print_exc(file=sys.stdout)

    def finish(self):
        if self.failed:
            sys.exit("%d of %d checks failed" % (self.failed, self.failed + self.passed))
        print("all %d checks passed" % self.passed)


def status_of(call):
    """The status with which a call fails."""
    try:
        result = call()
        if hasattr(result, "__next__"):
            for _ in result:
                pass
    except grpc.RpcError as error:
        return error
    raise AssertionError("the call did not fail")
