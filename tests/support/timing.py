"""A promised time, against how long the scheduler kept the test's processes waiting meanwhile.

On a busy machine everything takes longer, and a bound in seconds alone says nothing of the product.
The kernel counts for each thread how long it could have run and did not. A promise is prolonged by
that of the test's own process, of the service and of its workers: on a quiet machine, by next to
nothing. A product that sleeps, waits or computes for too long is late all the same.
"""

import contextlib
import math
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil


class Waits:
    """How long this process's threads and its descendants' have waited for a processor so far.

    Of the descendants, `pids` may say which.
    """

    def __init__(self, *pids: int) -> None:
        self.stolen_s: float = psutil.cpu_times().steal
        """What other machines on the same hardware have taken, in seconds."""
        self.ns = {
            (pid, thread): int(text.split()[1])
            for pid in ((os.getpid(), *pids) if pids else _ours())
            for thread in _listed(f"/proc/{pid}/task")
            if (text := _text(f"/proc/{pid}/task/{thread}/schedstat"))
        }
        """By process and thread, in nanoseconds."""

    @classmethod
    def ever(cls, *pids: int) -> float:
        """Return the seconds that processes have waited since they began."""
        waits = cls(*pids)
        return sum(ns for (pid, _), ns in waits.ns.items() if pid in pids) / 1e9

    def since(self, before: "Waits") -> float:
        """Return the seconds between two moments, all threads' together.

        Only of processes that were there at both: one that has begun in between, as a worker that
        is to be warm does, is beside what is measured.
        """
        there = {pid for pid, _ in before.ns}
        ns = sum(
            ns - before.ns.get((pid, thread), 0)
            for (pid, thread), ns in self.ns.items()
            if pid in there
        )
        return ns / 1e9 + self.stolen_s - before.stolen_s


class Timing:
    """One measurement, by `timing`."""

    def __init__(self, *pids: int) -> None:
        self._pids = pids
        self._before = Waits(*pids)
        self._begun = time.monotonic()
        self.s = self.waited_s = 0.0
        """How long it took, and how long of that processors were waited for, in seconds."""

    @property
    def own_s(self) -> float:
        """What it would have taken on a quiet machine, in seconds."""
        return max(0.0, self.s - self.waited_s)

    def stop(self, *begun: int) -> None:
        """End the measurement; `begun` are processes that have begun meanwhile, and do count."""
        self.s = time.monotonic() - self._begun
        self.waited_s = Waits(*self._pids).since(self._before) + Waits.ever(*begun)

    def assert_within(self, promised_s: float) -> None:
        """Fail when it took longer than is promised, and not for want of a processor."""
        assert self.own_s <= promised_s, f"{self}; promised: {promised_s:.3f} s"

    def __str__(self) -> str:
        return f"took {self.s:.3f} s, waited {self.waited_s:.3f} s for processors"


class Timings:
    """Many measurements of the same."""

    def __init__(self) -> None:
        self.all: list[Timing] = []

    @contextlib.contextmanager
    def one(self, *pids: int) -> Iterator[Timing]:
        """Measure how long it takes this time; `pids` as for `Waits`."""
        measured = Timing(*pids)
        yield measured
        measured.stop()
        self.all.append(measured)

    def percentile_s(self, percent: float) -> float:
        """Return what so many of a hundred would have kept to on a quiet machine, in seconds."""
        return percentile([measured.own_s for measured in self.all], percent)

    def assert_within(self, promised_s: float, *, percent: float = 100) -> None:
        """Fail when fewer than so many of a hundred kept to what is promised."""
        assert self.percentile_s(percent) <= promised_s, f"{self}; promised: {promised_s:.3f} s"

    def __str__(self) -> str:
        own = [self.percentile_s(percent) * 1e3 for percent in (50, 99, 100)]
        waited_s = sum(measured.waited_s for measured in self.all)
        return (
            "{} times, p50 {:.2f} ms, p99 {:.2f} ms, at most {:.2f} ms".format(len(self.all), *own)
            + f" without the {waited_s:.3f} s that processors were waited for"
        )


def percentile(values: Sequence[float], percent: float) -> float:
    return sorted(values)[max(0, math.ceil(percent / 100 * len(values)) - 1)]


@contextlib.contextmanager
def timing(*pids: int) -> Iterator[Timing]:
    """Measure how long something takes; `pids` as for `Waits`."""
    measured = Timing(*pids)
    try:
        yield measured
    finally:
        measured.stop()
    print(measured)  # shown when the test fails


def _ours() -> Iterator[int]:
    found = [os.getpid()]
    while found:
        yield (pid := found.pop())
        for thread in _listed(f"/proc/{pid}/task"):
            found += map(int, _text(f"/proc/{pid}/task/{thread}/children").split())


def _listed(folder: str) -> list[str]:
    with contextlib.suppress(OSError):
        return os.listdir(folder)
    return []


def _text(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text()
    return ""
