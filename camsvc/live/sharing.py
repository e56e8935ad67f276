"""Which encodings serve everybody, when viewers want more of them than there may be.

Invariant: nobody is given a picture that is smaller, or of lower quality, than asked for. Two who
share an encoding get the larger sides, and the better quality, of both.
"""

import itertools
from collections.abc import Iterable, Iterator
from operator import attrgetter

from camsvc.live.spec import LiveSpec, Rank

MAX_VARIANTS = 8
"""Each costs the worker an encoding of every frame, and memory."""

_TOO_FAR = 2.0
"""To save the encoder's time, no picture becomes so many times as wide or high as asked for. What
stays apart costs little: half the sides, a quarter of the time."""

_ORDERS = attrgetter("fine", "width_px", "height_px"), attrgetter("fine", "height_px", "width_px")


def shared(wishes: Iterable[LiveSpec], *, affordable: int, own_px: int) -> dict[LiveSpec, LiveSpec]:
    """Return what serves each wish: at most `MAX_VARIANTS` encodings, whoever came first.

    They are no more than the encoder can afford, as long as sizes are near enough to each other.
    `own_px` is the longer side of the camera's picture; no frame is larger.
    """

    def side(rank: Rank) -> int:
        return min(rank.width_px, rank.height_px, own_px)

    def size(rank: Rank) -> tuple[int, Rank]:
        return side(rank), rank

    def bytes_(rank: Rank) -> int:
        """About, as far as two can be compared by it."""
        return side(rank) ** 2 * rank.quality

    def bytes_more(a: Rank, b: Rank) -> int:
        """What both get beyond what they want: many small ones cost less than a large one."""
        return 2 * bytes_(a.joined(b)) - bytes_(a) - bytes_(b)

    def times_as_large(a: Rank, b: Rank) -> float:
        """How much larger the smallest one becomes: the more, the less time that saves."""
        return side(a.joined(b)) / min(least[a], least[b])

    ranks = {wish.rank: wish for wish in wishes}
    wanted = sorted(ranks, key=size)
    encodings: list[Rank] = []
    for rank in wanted:  # the small ones first: it is they who share
        if rank not in encodings:
            encodings.append(rank)
        if len(encodings) > MAX_VARIANTS:
            _join(encodings, min(_neighbours(encodings), key=lambda pair: bytes_more(*pair)))
    least = {rank: side(rank) for rank in encodings}
    while len(encodings) > affordable:
        pairs = ((times_as_large(*pair), pair) for pair in _neighbours(encodings))
        times, (a, b) = min(pairs, default=(_TOO_FAR, (wanted[0], wanted[0])))
        if times >= _TOO_FAR:
            break
        least[a.joined(b)] = min(least[a], least[b])
        _join(encodings, (a, b))
    encodings.sort(key=size)
    return {
        ranks[rank]: LiveSpec.of(next(each for each in encodings if each.serves(rank)))
        for rank in wanted
    }


def _neighbours(encodings: list[Rank]) -> Iterator[tuple[Rank, Rank]]:
    """Give those that can share and are next to each other; of any three, two are."""
    for order in _ORDERS:
        for a, b in itertools.pairwise(sorted(encodings, key=order)):
            if a.fine == b.fine:
                yield a, b


def _join(encodings: list[Rank], pair: tuple[Rank, ...]) -> None:
    for each in pair:
        encodings.remove(each)
    joined = pair[0].joined(pair[1])
    if joined not in encodings:
        encodings.append(joined)
