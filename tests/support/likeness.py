"""Whether two pictures look the same: SSIM of their grey (Wang et al. 2004, Gaussian window)."""

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_MOST_PX = 512

Values = npt.NDArray[np.float64]


def upright(image: Image.Image) -> Image.Image:
    """Return a picture as a viewer shows it, in RGB."""
    return ImageOps.exif_transpose(image).convert("RGB")


def likeness(one: Image.Image, other: Image.Image) -> float:
    """Return the mean SSIM of two pictures; 1: they are the same. 0 where the colours are others.

    They are compared at half the size of the smaller one, so that it does not matter by which
    filter that was made.
    """
    shown = upright(one), upright(other)
    width, height = min(shown, key=lambda image: image.width).size
    factor = min(0.5, _MOST_PX / max(width, height))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    a, b = (cv2.resize(np.asarray(i), size, interpolation=cv2.INTER_AREA) for i in shown)
    if np.abs(a.mean((0, 1)) - b.mean((0, 1))).max() > 5:
        return 0.0
    return _ssim(*(cv2.cvtColor(i, cv2.COLOR_RGB2GRAY).astype(np.float64) for i in (a, b)))


def _ssim(a: Values, b: Values) -> float:
    mean_a, mean_b = _mean(a), _mean(b)
    of_a, of_b = _mean(a * a) - mean_a**2, _mean(b * b) - mean_b**2
    both = _mean(a * b) - mean_a * mean_b
    ssim = (2 * mean_a * mean_b + _C1) * (2 * both + _C2)
    ssim /= (mean_a**2 + mean_b**2 + _C1) * (of_a + of_b + _C2)
    return float(ssim.mean())


def _mean(values: Values) -> Values:
    return np.asarray(cv2.GaussianBlur(values, (11, 11), 1.5))
