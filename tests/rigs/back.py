"""How soon a camera is back after the end of its fault."""

from tests.support.service import Service
from tests.support.timing import Timing


class Back:
    """A measurement from now on; a worker that begins meanwhile may be what it takes."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._before = self._workers()
        self._timing = Timing()

    def assert_within(self, promised_s: float) -> None:
        """End the measurement; fail when it took longer than is promised."""
        self._timing.stop(*(self._workers() - self._before))
        print(f"back: {self._timing}")
        self._timing.assert_within(promised_s)

    def _workers(self) -> set[int]:
        return {worker.pid for worker in self._service.workers()}
