"""PNG in and out, of pictures that the trainer itself has drawn. What users sent is decoded in `data.decoding_child` alone."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def pictures_of(values: np.ndarray) -> list[Image.Image]:
    """Pictures of floats in [0, 1], (N, height, width, 3), rounded as diffusers rounds."""
    return [Image.fromarray(one) for one in (values * 255).round().astype(np.uint8)]


def as_png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def from_png(content: bytes) -> Image.Image:
    """The pixels of what `as_png` wrote."""
    with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
        return picture.convert("RGB")
