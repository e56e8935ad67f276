"""How many calls may begin in a second from each address."""

from camsvc.model.errors import RateLimited

_MOST_ADDRESSES = 1000
"""To keep, before those are forgotten whose calls were long enough ago."""

_ROUNDING_S = 1e-6


class RateLimit:
    """The generic cell rate algorithm: each call moves the time that its address's calls add up to.

    All calls of a second may come at once.
    """

    def __init__(self, per_s: float) -> None:
        """Allow `per_s` calls; 0: any number."""
        self._per_s = per_s
        self._used_until: dict[str, float] = {}

    def take(self, address: str, now: float) -> None:
        """Count a call from an address; `now` is monotonic.

        Raises:
            RateLimited: it is one too many.
        """
        if not self._per_s:
            return
        used_until = max(now, self._used_until.get(address, now))
        wait_s = used_until + 1 / self._per_s - (now + max(1.0, 1 / self._per_s))
        if wait_s > _ROUNDING_S:
            raise RateLimited(
                f"more than {self._per_s:g} calls in a second came from your address, which is "
                f"max_calls_per_s; come back in {wait_s:.2f} s",
                retry_after_s=wait_s,
                metadata={"limit": f"{self._per_s:g}"},
            )
        self._used_until[address] = used_until + 1 / self._per_s
        if len(self._used_until) > _MOST_ADDRESSES:
            self._used_until = {a: until for a, until in self._used_until.items() if until > now}
