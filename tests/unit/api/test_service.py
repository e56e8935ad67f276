"""The contract's methods, by themselves."""

import inspect
import subprocess
import sys

from google.protobuf.descriptor import MethodDescriptor

from camsvc.api.service import DESCRIPTOR, CameraService
from camsvc.grpc_server.handlers import snake_case


def test_every_rpc_has_its_method_and_no_other_is_there() -> None:
    public = {name for name in vars(CameraService) if not name.startswith("_")}
    assert public - {"end_streams"} == {snake_case(method.name) for method in DESCRIPTOR.methods}


def test_methods_have_the_shape_that_a_face_calls() -> None:
    def is_as_declared(method: MethodDescriptor) -> bool:
        function = getattr(CameraService, snake_case(method.name))
        taken = list(inspect.signature(function).parameters)
        if method.server_streaming:
            return taken == ["self", "request", "caller"] and not inspect.iscoroutinefunction(
                function
            )
        shape = ["self", "request", "caller", "timeout_s"]
        return taken == shape and inspect.iscoroutinefunction(function)

    assert [method.name for method in DESCRIPTOR.methods if not is_as_declared(method)] == []


def test_they_need_no_grpc() -> None:
    code = (
        "import sys, camsvc.api.service\n"
        "print(*(name for name in sys.modules if name.startswith('grpc')))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
