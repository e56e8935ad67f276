"""Request ids: of one there is at most one capture under way, and at most one kept.

A client that repeats a request under its id joins the capture under way, or is given the one that
was kept. So a lost reply, a retry or a restart never presses the shutter twice.
"""

from camsvc.camera.call import Call
from camsvc.camera.capture import CaptureResult, Order
from camsvc.camera.deadline import Deadline
from camsvc.camera.executor import Executor
from camsvc.camera.ports import CaptureArchive
from camsvc.model.errors import RequestIdReused
from camsvc.model.fingerprint import is_same_request


class RequestIds:
    """The request ids of one camera."""

    def __init__(self, camera: str, archive: CaptureArchive, executor: Executor) -> None:
        self._camera = camera
        self._archive = archive
        self._executor = executor

    async def find_kept(self, order: Order, deadline: Deadline) -> CaptureResult | None:
        """Return what is kept under an order's request id, if anything is.

        Raises:
            RequestIdReused: the id stands for another request.
            CaptureTimeout: the disk did not answer by the deadline.
        """
        async with deadline.of_disk(self._camera):
            await self._archive.wait_for_backlog()
            record = await self._archive.find_by_request_id(self._camera, order.request_id)
        if record is None:
            return None
        self._refuse_reuse(order, record.capture_id, record.fingerprint)
        return CaptureResult(record, replayed=True)

    def find_under_way(self, order: Order) -> Call[CaptureResult] | None:
        """Return the capture that an order joins.

        Raises:
            RequestIdReused: the id stands for another request.
        """
        call = self._executor.find(order.request_id)
        if call is not None:
            self._refuse_reuse(order, call.ticket.id, call.ticket.fingerprint)
        return call

    def _refuse_reuse(self, order: Order, capture_id: str, known: str) -> None:
        if not is_same_request(known, order.shot, order.labels):
            raise RequestIdReused(
                f"request id {order.request_id!r} stands for capture {capture_id!r}, which was "
                "requested with another image, controls or labels; send the same ones, or a new id",
                metadata={
                    "camera": self._camera,
                    "request_id": order.request_id,
                    "capture_id": capture_id,
                },
            )
