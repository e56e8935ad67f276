"""Whatever a driver hands over: each call is answered, and no other camera notices.

All ten thousand: ENDURANCE=full.
"""

import asyncio
import re
import time
from pathlib import Path

import grpc
import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import endurance, giving, plugins
from tests.support.scenes import camera
from tests.support.service import CALL_S, Service

pytestmark = pytest.mark.timeout(endurance.TIMEOUT_S)

EXAMPLES = endurance.times(10_000, part=20)
OTHER_EVERY = 50
ANSWERS = {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.FAILED_PRECONDITION}
INSIDES = re.compile(
    r"NoneType|Traceback|\w(Error|Exception)\b|<class|<\w+ object|object at 0x|builtins|ndarray|"
    r"Frame\(|DeviceInfo|/site-packages/|\n|"
    rf"exit code {giving.WRONG_EXPRESSION}"
)

TIMES = st.sampled_from(
    ["None", "1.5", "True", "'now'", "-1", "0", "10**30", "10**5000", "time.time()", "[1]"]
    + ["time.time_ns() + 10**9 * 253_402_300_800", "np.int64(time.time_ns())", "np.float64(1)"]
    + [f"time.time_ns() + {offset}" for offset in (-(10**13), -(10**9), -1, 10**8, 10**10)]
)
DTYPES = st.sampled_from(
    [
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "int8",
        "int16",
        "int32",
        "float16",
        "float32",
        "float64",
        "complex64",
        "bool",
        "object",
        "datetime64[ns]",
        "U3",
        "S2",
    ]
)
SHAPES = st.lists(st.integers(0, 20), max_size=2) | st.tuples(
    st.integers(0, 20), st.integers(0, 20), st.integers(0, 5)
)
LAYOUTS = st.sampled_from(
    ["plain", "reversed", "transposed", "by column", "other byte order", "read-only", "repeated"]
)
ARRAYS = st.builds(
    lambda dtype, shape, layout: f"array({dtype!r}, {tuple(shape)}, {layout!r})",
    DTYPES | st.sampled_from(["uint8", "uint16"]),
    SHAPES,
    LAYOUTS,
)
ODD = st.sampled_from(
    [
        "None",
        "0",
        "-7",
        "1 << 70",
        "float('nan')",
        "1e400",
        "True",
        "''",
        "'text'",
        "'\\udcff'",
        "b''",
        "b'bytes'",
        "[]",
        "[None]",
        "{}",
        "{1: [2]}",
        "object()",
        "Frame",
        "np.uint8(7)",
        "'x' * 100_000",
        "'\\0\\n'",
        "[1] * 5000",
        "lambda: 0",
        "memoryview(b'12')[::-1]",
    ]
)
BYTES = st.one_of(
    st.builds(lambda end: f"JPEG[:{end}]", st.integers(0, len(giving.JPEG))),
    st.builds(
        lambda at, byte: f"JPEG[:{at}] + bytes([{byte}]) + JPEG[{at + 1}:]",
        st.integers(0, len(giving.JPEG)),
        st.integers(0, 255),
    ),
    st.builds(lambda data: f"JPEG + {data!r}", st.binary(max_size=40)),
    st.builds(repr, st.binary(max_size=200)),
    st.builds(lambda kind: f"{kind}(JPEG)", st.sampled_from(["bytearray", "memoryview", "list"])),
    st.builds(lambda data: f"TIFF + {data!r}", st.binary(max_size=40)),
    st.sampled_from(
        ["TIFF", "b'<html>login</html>'", "b'\\0' * 900", "GREY", "b'\\x89PNG' + JPEG"]
    ),
)
FILES = st.builds(
    lambda name, kind, data, size: f"File({name}, {kind}, {data}, {size})",
    ODD | st.just("'1.NEF'"),
    ODD | st.sampled_from(["'image/jpeg'", "'image/x-nikon-nef'"]),
    BYTES | ODD,
    st.sampled_from(["None", "7", "len(JPEG)", "'x'"]),
)
CONTROLS = st.builds(
    lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items) + "}",
    st.lists(
        st.tuples(st.sampled_from(["'gain'", "'\\udcff'", "7", "'x' * 5000"]), ODD), max_size=3
    ),
)
FIELDS = {
    "acquisition_time_ns": TIMES,
    "exposure_us": ODD,
    "controls": CONTROLS | ODD,
    "name": ODD,
    "mime_type": ODD | st.sampled_from(["'image/jpeg'", "'image/x-nikon-nef'"]),
    "others": st.lists(FILES, max_size=3).map(lambda files: f"[{', '.join(files)}]") | ODD,
    "bits": st.sampled_from(["None", "8", "12", "16", "17", "'12'", "0"]),
    "announced_bytes": st.sampled_from(["None", "1", "len(JPEG)", "'x'", "1e9"]),
    "warnings": st.sampled_from(["['no flash']", "None", "'text'", "[7]", "['\\udcff'] * 99"]),
}
TEXTS = st.sampled_from(["''", "'gone'", "'x' * 100_000", "'a\\nb'", "'\\udcff'", "7"])
FAILURES = st.builds(
    lambda kind, text: f"fail({kind!r}, {text})",
    st.sampled_from(
        [
            "ZeroDivisionError",
            "KeyError",
            "TypeError",
            "AttributeError",
            "OSError",
            "RuntimeError",
            "ValueError",
            "MemoryError",
            "StopIteration",
            "AssertionError",
            "Unspeakable",
            "NotImplementedError",
            "CameraBusy",
            "RecursionError",
        ]
    ),
    TEXTS
    | st.sampled_from(
        [
            "'in /usr/lib/x/y.so: ValueError: 7'",
            "7",
            "'\\udcff'",
            "[None]",
            "object()",
            "'<a.B object at 0x7f00>'",
            "'NoneType has no x'",
        ]
    ),
)


@st.composite
def frames(draw: st.DrawFn) -> str:
    """Return the expression of a frame: of an array or a file, with some odd fields."""
    of_pixels = draw(st.booleans())
    picture = f"pixels={draw(ARRAYS | ODD)}" if of_pixels else draw(BYTES | ODD)
    odd = draw(st.fixed_dictionaries({}, optional=FIELDS))
    fields = "".join(f", {name}={value}" for name, value in odd.items())
    return f"{'good' if of_pixels else 'file'}({picture}{fields})"


OWN_FAILURES = st.builds(
    lambda kind, text: f"fail({kind!r}, {text})",
    st.sampled_from(["DriverError", "Unsupported"]),
    TEXTS,
)
GIVEN = st.one_of(frames(), frames(), frames(), FAILURES, OWN_FAILURES, ODD)
WHAT = st.sampled_from(["still"] * 16 + ["controls", "frame"])
FORMATS = st.sampled_from(
    [pb.ImageOptions.FORMAT_JPEG, pb.ImageOptions.FORMAT_PNG, pb.ImageOptions.FORMAT_RAW]
)


class Scene:
    """A service with a camera that gives what it is told, and another one."""

    def __init__(self, service: Service, folder: Path) -> None:
        self._service = service
        self._folder = folder
        self._other_pid = 0
        self.answers: dict[str, int] = {}

    async def other_is_untouched(self) -> None:
        await self._service.capture("other", delivery=api.CaptureRequest.DELIVERY_REFERENCE)
        listed = await self._service.stub.ListCameras(api.ListCamerasRequest(), timeout=CALL_S)
        pid = next(c.worker_pid for c in listed.cameras if c.camera == "other")
        assert self._other_pid in (0, pid), "its worker was replaced"
        self._other_pid = pid

    async def hand_over(self, what: str, image_format: int, expression: str) -> None:
        giving.write(self._folder, what, expression)
        if what == "frame":
            await self.answered(self._service.stub.GetFrame, api.GetFrameRequest(camera="odd"))
        else:
            await self.still(image_format)
        if (self._folder / what).exists():  # it was refused before the driver was asked
            (self._folder / what).unlink()
        text = await self.still(pb.ImageOptions.FORMAT_PNG)
        assert not text, f"a good picture after {expression}: {text}"

    async def still(self, image_format: int) -> str:
        request = api.CaptureRequest(
            camera="odd",
            image=pb.ImageOptions(format=pb.ImageOptions.Format.Name(image_format)),  # type: ignore[arg-type]
            delivery=api.CaptureRequest.DELIVERY_REFERENCE,
        )
        return await self.answered(self._service.stub.Capture, request)

    async def answered(self, call: object, request: object) -> str:
        """Make a call; return its error's text, checked."""
        text, warnings, code = "", (), grpc.StatusCode.OK
        try:
            reply = await call(request, timeout=CALL_S)  # type: ignore[operator]
            warnings = getattr(getattr(reply, "capture", None), "warnings", ())
        except grpc.aio.AioRpcError as error:
            text, code = error.details() or "", error.code()
        self.answers[code.name] = self.answers.get(code.name, 0) + 1
        assert code in ANSWERS, text
        assert not [said for said in (text, *warnings) if INSIDES.search(said)]
        return text


def test_each_call_is_answered_and_the_other_camera_is_untouched(tmp_path: Path) -> None:
    told = tmp_path / "told"
    told.mkdir()
    table = camera(
        "odd",
        driver="giving:GivingCamera",
        env=plugins.ENV,
        options={"folder": str(told)},
        attempts=1,
        idle_close_s=0.0,
    ) + camera("other", capture_duration_s=0.0)
    started, count = time.monotonic(), 0
    with asyncio.Runner() as runner:
        service = Service(tmp_path, table)
        runner.run(service.__aenter__())
        scene = Scene(service, told)

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(WHAT, FORMATS, GIVEN)
        def hand_over(what: str, image_format: int, expression: str) -> None:
            nonlocal count
            count += 1
            runner.run(scene.hand_over(what, image_format, expression))
            if count % OTHER_EVERY == 1:
                runner.run(scene.other_is_untouched())

        try:
            hand_over()
            runner.run(scene.other_is_untouched())
        finally:
            runner.run(service.__aexit__(None, None, None))
    print(f"{count} examples in {time.monotonic() - started:.1f} s: {scene.answers}")
