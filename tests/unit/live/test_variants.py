"""Viewers that want the same share it, and however many wishes there are, few are encoded."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from camsvc.live.sharing import MAX_VARIANTS
from camsvc.live.spec import LiveSpec
from camsvc.live.variants import Variants, Wish

WIDTHS = [100 * n for n in range(1, MAX_VARIANTS + 1)]


def full() -> tuple[Variants, list[Wish]]:
    """All places taken, each by another width."""
    variants = Variants()
    return variants, [variants.add(LiveSpec(max_width_px=width)) for width in WIDTHS]


def ids(variants: Variants) -> set[int]:
    return {variant.id for variant in variants.wanted}


def encoding_of(variants: Variants, wish: Wish) -> LiveSpec | None:
    return variants.encoding(wish.variant)


def test_viewers_of_the_same_picture_share_one_variant() -> None:
    variants = Variants()
    wishes = {variants.add(LiveSpec(640, 480, 70, max_fps)) for max_fps in (None, 5, 30)}
    assert {wish.encoding for wish in wishes} == {LiveSpec(640, 480, 70)}
    assert len(variants.wanted) == 1


@given(
    own=st.tuples(*[st.integers(1, 2000)] * 2),
    made_for=st.tuples(*[st.none() | st.integers(1, 2000)] * 2),
    asked=st.tuples(*[st.none() | st.integers(1, 2000)] * 2),
)
def test_a_picture_serves_another_wish_only_where_it_would_be_the_same(
    own: tuple[int, int],
    made_for: tuple[int | None, int | None],
    asked: tuple[int | None, int | None],
) -> None:
    def size_for(width: int | None, height: int | None) -> tuple[int, int]:
        shares = [
            limit / side
            for side, limit in zip(own, (width, height), strict=True)
            if limit is not None and limit < side
        ]
        share = min(shares, default=1.0)
        return max(1, round(own[0] * share)), max(1, round(own[1] * share))

    has = size_for(*made_for)
    if LiveSpec(*asked).is_served_by(LiveSpec(*made_for), *has):
        assert size_for(*asked) == has
    assert not LiveSpec(*asked, 70).is_served_by(LiveSpec(*made_for), *has)


@pytest.mark.parametrize(
    "other", [LiveSpec(320), LiveSpec(640, 480), LiveSpec(640, None, 70), LiveSpec()]
)
def test_another_size_or_quality_is_another_variant(other: LiveSpec) -> None:
    variants = Variants()
    variants.add(LiveSpec(640))
    variants.add(other)
    assert len(variants.wanted) == 2


def test_the_worker_is_told_exactly_what_is_wanted() -> None:
    variants = Variants()
    wish = variants.add(LiveSpec(640, 480, 70))
    (wanted,) = variants.wanted
    assert (wanted.max_width_px, wanted.max_height_px) == (640, 480)
    assert (wanted.quality_percent, wanted.max_fps) == (70, None)
    assert wanted.id == wish.variant
    assert variants.encoding(wanted.id) == LiveSpec(640, 480, 70)


@pytest.mark.parametrize(
    ("rates", "told"),
    [([10.0], 10.0), ([10.0, 10.0], 10.0), ([10.0, 20.0], None), ([10.0, None], None)],
)
def test_the_worker_skips_frames_only_for_viewers_of_one_rate(
    rates: list[float | None], told: float | None
) -> None:
    variants = Variants()
    for rate in rates:
        wish = variants.add(LiveSpec(640, max_fps=rate))
    assert [variant.max_fps for variant in variants.wanted] == [told]
    assert variants.paced(wish.variant) == (told is not None)
    assert variants.takes_every_frame == (told is None)


def test_viewers_of_two_wishes_that_share_are_paced_only_by_one_rate() -> None:
    variants, wishes = full()
    slow = variants.add(LiveSpec(790, max_fps=5))
    assert slow.variant == wishes[-1].variant
    assert not variants.paced(slow.variant)


@pytest.mark.parametrize(
    ("wanted", "made_for"),
    [
        (LiveSpec(250), [100, 250, 300, 400, 500, 600, 700, 800]),
        (LiveSpec(50), [100, 200, 300, 400, 500, 600, 700, 800]),
        (LiveSpec(700), [100, 200, 300, 400, 500, 600, 700, 800]),
        (LiveSpec(701), [100, 200, 300, 400, 500, 600, 701, 800]),
        (LiveSpec(5000), [200, 300, 400, 500, 600, 700, 800, 5000]),
        (LiveSpec(300, None, 20), [200, 300, 300, 400, 500, 600, 700, 800]),
    ],
)
def test_when_all_places_are_taken_the_nearest_share_the_larger_of_them(
    wanted: LiveSpec, made_for: list[int]
) -> None:
    variants, wishes = full()
    wish = variants.add(wanted)
    assert sorted(v.max_width_px or 0 for v in variants.wanted) == made_for
    for each in (*wishes, wish):
        serving = encoding_of(variants, each)
        assert serving is not None
        assert serving.rank.serves(each.encoding.rank)
        assert variants.serving(each.encoding) == serving


def test_what_would_serve_one_viewer_more_is_known_before() -> None:
    variants, _ = full()
    for spec in (LiveSpec(250), LiveSpec(701), LiveSpec(quality_percent=90), LiveSpec()):
        expected = variants.serving(spec)
        wish = variants.add(spec)
        assert encoding_of(variants, wish) == expected
        variants.remove(wish, spec)


def test_a_variant_goes_with_its_last_viewer_and_its_id_is_never_used_again() -> None:
    variants = Variants()
    seen: set[int] = set()
    for _ in range(3):
        wish = variants.add(LiveSpec(640))
        assert variants.add(LiveSpec(640, max_fps=5)) is wish
        (new,) = ids(variants) - seen
        seen.add(new)
        variants.remove(wish, LiveSpec(640))
        assert ids(variants) == {new}, "somebody still watches it"
        variants.remove(wish, LiveSpec(640, max_fps=5))
        assert variants.wanted == []
        assert not variants.choose([new]), "a frame still on its way finds nobody"
        assert variants.encoding(new) is None
    assert len(seen) == 3


def test_a_place_given_up_can_be_taken() -> None:
    variants, wishes = full()
    small = variants.add(LiveSpec(790))
    assert encoding_of(variants, small) == LiveSpec(800)
    variants.remove(wishes[0], LiveSpec(100))
    assert encoding_of(variants, small) == LiveSpec(790)


def test_more_wishes_than_are_told_apart_get_the_whole_picture() -> None:
    """A bound for what one change costs; without it, callers of GetFrame could make it grow."""
    variants = Variants()
    for width in range(1, 65):
        variants.add(LiveSpec(width))
    last, fine = variants.add(LiveSpec(640)), variants.add(LiveSpec(640, quality_percent=90))
    assert (last.encoding, fine.encoding) == (LiveSpec(), LiveSpec(quality_percent=100))
    variants.remove(last, LiveSpec(640))
    variants.remove(fine, LiveSpec(640, quality_percent=90))


def test_a_cut_lasts_until_nobody_has_to_share() -> None:
    variants, wishes = full()
    variants.cut()
    assert len(variants.wanted) == 6
    variants.cut()
    assert len(variants.wanted) == 4
    for wish in wishes[:4]:
        variants.remove(wish, wish.encoding)
    assert len(variants.wanted) == 4
    variants.add(LiveSpec(100))
    assert len(variants.wanted) == 5, "it may be enough now: that shows"


class Sharing(RuleBasedStateMachine):
    """Viewers come and go while frames are on their way, encoded for those who were there before.

    Nobody misses one, and none is smaller or worse than asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.variants = Variants()
        self.viewers: list[tuple[Wish, LiveSpec]] = []
        self.told: list[tuple[set[int], set[Wish]]] = [(set(), set())]
        """What the worker will encode one after the other, and who was there then."""
        self.meaning: dict[int, LiveSpec] = {}

    @rule(
        spec=st.builds(
            LiveSpec,
            st.none() | st.integers(1, 12),
            st.none() | st.integers(1, 3),
            st.none() | st.sampled_from([20, 80, 81, 95]),
        )
    )
    def comes(self, spec: LiveSpec) -> None:
        self.viewers.append((self.variants.add(spec), spec))
        self.tell()

    @precondition(lambda self: self.viewers)
    @rule(data=st.data())
    def leaves(self, data: st.DataObject) -> None:
        viewer = data.draw(st.sampled_from(self.viewers))
        self.viewers.remove(viewer)
        self.variants.remove(*viewer)
        self.tell()

    @rule()
    def encoder_is_too_slow(self) -> None:
        self.variants.cut()
        self.tell()

    def tell(self) -> None:
        self.told.append((ids(self.variants), {wish for wish, _ in self.viewers}))

    @precondition(lambda self: len(self.told) > 1)
    @rule()
    def the_worker_is_told(self) -> None:
        self.told.pop(0)

    @rule()
    def a_frame_comes(self) -> None:
        encoded, present = self.told[0]
        chosen = self.variants.choose(encoded)
        assert present & {wish for wish, _ in self.viewers} <= set(chosen), "a frame is missed"
        for wish, id_ in chosen.items():
            assert id_ in encoded
            assert self.meaning[id_].rank.serves(wish.encoding.rank)

    @invariant()
    def variants_are_few_and_serve_all(self) -> None:
        wanted = self.variants.wanted
        assert len(wanted) <= MAX_VARIANTS
        assert {wish.variant for wish, _ in self.viewers} == ids(self.variants)
        for wish, spec in self.viewers:
            encoding = self.variants.encoding(wish.variant)
            assert encoding is not None
            assert encoding.rank.serves(spec.rank)
        for variant in wanted:
            encoding = self.variants.encoding(variant.id)
            assert encoding is not None
            assert self.meaning.setdefault(variant.id, encoding) == encoding, "ids have one meaning"


TestSharing = Sharing.TestCase
TestSharing.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
