"""The ways in which a camera's live frames are encoded at the moment, shared among viewers.

Bounded: each further size or quality costs the worker an encoding of every frame.
"""

from collections import Counter, OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field

from camsvc.live.sharing import MAX_VARIANTS, shared
from camsvc.live.spec import LiveSpec
from camsvc.model.values import LiveVariant

_MAX_WISHES = 64
"""That are told apart: who asks for a further one has the camera's own size."""

_MAX_RETIRED = 256
"""Ids that are remembered: frames may be on their way as long as it takes to retire so many."""

_FEWER = 0.75
"""Steps in which the encoder's work is cut."""


@dataclass(eq=False, slots=True)
class Wish:
    """Viewers who want the same picture, by their rates, and the id of what serves them."""

    encoding: LiveSpec
    rates: Counter[float | None] = field(default_factory=Counter)
    variant: int = 0
    is_moving: bool = False
    """Whether it had another variant before, and frames of this one have not come yet."""


class Variants:
    """What viewers want, and the encodings that serve it. Ids are never used twice."""

    def __init__(self) -> None:
        self._wishes: dict[LiveSpec, Wish] = {}
        self._serving: dict[LiveSpec, LiveSpec] = {}
        """The encoding that serves each wish."""
        self._variants: dict[LiveSpec, LiveVariant] = {}
        self._encodings: OrderedDict[int, LiveSpec] = OrderedDict()
        """What ids mean, also those that were retired lately."""
        self._next_id = 1
        self._affordable = MAX_VARIANTS
        self.own_px = 1 << 16
        """The longer side of the camera's picture, as far as is known."""

    @property
    def wanted(self) -> list[LiveVariant]:
        """What the worker is to encode."""
        return list(self._variants.values())

    @property
    def takes_every_frame(self) -> bool:
        """Whether the worker encodes every frame that it reads, for anybody."""
        return any(variant.max_fps is None for variant in self.wanted)

    def add(self, spec: LiveSpec) -> Wish:
        """Add one viewer."""
        encoding = spec.encoding
        if encoding not in self._wishes and len(self._wishes) >= _MAX_WISHES:
            encoding = encoding.whole
        wish = self._wishes.setdefault(encoding, Wish(encoding))
        wish.rates[spec.max_fps] += 1
        self._update()
        return wish

    def remove(self, wish: Wish, spec: LiveSpec) -> None:
        """Remove one viewer."""
        wish.rates -= Counter([spec.max_fps])
        if not wish.rates:
            del self._wishes[wish.encoding]
        self._update()

    def cut(self) -> None:
        """Let more viewers share: the encoder has no time for all there is to encode."""
        self._affordable = max(1, int(_FEWER * len(self._variants)))
        self._update()

    def encoding(self, variant_id: int) -> LiveSpec | None:
        """Return what an id stands for; None when it is no longer wanted."""
        variant = self._current(variant_id)
        return None if variant is None else self._encodings[variant_id]

    def serving(self, spec: LiveSpec) -> LiveSpec:
        """Return the encoding that serves a viewer, or would serve one more."""
        encoding = spec.encoding
        return self._serving.get(encoding) or self._shared([*self._wishes, encoding])[encoding]

    def choose(self, ids: Collection[int]) -> dict[Wish, int]:
        """Return which of a frame's variants each wish is served by; the others have to wait.

        A wish that was given another variant is served by others until the worker encodes that, so
        that its viewers miss nothing.
        """
        chosen: dict[Wish, int] = {}
        for wish in self._wishes.values():
            if wish.variant in ids:
                wish.is_moving = False
                chosen[wish] = wish.variant
            elif wish.is_moving and (instead := self._least_that_serves(wish, ids)) is not None:
                chosen[wish] = instead
        return chosen

    def paced(self, variant_id: int) -> bool:
        """Whether the worker selects this variant's frames by the rate of its viewers.

        It does only where all want the same; else their own pacing does, as two selections one
        after the other would not be even.
        """
        variant = self._current(variant_id)
        return variant is not None and variant.max_fps is not None

    def _current(self, variant_id: int) -> LiveVariant | None:
        return next((each for each in self._variants.values() if each.id == variant_id), None)

    def _least_that_serves(self, wish: Wish, ids: Collection[int]) -> int | None:
        wanted = wish.encoding.rank
        ranks = {id_: self._encodings[id_].rank for id_ in ids if id_ in self._encodings}
        serving = [id_ for id_, rank in ranks.items() if rank.serves(wanted)]
        return min(serving, key=ranks.__getitem__, default=None)

    def _shared(self, wishes: Collection[LiveSpec]) -> dict[LiveSpec, LiveSpec]:
        if len(wishes) <= self._affordable:
            return {wish: wish for wish in wishes}
        return shared(wishes, affordable=self._affordable, own_px=self.own_px)

    def _update(self) -> None:
        if len(self._wishes) <= self._affordable:
            self._affordable = MAX_VARIANTS  # nobody has to share: the next one may be served
        self._serving = self._shared(self._wishes)
        rates: dict[LiveSpec, set[float | None]] = {}
        for wish in self._wishes.values():
            rates.setdefault(self._serving[wish.encoding], set()).update(wish.rates)
        self._variants = {encoding: self._variant(encoding, rates[encoding]) for encoding in rates}
        for wish in self._wishes.values():
            variant = self._variants[self._serving[wish.encoding]].id
            wish.is_moving = wish.is_moving or wish.variant not in (0, variant)
            wish.variant = variant
        while len(self._encodings) > _MAX_RETIRED:
            self._encodings.popitem(last=False)

    def _variant(self, encoding: LiveSpec, rates: set[float | None]) -> LiveVariant:
        known = self._variants.get(encoding)
        id_ = self._next_id if known is None else known.id
        self._next_id = max(self._next_id, id_ + 1)
        self._encodings[id_] = encoding
        self._encodings.move_to_end(id_)
        max_fps = next(iter(rates)) if len(rates) == 1 else None
        return LiveVariant(
            id_,
            encoding.max_width_px,
            encoding.max_height_px,
            encoding.quality_percent,
            max_fps,
        )
