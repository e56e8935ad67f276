"""Exceptions: one class for each reason of the contract, and a few of our own.

All descend from `CamsvcError`. `from_info` alone decides which class an error of gRPC becomes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import grpc
from google.rpc.status_pb2 import Status

from camsvc_client.channel import FieldViolation, RpcErrorInfo, status_info


class CamsvcError(Exception):
    """Anything that the service refused or that went wrong on the way to it.

    Its text is a sentence for people. `retry_after_s` is when to come back, in seconds; None where
    the service names no time. `metadata` is what the contract lists for the reason.

    Example:
        try:
            picture = await client.capture("sim0", timeout=30)
        except CamsvcError as error:
            print(error, error.reason, error.metadata)
    """

    def __init__(self, info: RpcErrorInfo, request_id: str | None = None) -> None:
        super().__init__(info, request_id)
        self.info = info
        self.request_id = request_id
        """Of a capture: under which id to ask again for the same picture."""
        self.code = info.code
        """The gRPC status code."""
        self.reason = info.reason
        """The contract's reason, such as "CAMERA_BUSY"; None when the service did not say it."""
        self.metadata = info.metadata
        """What the contract lists with the reason, such as `camera`."""
        self.retry_after_s = info.retry_delay_s
        """When to come back, in seconds."""
        self.camera = info.metadata.get("camera")
        """The camera concerned."""
        self.capture_id = info.metadata.get("capture_id")
        """The capture concerned."""

    def __str__(self) -> str:
        return self.info.message


@dataclass(frozen=True, slots=True)
class Holder:
    """The capture that holds a camera. Times are by the service's clock; None: unknown.

    Example:
        except CameraBusy as error:
            print("taken until", error.holder.expected_end_time)
    """

    capture_id: str
    request_id: str
    start_time: datetime | None
    expected_end_time: datetime | None


class CameraBusy(CamsvcError):
    """Another capture holds the camera: come back after `retry_after_s`.

    Example:
        except CameraBusy as error:
            print(f"free again in {error.retry_after_s} s; held by {error.holder.capture_id}")
    """

    @property
    def holder(self) -> Holder:
        """Who holds the camera."""
        return Holder(
            self.metadata.get("holder_capture_id", ""),
            self.metadata.get("holder_request_id", ""),
            _time(self.metadata.get("holder_start_time")),
            _time(self.metadata.get("holder_expected_end_time")),
        )


class QueueFull(CamsvcError):
    """Too many captures wait for the camera, or too many look at it: come back later.

    Example:
        except QueueFull as error:
            time.sleep(error.retry_after_s or 1)
    """


class RateLimited(CamsvcError):
    """You make more calls in a second than the service's settings allow: come back later.

    Example:
        except RateLimited as error:
            time.sleep(error.retry_after_s or 1)
    """


class StorageFull(CamsvcError):
    """There is no room for another picture: an operator has to make some.

    Example:
        except StorageFull:
            await client.delete_capture(oldest.capture_id)
    """


class StorageUnavailable(CamsvcError):
    """The service's disk keeps no picture now: an operator has to look at it.

    No picture is lost: one that was taken meanwhile is given to who asks again by its request id.

    Example:
        except StorageUnavailable as error:
            page_someone(error.message)
    """


class CameraNotFound(CamsvcError):
    """No camera of this id is configured.

    Example:
        except CameraNotFound as error:
            print(error.camera, "does not exist")
    """


class CaptureNotFound(CamsvcError):
    """No capture of this id is kept, or it has no picture.

    Example:
        except CaptureNotFound as error:
            print(error.capture_id, "is gone")
    """


class CameraUnavailable(CamsvcError):
    """The camera recovers, is unplugged or has used up its attempts: come back later.

    Example:
        except CameraUnavailable as error:
            print(f"{error}; try again in {error.retry_after_s} s")
    """


class CameraFaulted(CamsvcError):
    """The camera needs a person; the text says what to do. `reset_camera` tries again.

    Example:
        except CameraFaulted as error:
            notify_operator(str(error))
    """


class CaptureTimeout(CamsvcError, TimeoutError):
    """The camera's own worst case has passed, and the call had no earlier time-out.

    Example:
        except CaptureTimeout as error:
            print((await client.get_camera("sim0")).fault.message)
    """


class Unsupported(CamsvcError):
    """This camera has no such control, format or live view.

    Example:
        except Unsupported as error:
            print(error)
    """


class InvalidRequest(CamsvcError, ValueError):
    """A value that is never allowed: `violations` names each field, and what is allowed.

    Example:
        except InvalidRequest as error:
            print([violation.field for violation in error.violations])
    """

    @property
    def violations(self) -> tuple[FieldViolation, ...]:
        """The fields that were refused."""
        return self.info.field_violations


class RequestIdReused(CamsvcError, ValueError):
    """The request id belongs to another request, with other options.

    Example:
        except RequestIdReused as error:
            print("already used by capture", error.capture_id)
    """


class Unauthenticated(CamsvcError):
    """The service requires credentials, or does not accept these.

    Example:
        except Unauthenticated:
            client = AsyncCameraClient(address, token=new_token())
    """


class PermissionDenied(CamsvcError, PermissionError):
    """The credentials do not allow this call.

    Example:
        except PermissionDenied as error:
            print(error)
    """


class ServiceUnreachable(CamsvcError, ConnectionError):
    """The service cannot be connected to, went away, or no longer answers.

    A capture under way may continue all the same: ask again under the same `request_id`.

    Example:
        except ServiceUnreachable as error:
            picture = await client.capture("sim0", request_id=error.request_id)
    """


class DeadlineExceeded(CamsvcError, TimeoutError):
    """The call's own time-out has passed.

    A still under way continues and is kept: ask again under the same `request_id`.

    Example:
        except DeadlineExceeded as error:
            picture = await client.capture("sim0", request_id=error.request_id)
    """


class Unimplemented(CamsvcError):
    """The service does not know this call: it is older, or not a camera service.

    Example:
        except Unimplemented:
            print("this service keeps no history")
    """


class ServiceFailed(CamsvcError):
    """An error that the contract does not foresee; only `code` and the text are known.

    Example:
        except ServiceFailed as error:
            print(error.code, error)
    """


class ImageDamaged(CamsvcError):
    """What was downloaded is not what the service has: its size or SHA-256 differs.

    Example:
        except ImageDamaged as error:
            print(error)
    """


class EventsMissed(CamsvcError):
    """The reader missed events: the history after its place is no longer kept.

    `resume_after` is where to continue, as `after_sequence`: with the oldest event that is kept.

    Example:
        except EventsMissed as error:
            events = client.capture_events(after_sequence=error.resume_after)
    """

    def __init__(
        self, info: RpcErrorInfo, request_id: str | None = None, resume_after: int = 0
    ) -> None:
        super().__init__(info, request_id=request_id)
        self.resume_after = resume_after


_BY_REASON: dict[str, type[CamsvcError]] = {
    "CAMERA_BUSY": CameraBusy,
    "QUEUE_FULL": QueueFull,
    "RATE_LIMITED": RateLimited,
    "STORAGE_FULL": StorageFull,
    "STORAGE_UNAVAILABLE": StorageUnavailable,
    "CAMERA_NOT_FOUND": CameraNotFound,
    "CAPTURE_NOT_FOUND": CaptureNotFound,
    "CAMERA_UNAVAILABLE": CameraUnavailable,
    "CAMERA_FAULTED": CameraFaulted,
    "CAPTURE_TIMEOUT": CaptureTimeout,
    "UNSUPPORTED": Unsupported,
    "INVALID_REQUEST": InvalidRequest,
    "REQUEST_ID_REUSED": RequestIdReused,
    "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": PermissionDenied,
}

_BY_CODE: dict[grpc.StatusCode, type[CamsvcError]] = {
    grpc.StatusCode.UNAVAILABLE: ServiceUnreachable,
    # So it looks when a proxy loses the service.
    grpc.StatusCode.CANCELLED: ServiceUnreachable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.UNIMPLEMENTED: Unimplemented,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
}


def from_info(info: RpcErrorInfo, *, request_id: str | None = None) -> CamsvcError:
    """Make the exception that goes with a decoded error, by its reason, else by its code.

    Example:
        raise from_info(error_info(rpc_error)) from rpc_error
    """
    kind = _BY_REASON.get(info.reason or "")
    if kind is None and info.code is grpc.StatusCode.INTERNAL and "RST_STREAM" in info.message:
        kind = ServiceUnreachable  # the connection broke in the middle
    return (kind or _BY_CODE.get(info.code, ServiceFailed))(info, request_id=request_id)


def from_status(status: Status) -> CamsvcError:
    """Make an exception of an error that is part of an answer.

    Example:
        if camera.HasField("fault"):
            raise from_status(camera.fault)
    """
    return from_info(status_info(status))


def _time(text: str | None) -> datetime | None:
    """Read a time as the contract writes it in metadata (RFC 3339)."""
    return datetime.fromisoformat(text) if text else None
