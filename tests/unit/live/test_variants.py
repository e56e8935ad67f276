"""Viewers that want the same share it, and however many wishes there are, few are encoded."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camsvc.live.spec import LiveSpec
from camsvc.live.variants import MAX_VARIANTS, Variants

WIDTHS = [100 * n for n in range(1, MAX_VARIANTS + 1)]


def full() -> Variants:
    """All places taken, each by another width."""
    variants = Variants()
    for width in WIDTHS:
        variants.add(LiveSpec(max_width_px=width))
    return variants


def ids(variants: Variants) -> set[int]:
    return {variant.id for variant in variants.wanted()}


def test_viewers_of_the_same_picture_share_one_variant() -> None:
    variants = Variants()
    pictures = {variants.add(LiveSpec(640, 480, 70, max_fps)) for max_fps in (None, 5, 30)}
    assert pictures == {LiveSpec(640, 480, 70)}
    assert len(variants.wanted()) == len(variants.wanted()) == 1


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
    assert len(variants.wanted()) == 2


def test_the_worker_is_told_exactly_what_is_wanted() -> None:
    variants = Variants()
    variants.add(LiveSpec(640, 480, 70))
    (wanted,) = variants.wanted()
    assert (wanted.max_width_px, wanted.max_height_px) == (640, 480)
    assert (wanted.quality_percent, wanted.max_fps) == (70, None)
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
        variants.add(LiveSpec(640, max_fps=rate))
    assert [variant.max_fps for variant in variants.wanted()] == [told]


@pytest.mark.parametrize(
    ("wanted", "served"),
    [
        (LiveSpec(250), 300),
        (LiveSpec(50), 100),
        (LiveSpec(700), 700),
        (LiveSpec(701), 800),
        (LiveSpec(5000), 800),
        (LiveSpec(), 800),
    ],
)
def test_when_all_places_are_taken_the_nearest_larger_one_serves_or_the_largest(
    wanted: LiveSpec, served: int
) -> None:
    variants = full()
    assert variants.add(wanted) == LiveSpec(served)
    assert len(variants.wanted()) == MAX_VARIANTS


def test_when_all_places_are_taken_another_quality_is_served_in_the_right_size() -> None:
    variants = full()
    assert variants.add(LiveSpec(300, quality_percent=20)) == LiveSpec(300)


def test_a_variant_goes_with_its_last_viewer_and_its_id_is_never_used_again() -> None:
    variants = Variants()
    seen: set[int] = set()
    for _ in range(3):
        picture = variants.add(LiveSpec(640))
        variants.add(LiveSpec(640, max_fps=5))
        (new,) = ids(variants) - seen
        seen.add(new)
        variants.remove(picture, LiveSpec(640))
        assert ids(variants) == {new}, "somebody still watches it"
        variants.remove(picture, LiveSpec(640, max_fps=5))
        assert len(variants.wanted()) == 0
        assert variants.wanted() == []
        assert variants.encoding(new) is None, "a frame still on its way finds nobody"
    assert len(seen) == 3


def test_a_place_given_up_can_be_taken() -> None:
    variants = full()
    variants.remove(LiveSpec(WIDTHS[0]), LiveSpec(WIDTHS[0]))
    assert variants.add(LiveSpec(50)) == LiveSpec(50)


SPECS = st.builds(
    LiveSpec,
    st.none() | st.integers(1, 12),
    st.none() | st.integers(1, 3),
    st.none() | st.integers(1, 2),
    st.none() | st.sampled_from([5.0, 30.0]),
)


@given(steps=st.lists(st.tuples(SPECS, st.booleans()), max_size=60))
@settings(deadline=None)
def test_however_viewers_come_and_go_variants_are_bounded_and_each_has_a_viewer(
    steps: list[tuple[LiveSpec, bool]],
) -> None:
    variants = Variants()
    viewers: list[tuple[LiveSpec, LiveSpec]] = []
    used: dict[int, LiveSpec] = {}
    for spec, leaves in steps:
        if leaves and viewers:
            variants.remove(*viewers.pop(0))
        else:
            viewers.append((variants.add(spec), spec))
        assert len(variants.wanted()) <= MAX_VARIANTS
        watched = {picture for picture, _ in viewers}
        assert {variants.encoding(id_) for id_ in ids(variants)} == watched
        for id_ in ids(variants):
            picture = variants.encoding(id_)
            assert picture is not None
            assert used.setdefault(id_, picture) == picture, "an id means one picture for ever"
    for viewer in viewers:
        variants.remove(*viewer)
    assert len(variants.wanted()) == 0
