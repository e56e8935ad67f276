"""What a camera is asked for: the configurations for stills and live view.

libcamera silently adjusts a configuration; `differences` reports what it changed.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from camsvc.drivers.picamera2.pixels import PLAIN

STILL, LIVE = "still", "live"

_LIVE_BOX_PX = (1280, 960)
_DARKEST_FPS = 12
"""How slow live view may become for an automatic exposure, as in Picamera2's own previews."""
_LONGEST_FRAME_US = 1_000_000_000
_STILL_BUFFERS, _LIVE_BUFFERS, _BOTH_BUFFERS = 2, 4, 3
"""Of 12 megapixels each takes 36 MB of a memory that small Pis have little of."""
_STREAMS = ("main", "lores", "raw")

Configuration = dict[str, Any]
"""Picamera2's own form of one."""


def asked(settings: Mapping[str, Any], library: Any) -> dict[str, Configuration]:
    """Return what to ask an open Picamera2 for: STILL, and LIVE unless they are one."""
    full = library.sensor_resolution
    still = (settings["width_px"] or full[0], settings["height_px"] or full[1])
    live = _live_size(settings, still)
    common = {"display": None, "encode": None}
    main = {"format": PLAIN, "size": still}
    if settings["capture_during_live_view"]:
        both = library.create_still_configuration(
            main,
            lores={"format": "YUV420", "size": live},  # a Pi 4 gives no other
            buffer_count=_BOTH_BUFFERS,
            controls=_durations(settings, library, _LONGEST_FRAME_US),
            **common,
        )
        return {STILL: both}
    return {
        # No queue: it would keep the last picture back, which is never the one asked for.
        STILL: library.create_still_configuration(
            main, buffer_count=_STILL_BUFFERS, queue=False, **common
        ),
        LIVE: library.create_video_configuration(
            {"format": PLAIN, "size": live},
            raw=None,
            buffer_count=_LIVE_BUFFERS,
            controls=_durations(settings, library, round(1e6 / _DARKEST_FPS)),
            **common,
        ),
    }


def sizes(mode: str, given: Configuration) -> dict[str, str]:
    """Return a configuration's streams, for people."""
    return {f"{mode}_{name}": _text(given[name]) for name in _STREAMS if given.get(name)}


def differences(settings: Mapping[str, Any], mode: str, given: Configuration) -> Iterator[str]:
    """Yield which sizes that the settings name the camera has made others of."""
    still = "width_px", "height_px"
    live = "live_width_px", "live_height_px"
    for name, keys in (("main", still if mode == STILL else live), ("lores", live)):
        named = tuple(settings[key] for key in keys)
        if given.get(name) and None not in named and tuple(given[name]["size"]) != named:
            yield (
                f"{' and '.join(keys)} are set to {_size(named)}, which the camera does not "
                f"have: it gives {_size(given[name]['size'])}"
            )


def _durations(settings: Mapping[str, Any], library: Any, longest_us: int) -> dict[str, Any]:
    if "FrameDurationLimits" not in library.camera_controls:
        return {}
    shortest_us = round(1e6 / settings["fps"])
    return {"FrameDurationLimits": (shortest_us, max(shortest_us, longest_us))}


def _live_size(settings: Mapping[str, Any], still: tuple[int, int]) -> tuple[int, int]:
    """Return live view's size: as set, or in the still's shape within a box."""
    if settings["live_width_px"]:
        return settings["live_width_px"], settings["live_height_px"]
    factor = min(1.0, *(box / side for box, side in zip(_LIVE_BOX_PX, still, strict=True)))
    width, height = (2 * round(side * factor / 2) for side in still)  # libcamera wants them even
    return width, height


def _text(stream: Mapping[str, Any]) -> str:
    return f"{_size(stream['size'])} {stream['format']}"


def _size(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))
