"""What a camera refuses: all of it counted, and kept as events as far as there are few.

The first refusal of each reason is an event at once. Those that follow are one event for each
minute, which says how many they were: who asks again and again must not push the events of captures
out of the history.
"""

import asyncio
from dataclasses import dataclass, replace

from camsvc.camera.ports import CaptureArchive
from camsvc.camera.view import CaptureStatistics
from camsvc.model.records import EventRecord

INTERVAL_S = 60.0


@dataclass(slots=True)
class _Following:
    """The refusals of one reason since its last event."""

    timer: asyncio.TimerHandle
    count: int = 0
    last: EventRecord | None = None


class Refusals:
    """One camera's refusals. For the event loop's thread."""

    def __init__(self, archive: CaptureArchive, statistics: CaptureStatistics) -> None:
        self._archive = archive
        self._statistics = statistics
        self._following: dict[str, _Following] = {}
        """By reason, for those that had an event less than `INTERVAL_S` ago."""

    def note(self, event: EventRecord) -> None:
        """Count a refusal, and keep its event, now or together with others."""
        reason = self.count(event)
        following = self._following.get(reason)
        if following is None:
            self._keep(reason, replace(event, refused_count=1))
        else:
            following.count += 1
            following.last = event

    def count(self, event: EventRecord) -> str:
        """Count a refusal; return its reason."""
        reason = event.failure.reason if event.failure else ""
        self._statistics.refused[reason] += 1
        return reason

    def close(self) -> None:
        """Keep what is counted and has no event yet."""
        following, self._following = self._following, {}
        for each in following.values():
            each.timer.cancel()
            if each.last is not None:
                self._archive.note(replace(each.last, refused_count=each.count))

    def _keep(self, reason: str, event: EventRecord) -> None:
        self._archive.note(event)
        timer = asyncio.get_running_loop().call_later(INTERVAL_S, self._end, reason)
        self._following[reason] = _Following(timer)

    def _end(self, reason: str) -> None:
        ended = self._following.pop(reason)
        if ended.last is not None:
            self._keep(reason, replace(ended.last, refused_count=ended.count))
