"""What a client was told of its captures, held against what the service has later."""

import asyncio
import hashlib
import itertools
import math
import uuid
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random

import grpc
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camsvc_client import error_info

from tests.support.service import CALL_S, Service
from tests.support.waiting import until

PINNED = {"keep": "yes"}

_COMMIT_S = 1.0
"""What the commit of a capture's end may take."""

_IMPATIENT, _MOMENT_S = 0.2, 0.01
"""The part of the clients that leave in the middle of a deletion, and how soon."""

Event = pb.CaptureEvent
_ENDS = (Event.TYPE_SUCCEEDED, Event.TYPE_FAILED, Event.TYPE_CANCELLED)


class Ledger:
    """Captures that were asked for, acknowledged, and deleted, over all lives of a service."""

    def __init__(
        self,
        folder: Path,
        rng: Random,
        max_bytes: int | None = None,
        min_age_s: float = math.inf,
    ) -> None:
        self.data = folder / "data"
        self.rng = rng
        self.max_bytes = max_bytes
        """What retention leaves of the pictures."""
        self.min_age_s = min_age_s
        """How long it leaves each of them."""
        self.doubtful: dict[str, api.CaptureRequest] = {}
        """Asked for without an answer, by request id: their clients will come back."""
        self.used: set[str] = set()
        """Captures that were asked for again, or downloaded: retention has left them longer."""
        self.requests: dict[str, api.CaptureRequest] = {}
        """What each acknowledged capture was asked for by, by capture id."""
        self.acknowledged: dict[str, pb.Capture] = {}
        self.deleted: set[str] = set()
        """Their deletion was at least asked for."""
        self.succeeded: Counter[str] = Counter()
        """What was counted: pictures, deletions, ..."""

    # What a client does. Each raises what the call does, and notes what it was told.

    def request(
        self, camera: str, *, pinned: bool = False, with_id: bool = True
    ) -> api.CaptureRequest:
        """Return a new request, which waits for its camera."""
        request_id = str(uuid.UUID(int=self.rng.getrandbits(128), version=4)) if with_id else ""
        return api.CaptureRequest(
            camera=camera,
            request_id=request_id,
            busy_policy=api.CaptureRequest.BUSY_POLICY_WAIT,
            delivery=api.CaptureRequest.DELIVERY_REFERENCE,
            labels=PINNED if pinned else {},
        )

    async def capture(self, service: Service, request: api.CaptureRequest) -> pb.Capture:
        """Ask for a capture."""
        self._ask(request)
        response = await service.stub.Capture(request, timeout=CALL_S)
        self._note_answer(request, response.capture)
        return response.capture

    async def group(self, service: Service, requests: list[api.CaptureRequest]) -> list[pb.Capture]:
        """Ask for a group; return the pictures there are."""
        for request in requests:
            self._ask(request)
        response = await service.stub.CaptureGroup(
            api.CaptureGroupRequest(requests=requests), timeout=CALL_S
        )
        assert len(response.results) == len(requests)
        for request, result in zip(requests, response.results, strict=True):
            if result.HasField("capture"):
                self._note_answer(request, result.capture)
        return [result.capture for result in response.results if result.HasField("capture")]

    async def delete(self, service: Service, capture_id: str) -> None:
        """Delete a capture; now and then the client leaves before the answer."""
        self.deleted.add(capture_id)
        call = service.stub.DeleteCapture(
            api.DeleteCaptureRequest(capture_id=capture_id), timeout=CALL_S
        )
        if self.rng.random() < _IMPATIENT:
            await asyncio.wait(
                [asyncio.ensure_future(call.code())], timeout=self.rng.uniform(0, _MOMENT_S)
            )
            call.cancel()
            return
        await call
        self.succeeded["deleted"] += 1

    async def download(self, service: Service, capture_id: str) -> None:
        """Download a picture, which must be whole."""
        self.used.add(capture_id)
        assert await digest(service, capture_id) == self.acknowledged[capture_id].image.sha256
        self.succeeded["downloaded"] += 1

    def _ask(self, request: api.CaptureRequest) -> None:
        if request.request_id:
            self.doubtful[request.request_id] = request

    def _note_answer(self, request: api.CaptureRequest, capture: pb.Capture) -> None:
        assert capture.state == pb.Capture.STATE_SUCCEEDED
        self.doubtful.pop(request.request_id, None)
        if capture.capture_id in self.acknowledged:
            self.used.add(capture.capture_id)
        known = self.acknowledged.setdefault(capture.capture_id, capture)
        assert known == capture, "it is told differently"
        self.requests[capture.capture_id] = request
        self.succeeded["captures"] += 1

    def some(self) -> str | None:
        """Return a capture that has not been deleted, a pinned one only where there are many."""
        left = [i for i in self.acknowledged if i not in self.deleted]
        pinned = [i for i in left if self.acknowledged[i].labels]
        chosen = pinned if len(pinned) > 30 else [i for i in left[-100:] if i not in pinned]
        return self.rng.choice(chosen) if chosen else None

    # What the service must have.

    async def check(self, service: Service) -> None:
        """Look whether everything acknowledged is there, whole, once, and known by its request.

        To be called while nothing is asked of the service.
        """
        listed = await self.wait_for_backlog(service)
        kept = {c.capture_id: c for c in listed if c.state == pb.Capture.STATE_SUCCEEDED}
        running = [c.capture_id for c in listed if c.state == pb.Capture.STATE_RUNNING]
        assert not running, f"of an earlier life: {running}"
        asked = Counter((c.camera, c.request_id) for c in kept.values() if c.request_id)
        twice = [key for key, count in asked.items() if count > 1]
        assert not twice, f"taken twice: {twice}"
        due = [c for i, c in self.acknowledged.items() if i not in self.deleted]
        self._check_missing([c for c in due if c.capture_id not in kept], kept.values())
        there = [c for c in due if c.capture_id in kept]
        for capture in there:
            assert kept[capture.capture_id] == capture, "it is listed as it was acknowledged"
            found = await digest(service, capture.capture_id)
            assert found == capture.image.sha256, f"{capture.capture_id} is damaged"
        await self._check_replays(service, there)
        for request in list(self.doubtful.values()):  # its client comes back
            await self.capture(service, request)
            self.succeeded["asked again"] += 1

    async def wait_for_backlog(self, service: Service) -> list[pb.Capture]:
        """Return what is listed, each once, when retention has come to rest with the files."""
        listed: list[pb.Capture] = []
        differ: list[str] = []

        async def agree() -> bool:
            listed[:] = await captures(service)
            sizes = {c.capture_id: c.image.size_bytes for c in listed if c.HasField("image")}
            files = {path.stem for path in (self.data / "captures").glob("*/*")}
            differ[:] = files ^ sizes.keys()
            loose = any(c.HasField("image") and not c.labels for c in listed)
            too_much = self.max_bytes is not None and sum(sizes.values()) > self.max_bytes and loose
            return not too_much and not differ

        try:
            await until(agree, "files and captures are the same")
        finally:
            if differ:
                print(f"files and captures differ in {differ} of {len(listed)}")
        ids = [capture.capture_id for capture in listed]
        assert len(set(ids)) == len(ids), "a capture is listed twice"
        return listed

    def _check_missing(self, missing: list[pb.Capture], kept: Iterable[pb.Capture]) -> None:
        """Only retention may have taken any: the oldest first, and none that is pinned.

        One that began earlier may still be there if it has ended later, or was used meanwhile.
        """
        loose = [c for c in kept if not c.labels and c.capture_id not in self.used]
        for capture in missing:
            assert not capture.labels, f"{capture.capture_id} is lost, and is pinned"
            for other in loose:
                older = began_s(other) < began_s(capture)
                assert not older or ended_s(other) > ended_s(capture) - _COMMIT_S, (
                    f"{capture.capture_id} is lost"
                )

    async def _check_replays(self, service: Service, there: list[pb.Capture]) -> None:
        """What was acknowledged is not taken again: the shutters do not move."""
        before = await actuations(service)
        for capture in there:
            request = self.requests[capture.capture_id]
            self.used.add(capture.capture_id)
            if request.request_id:
                response = await service.stub.Capture(request, timeout=CALL_S)
                assert response.replayed, capture.capture_id
                assert response.capture == capture
                self.succeeded["replayed"] += 1
        assert await actuations(service) == before

    def check_events(self, events: list[pb.CaptureEvent]) -> None:
        """Look whether each capture's events tell its whole story, once, and all are numbered."""
        assert [e.sequence for e in events] == list(range(1, len(events) + 1))
        stories: dict[str, list[pb.CaptureEvent]] = {}
        for event in events:
            if event.capture_id:
                stories.setdefault(event.capture_id, []).append(event)
        for capture_id, story in stories.items():
            types = [event.type for event in story]
            names = [Event.Type.Name(kind) for kind in types]
            assert types[-1] in _ENDS, f"{capture_id} has not ended: {names}"
            assert sum(kind in _ENDS for kind in types) == 1, f"{capture_id} ended twice: {names}"
            middle = [k for k in types[:-1] if k != Event.TYPE_QUEUED]
            assert middle.count(Event.TYPE_STARTED) == bool(middle), names
            assert middle[:1] in ([], [Event.TYPE_STARTED]), names
        for capture_id, capture in self.acknowledged.items():
            last = stories[capture_id][-1]
            assert last.type == Event.TYPE_SUCCEEDED
            assert last.capture == capture
        self._check_presses(events)

    def _check_presses(self, events: list[pb.CaptureEvent]) -> None:
        """A request has one picture, and another only after retention may have taken that."""
        taken_s: dict[str, list[float]] = {}
        for event in events:
            if event.type == Event.TYPE_SUCCEEDED:
                taken_s.setdefault(event.request_id, []).append(
                    event.event_time.ToNanoseconds() / 1e9
                )
        for capture_id, request in self.requests.items():
            if request.request_id and capture_id not in self.deleted:
                for first, second in itertools.pairwise(taken_s[request.request_id]):
                    assert second - first > self.min_age_s, (
                        f"{request.request_id} was taken again after {second - first:.2f} s"
                    )


class Reader:
    """A reader of events over all lives of a service: it has seen each once, in order."""

    def __init__(self) -> None:
        self.events: list[pb.CaptureEvent] = []

    @property
    def place(self) -> int:
        """The last number that was read."""
        return self.events[-1].sequence if self.events else 0

    async def follow(self, service: Service, *, up_to: int | None = None) -> None:
        """Read on until the service has gone, or up to an event."""
        call = service.stub.CaptureEvents(api.CaptureEventsRequest(after_sequence=self.place))
        try:
            while up_to is None or self.place < up_to:
                response = await call.read()
                assert isinstance(response, api.CaptureEventsResponse), "the stream has ended"
                if response.HasField("event"):
                    assert response.event.sequence == self.place + 1, "a hole, or a repeat"
                    self.events.append(response.event)
                assert not response.HasField("gap")
        except grpc.aio.AioRpcError as error:
            if not gone(error):
                raise
        finally:
            call.cancel()


def began_s(capture: pb.Capture) -> float:
    """Return when a capture was accepted, in seconds since the Unix epoch."""
    return capture.create_time.ToNanoseconds() / 1e9


def ended_s(capture: pb.Capture) -> float:
    """Return when a capture was on disk, but for the commit of its row."""
    return began_s(capture) + capture.timing.total.ToNanoseconds() / 1e9


def gone(error: grpc.aio.AioRpcError) -> bool:
    """Whether a call ended because the service did, and not by a word of it."""
    return error.code() is grpc.StatusCode.UNAVAILABLE and error_info(error).reason is None


async def captures(service: Service) -> list[pb.Capture]:
    """Return all captures, page by page."""
    found: list[pb.Capture] = []
    token = ""
    while True:
        request = api.ListCapturesRequest(page_size=500, page_token=token)
        page = await service.stub.ListCaptures(request, timeout=CALL_S)
        found += page.captures
        token = page.next_page_token
        if not token:
            break
    times = [capture.create_time.ToNanoseconds() for capture in found]
    assert all(a >= b for a, b in itertools.pairwise(times)), "newest first"
    return found


async def digest(service: Service, capture_id: str) -> str:
    """Return the SHA-256 of a picture as it is downloaded."""
    hashed = hashlib.sha256()
    call = service.stub.DownloadImage(
        api.DownloadImageRequest(capture_id=capture_id), timeout=CALL_S
    )
    async for response in call:
        hashed.update(response.data)
    return hashed.hexdigest()


async def actuations(service: Service) -> dict[str, int]:
    """Return how often each camera's shutter was pressed in this life of the service."""
    shown = await service.stub.ListCameras(api.ListCamerasRequest(), timeout=CALL_S)

    async def of(camera: str) -> int:
        request = api.ListControlsRequest(camera=camera)
        controls = (await service.stub.ListControls(request, timeout=CALL_S)).controls
        return next(c.value.int_value for c in controls if c.name == "shutter_actuations")

    names = [camera.camera for camera in shown.cameras]
    return dict(zip(names, await asyncio.gather(*map(of, names)), strict=True))


async def last_sequence(service: Service) -> int:
    """Return the number of the newest event."""
    call = service.stub.CaptureEvents(api.CaptureEventsRequest(), timeout=CALL_S)
    response = await call.read()
    call.cancel()
    assert isinstance(response, api.CaptureEventsResponse)
    assert response.HasField("heartbeat")
    return response.heartbeat.last_sequence
