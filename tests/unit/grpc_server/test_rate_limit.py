"""A caller's calls in a second are limited, and it is told when the next may come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camsvc.grpc_server.rate_limit import RateLimit
from camsvc.model.errors import RateLimited

ADDRESS, OTHER = "ipv6:%5B::1%5D", "ipv6:%5B::2%5D"


@given(
    per_s=st.sampled_from([0.5, 1.0, 2.5, 5.0]),
    waits=st.lists(st.sampled_from([0.0, 0.01, 0.1, 0.3, 1.0, 5.0]), max_size=60),
)
def test_there_are_never_more_and_who_waits_as_told_is_let_in(
    per_s: float, waits: list[float]
) -> None:
    limit, now, taken = RateLimit(per_s), 1000.0, list[float]()
    for wait_s in waits:
        now += wait_s
        try:
            limit.take(ADDRESS, now)
        except RateLimited as refusal:
            now += (refusal.retry_after_s or 0.0) + 1e-6
            limit.take(ADDRESS, now)
        taken.append(now)
    for count, at in enumerate(taken):
        since = [earlier for earlier in taken[: count + 1] if earlier > at - 1]
        assert len(since) <= 2 * max(1.0, per_s), "what was saved up, and what a second has"
    if taken:
        assert len(taken) <= max(1.0, per_s) + per_s * (taken[-1] - taken[0]) + 1e-3


def test_as_many_as_a_second_has_may_come_at_once() -> None:
    limit = RateLimit(5)
    for _ in range(5):
        limit.take(ADDRESS, 1000.0)
    with pytest.raises(RateLimited, match="more than 5 calls in a second") as refusal:
        limit.take(ADDRESS, 1000.0)
    assert refusal.value.retry_after_s == pytest.approx(0.2)
    limit.take(OTHER, 1000.0)


def test_by_default_there_is_no_limit() -> None:
    limit = RateLimit(0)
    for _ in range(10_000):
        limit.take(ADDRESS, 1000.0)
