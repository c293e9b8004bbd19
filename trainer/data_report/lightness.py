"""How much of the range from black to white a picture uses. Pure; NumPy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def contrast(pixels: NDArray[np.uint8]) -> float:
    """Distance of the lowest and the highest percent of red, green or blue, whichever is largest: 0 (one colour) to 1.

    Of the colours and not of the light, in which orange on sky blue is one grey.
    """
    low, high = np.percentile(pixels.reshape(-1, 3), (1, 99), axis=0)
    return float((high - low).max() / 255)
