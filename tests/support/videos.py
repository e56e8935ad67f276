"""Encoded videos that no code of ours made: ffmpeg's test picture, from ffmpeg's encoders."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT, FPS, COUNT = 320, 240, 25, 30

_H264, _MJPEG, _CONSTANT = "h264.mp4", "mjpeg.avi", "constant.avi"

Pixels = npt.NDArray[np.uint8]

SAME_DB = 40.0
"""At least the PSNR of a decoded picture to the same one decoded independently. It leaves room
for another rounding of the colours; any other picture of the test video is at 20 dB or less."""


@dataclass(frozen=True)
class Video:
    """A file, and its pictures as ffmpeg itself decodes them: (count, height, width, 3), BGR."""

    path: Path
    pictures: Pixels

    def nearest(self, pixels: Pixels) -> tuple[int, float]:
        """Return the number of the picture most like `pixels`, and their PSNR in dB."""
        distances = [psnr(pixels, picture) for picture in self.pictures]
        best = int(np.argmax(distances))
        return best, distances[best]


@dataclass(frozen=True)
class Videos:
    """What the tests read."""

    h264: Video
    mjpeg: Video
    constant: Video
    folder: Path


def psnr(a: Pixels, b: Pixels) -> float:
    """Return the peak signal-to-noise ratio of two pictures in dB."""
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return 10 * float(np.log10(255**2 / error)) if error else float("inf")


def make(folder: Path) -> None:
    """Encode all videos into a folder, and decode them again."""
    test = f"testsrc2=size={WIDTH}x{HEIGHT}:rate={FPS}"
    still = f"color=teal:size={WIDTH}x{HEIGHT}:rate={FPS}"
    # The index in front: a file cut off later can still be opened.
    h264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    mjpeg = ["-c:v", "mjpeg", "-q:v", "3"]
    _make(folder / _H264, test, h264)
    _make(folder / _MJPEG, test, mjpeg)
    _make(folder / _CONSTANT, still, mjpeg)


def read(folder: Path) -> Videos:
    """Return what `make` has made."""
    return Videos(
        h264=_video(folder / _H264),
        mjpeg=_video(folder / _MJPEG),
        constant=_video(folder / _CONSTANT),
        folder=folder,
    )


def ffmpeg(*arguments: str) -> list[str]:
    """Return the command line of ffmpeg with these arguments."""
    return [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-loglevel", "error", *arguments]


def _make(path: Path, source: str, codec: list[str]) -> None:
    made = ffmpeg("-f", "lavfi", "-i", source, "-frames:v", str(COUNT), *codec, str(path))
    subprocess.run(made, check=True)
    raw = ffmpeg("-i", str(path), "-f", "rawvideo", "-pix_fmt", "bgr24", str(_decoded(path)))
    subprocess.run(raw, check=True)


def _video(path: Path) -> Video:
    data = _decoded(path).read_bytes()
    return Video(path, np.frombuffer(data, np.uint8).reshape(COUNT, HEIGHT, WIDTH, 3))


def _decoded(path: Path) -> Path:
    return path.with_suffix(".bgr")
