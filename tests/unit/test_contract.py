"""The contract is complete, commented and clean, and the generated code is what it gives."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from camapi.v1 import camera_pb2, camera_service_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from google.rpc import status_pb2

ROOT = Path(__file__).resolve().parents[2]
PROTOS = ROOT / "protos"

# RPC: (client streams, server streams)
RPCS = {
    "ListCameras": (False, False),
    "GetCamera": (False, False),
    "Capture": (False, False),
    "CaptureGroup": (False, False),
    "LiveView": (False, True),
    "GetFrame": (False, False),
    "CaptureEvents": (False, True),
    "ListCaptures": (False, False),
    "GetCapture": (False, False),
    "DeleteCapture": (False, False),
    "DownloadImage": (False, True),
    "ListControls": (False, False),
    "SetControls": (False, False),
    "ResetCamera": (False, False),
    "DiscoverCameras": (False, False),
}

CODE_OF_REASON = {
    "CAMERA_BUSY": "RESOURCE_EXHAUSTED",
    "QUEUE_FULL": "RESOURCE_EXHAUSTED",
    "RATE_LIMITED": "RESOURCE_EXHAUSTED",
    "STORAGE_FULL": "RESOURCE_EXHAUSTED",
    "STORAGE_UNAVAILABLE": "FAILED_PRECONDITION",
    "CAMERA_NOT_FOUND": "NOT_FOUND",
    "CAPTURE_NOT_FOUND": "NOT_FOUND",
    "CAMERA_UNAVAILABLE": "UNAVAILABLE",
    "CAMERA_FAULTED": "FAILED_PRECONDITION",
    "CAPTURE_TIMEOUT": "DEADLINE_EXCEEDED",
    "UNSUPPORTED": "FAILED_PRECONDITION",
    "INVALID_REQUEST": "INVALID_ARGUMENT",
    "REQUEST_ID_REUSED": "INVALID_ARGUMENT",
    "UNAUTHENTICATED": "UNAUTHENTICATED",
    "PERMISSION_DENIED": "PERMISSION_DENIED",
}

Place = tuple[int, ...]  # as in SourceCodeInfo: field numbers and indices, from the file down


def run(*command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and give what it said."""
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )


def buf(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the buf of this environment in protos/."""
    program = shutil.which("buf", path=str(Path(sys.executable).parent))
    assert program is not None, "buf-bin is not installed in this environment"
    return run(program, *arguments, cwd=PROTOS)


def gen(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run scripts/gen.py."""
    return run(sys.executable, ROOT / "scripts" / "gen.py", *arguments)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[FileDescriptorProto]:
    """Give the contract's files as descriptors, with their comments."""
    output = tmp_path_factory.mktemp("descriptors") / "contract.binpb"
    result = buf("build", "--output", str(output))
    assert result.returncode == 0, result.stderr
    everything = FileDescriptorSet.FromString(output.read_bytes())
    return [file for file in everything.file if file.package == "camapi.v1"]


def enum_elements(enum: EnumDescriptorProto, at: Place) -> Iterator[tuple[Place, str]]:
    """List an enum and its values with their places."""
    yield at, enum.name
    for i, value in enumerate(enum.value):
        yield (*at, EnumDescriptorProto.VALUE_FIELD_NUMBER, i), f"{enum.name}.{value.name}"


def message_elements(message: DescriptorProto, at: Place) -> Iterator[tuple[Place, str]]:
    """List a message and all that is in it with their places."""
    if message.options.map_entry:
        return
    yield at, message.name
    for i, field in enumerate(message.field):
        yield (*at, DescriptorProto.FIELD_FIELD_NUMBER, i), f"{message.name}.{field.name}"
    optional = {field.oneof_index for field in message.field if field.proto3_optional}
    for i, oneof in enumerate(message.oneof_decl):
        if i not in optional:
            yield (*at, DescriptorProto.ONEOF_DECL_FIELD_NUMBER, i), f"{message.name}.{oneof.name}"
    for i, enum in enumerate(message.enum_type):
        yield from enum_elements(enum, (*at, DescriptorProto.ENUM_TYPE_FIELD_NUMBER, i))
    for i, nested in enumerate(message.nested_type):
        yield from message_elements(nested, (*at, DescriptorProto.NESTED_TYPE_FIELD_NUMBER, i))


def elements(file: FileDescriptorProto) -> Iterator[tuple[Place, str]]:
    """List all that a file declares with their places."""
    for i, message in enumerate(file.message_type):
        yield from message_elements(message, (FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER, i))
    for i, enum in enumerate(file.enum_type):
        yield from enum_elements(enum, (FileDescriptorProto.ENUM_TYPE_FIELD_NUMBER, i))
    for i, service in enumerate(file.service):
        at = (FileDescriptorProto.SERVICE_FIELD_NUMBER, i)
        yield at, service.name
        for j, method in enumerate(service.method):
            yield (*at, service.METHOD_FIELD_NUMBER, j), f"{service.name}.{method.name}"


def comments(file: FileDescriptorProto) -> dict[Place, str]:
    """Give the comment before each element of a file."""
    return {tuple(at.path): at.leading_comments.strip() for at in file.source_code_info.location}


def messages(file: FileDescriptorProto) -> Iterator[DescriptorProto]:
    """List all messages of a file, nested ones too."""
    waiting = list(file.message_type)
    while waiting:
        message = waiting.pop()
        waiting.extend(message.nested_type)
        yield message


def test_every_element_has_a_comment(files: list[FileDescriptorProto]) -> None:
    """Service, RPCs, messages, fields, oneofs, enums and their values all say what they mean."""
    seen = 0
    bare = []
    for file in files:
        texts = comments(file)
        for at, name in elements(file):
            seen += 1
            if not texts.get(at):
                bare.append(name)
    assert seen > 200  # the walk found the contract
    assert bare == []


def test_the_service_has_the_designed_rpcs() -> None:
    """No RPC is missing, none is extra, and each streams as designed."""
    service = camera_service_pb2.DESCRIPTOR.services_by_name["CameraService"]
    assert {
        method.name: (method.client_streaming, method.server_streaming)
        for method in service.methods
    } == RPCS


def test_each_rpc_names_its_errors_with_the_right_codes(files: list[FileDescriptorProto]) -> None:
    """Every RPC's comment has an error list of known reasons, each followed by its code."""
    (file,) = (file for file in files if file.service)
    texts = comments(file)
    seen = 0
    for at, name in elements(file):
        if not name.startswith("CameraService."):
            continue
        _, found, errors = texts[at].partition("\n\n Errors")
        assert found, name
        for group in re.finditer(r"((?:[A-Z_]{5,},\s+)*[A-Z_]{5,})\s+\(([A-Z_]+)\)", errors):
            for reason in re.split(r",\s+", group[1]):
                assert CODE_OF_REASON[reason] == group[2], (name, reason)
                seen += 1
    assert seen > 40  # the pattern found the lists


def test_the_service_comment_has_the_table_of_reasons(files: list[FileDescriptorProto]) -> None:
    """All reasons are listed once, with their codes."""
    (file,) = (file for file in files if file.service)
    text = comments(file)[(FileDescriptorProto.SERVICE_FIELD_NUMBER, 0)]
    rows = re.findall(r"^   ([A-Z_]+) +([A-Z_]+)\b", text, flags=re.MULTILINE)
    assert dict(rows) == CODE_OF_REASON
    assert len(rows) == len(CODE_OF_REASON)


def test_every_enum_begins_with_unspecified(files: list[FileDescriptorProto]) -> None:
    """An unset enum is told from every meaning."""
    enums = [enum for file in files for enum in file.enum_type]
    enums += [enum for file in files for message in messages(file) for enum in message.enum_type]
    assert len(enums) >= 9
    assert [e.name for e in enums if not e.value[0].name.endswith("_UNSPECIFIED")] == []
    assert [e.name for e in enums if e.value[0].number != 0] == []


def test_no_field_is_unsigned(files: list[FileDescriptorProto]) -> None:
    """Some languages have no unsigned integers."""
    unsigned = {
        FieldDescriptorProto.TYPE_UINT32,
        FieldDescriptorProto.TYPE_UINT64,
        FieldDescriptorProto.TYPE_FIXED32,
        FieldDescriptorProto.TYPE_FIXED64,
    }
    fields = [field for file in files for message in messages(file) for field in message.field]
    assert [field.name for field in fields if field.type in unsigned] == []


def test_the_streams_call_their_oneof_payload() -> None:
    """LiveView and CaptureEvents are read alike."""
    for message in (camera_service_pb2.LiveViewResponse, camera_service_pb2.CaptureEventsResponse):
        assert [oneof.name for oneof in message.DESCRIPTOR.oneofs] == ["payload"]


def test_errors_are_the_status_of_googleapis_common_protos() -> None:
    """There is one google.rpc.Status in the process, not a generated copy."""
    assert isinstance(camera_pb2.Camera().fault, status_pb2.Status)
    assert not list((ROOT / "clients" / "python").glob("**/google"))


@pytest.mark.parametrize("arguments", [["lint"], ["format", "--diff", "--exit-code"]])
def test_buf_is_content(arguments: list[str]) -> None:
    """The contract keeps the linter's rules and the canonical format."""
    result = buf(*arguments)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_generated_code_is_up_to_date() -> None:
    """What is committed is what protos/ gives."""
    result = gen("--check")
    assert result.returncode == 0, result.stdout + result.stderr


def test_gen_check_lists_what_differs(tmp_path: Path) -> None:
    """A changed, a missing and a stale file are each named, and nothing is repaired."""
    assert gen(tmp_path).returncode == 0
    package = tmp_path / "camapi" / "v1"
    changed, missing, stale = (package / n for n in ("camera_pb2.py", "__init__.py", "old_pb2.py"))
    changed.write_text(changed.read_text() + "# by hand\n")
    missing.unlink()
    stale.touch()
    result = gen("--check", tmp_path)
    assert result.returncode == 1
    assert [line.split() for line in result.stdout.splitlines()[1:]] == [
        ["missing:", "camapi/v1/__init__.py"],
        ["stale:", "camapi/v1/old_pb2.py"],
        ["differs:", "camapi/v1/camera_pb2.py"],
    ]
    assert gen(tmp_path).returncode == 0
    assert gen("--check", tmp_path).returncode == 0
    assert not stale.exists()
