"""Viewers who want more pictures than are made share; nobody gets less than was asked for."""

import functools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camsvc.images import codec
from camsvc.live.sharing import MAX_VARIANTS, shared
from camsvc.live.spec import LiveSpec
from camsvc.model.values import Frame, LiveVariant

UNKNOWN_PX = 1 << 16
TINY = [LiveSpec(width) for width in range(16, 24)]
OTHERS = [LiveSpec(), *map(LiveSpec, (320, 400, 500, 640, 700, 1000))]
OWN_JPEG = 40, 30

LIMITS = st.none() | st.integers(1, 50) | st.integers(1, 65_535)
WISHES = st.builds(LiveSpec, LIMITS, LIMITS, st.none() | st.integers(1, 100))
CROWDS = st.lists(WISHES, min_size=1, max_size=30, unique=True)


@functools.cache
def own_jpeg() -> codec.Picture:
    grey = np.full(OWN_JPEG[::-1], 99, np.uint8)
    return codec.Picture(
        Frame(1, encoded=bytes(codec.encode(grey, codec.JPEG, 30)), mime_type=codec.JPEG)
    )


def of_pixels(width_px: int, height_px: int) -> codec.Picture:
    return codec.Picture(Frame(1, pixels=np.broadcast_to(np.uint8(0), (height_px, width_px, 3))))


def made(picture: codec.Picture, spec: LiveSpec) -> tuple[int, int, int]:
    """Return what the worker makes of it: width, height, quality; of the camera's own the best."""
    variant = LiveVariant(1, spec.max_width_px, spec.max_height_px, spec.quality_percent)
    (output,) = picture.live_outputs([variant])
    return output.width_px, output.height_px, output.quality_percent or 101


PICTURES = st.builds(of_pixels, st.integers(1, 9000), st.integers(1, 9000)) | st.just(own_jpeg())


@given(CROWDS, PICTURES, st.integers(1, MAX_VARIANTS), st.integers(1, UNKNOWN_PX))
@settings(deadline=None, max_examples=300)
def test_nobody_gets_a_smaller_or_worse_picture_than_asked_for(
    wishes: list[LiveSpec], picture: codec.Picture, affordable: int, own_px: int
) -> None:
    """Whatever the camera makes, and whatever is believed of its size."""
    serving = shared(wishes, affordable=affordable, own_px=own_px)
    assert set(serving) == set(wishes)
    assert len(set(serving.values())) <= MAX_VARIANTS
    for wish, encoding in serving.items():
        asked, given = made(picture, wish), made(picture, encoding)
        assert all(g >= a for g, a in zip(given, asked, strict=True)), (asked, given)


@given(CROWDS, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_who_came_first_makes_no_difference(wishes: list[LiveSpec], rng: random.Random) -> None:
    """And where there is room for all, each has its own."""
    again = rng.sample(wishes, len(wishes))
    kinds = {"affordable": MAX_VARIANTS, "own_px": UNKNOWN_PX}
    serving = shared(wishes, **kinds)
    assert serving == shared(again, **kinds)
    if len(wishes) <= MAX_VARIANTS:
        assert serving == {wish: wish for wish in wishes}


@pytest.mark.parametrize("own_px", [UNKNOWN_PX, 1280])
@pytest.mark.parametrize(
    "crowd",
    [
        TINY,
        [LiveSpec(None, width) for width in range(16, 24)],
        [LiveSpec(width, 9 * width) for width in range(1, 60)],
        [LiveSpec(width, quality_percent=5 * width) for width in range(1, 17)],
        [LiveSpec(2**power) for power in range(8)],
    ],
    ids=["widths", "heights", "sixty", "qualities", "spread"],
)
def test_a_crowd_of_small_pictures_leaves_all_others_theirs(
    crowd: list[LiveSpec], own_px: int
) -> None:
    """Also where others want nearly the same: 640 and 700 stay apart."""
    serving = shared([*crowd, *OTHERS[: MAX_VARIANTS - 2]], affordable=MAX_VARIANTS, own_px=own_px)
    assert all(serving[other] == other for other in OTHERS[: MAX_VARIANTS - 2])


def test_a_crowd_of_pictures_beyond_the_cameras_size_shares_that() -> None:
    crowd = [LiveSpec(2000 * n, 2000 * n) for n in range(1, 9)]
    serving = shared([*crowd, *OTHERS[1:]], affordable=MAX_VARIANTS, own_px=1280)
    assert all(serving[other] == other for other in OTHERS[1:])


def test_a_low_quality_is_given_up_last_where_it_saves_most() -> None:
    """Eight small ones cost less bytes together than one large one in a better quality."""
    low = LiveSpec(1000, quality_percent=20)
    serving = shared([*TINY, *OTHERS[-6:], low], affordable=MAX_VARIANTS, own_px=1280)
    assert serving[low] == low


@pytest.mark.parametrize(
    ("widths", "affordable", "made_px"),
    [
        ([1280, 1279, 1278, 320], 2, [320, 1280]),
        ([1280, 1279, 1278, 320], 1, [320, 1280]),
        ([1280, 700, 640, 320], 3, [320, 700, 1280]),
        ([1280, 640, 320], 1, [320, 640, 1280]),
        ([1280, 700, 400], 1, [700, 1280]),
    ],
)
def test_what_the_encoder_has_no_time_for_is_shared_by_the_nearest_and_by_no_others(
    widths: list[int], affordable: int, made_px: list[int]
) -> None:
    """A small picture in place of a large one would save no time that is worth it."""
    serving = shared(map(LiveSpec, widths), affordable=affordable, own_px=4000)
    assert sorted(each.max_width_px or 0 for each in set(serving.values())) == made_px
