"""Pixels of each picture → what can be measured of it alone, through the decoding child and the cache."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from trainer.cache import Cache, Value
from trainer.data.dataset import Example
from trainer.data.images import RECIPE, Decoder
from trainer.data_report.frames import bars
from trainer.data_report.lightness import contrast
from trainer.data_report.likeness import Sketch, difference_hash, small_colours
from trainer.data_report.marks import edges_near_border
from trainer.data_report.sharpness import blur, laplacian_variance, light_of

MEASURES = 1
"""Counts up when a measure changes, so that none of another version is taken from the cache."""
THUMBNAIL = 160
"""Pixels of the longer side."""
_THUMBNAIL_QUALITY = 70
_AFAR = 192
_EVERY = 4
"""Of rows and columns, for the contrast."""


@dataclass(frozen=True)
class Looks:
    """What the pixels of one picture say."""

    blur: float
    laplacian_variance: float
    contrast: float
    bars: tuple[float, float, float, float]
    sketch: Sketch
    edges: NDArray[np.floating[Any]]
    """`marks.edges_near_border`."""
    thumbnail: bytes
    """WebP, of the whole picture as it is resized."""


def look_at(
    examples: Sequence[Example], decoder: Decoder, cache: Cache, progress: Callable[[int, int], None]
) -> list[Looks]:
    """Of every example, in order. Raises UnreadablePicture."""
    keys = [_key(example) for example in examples]
    looks: list[Looks] = []
    with cache.writing() as writer:
        for done, (key, value) in enumerate(cache.get_all(keys)):
            progress(done, len(examples))
            if value is None:
                value = _measured(examples[done], decoder)
                writer.put(key, value)
            looks.append(_looks(value))
    progress(len(examples), len(examples))
    return looks


def _key(example: Example) -> str:
    return Cache.key(
        "looks",
        image=example.sha256,
        resize=example.resize,
        background=example.background,
        recipe=RECIPE,
        measures=MEASURES,
    )


def _measured(example: Example, decoder: Decoder) -> Value:
    whole = (0, 0, *example.resize)
    background = example.background or "#ffffff"
    pixels = np.ascontiguousarray(
        decoder.pixels(example.file, example.resize, whole, background=background, name=example.path)
    )
    light = light_of(pixels)
    thumbnail = _tensor(np.frombuffer(_thumbnail(pixels), np.uint8).copy())
    # What is looked at from afar needs few pixels, and costs by their number.
    numbers = [blur(light), laplacian_variance(light), contrast(pixels[::_EVERY, ::_EVERY]), *bars(light)]
    pixels = _from_afar(pixels)
    light = light_of(pixels)
    return {
        "numbers": torch.tensor(numbers, dtype=torch.float64),
        "bits": _tensor(difference_hash(light).view(np.int64)),
        "mirrored_bits": _tensor(difference_hash(light[:, ::-1]).view(np.int64)),
        "colours": _tensor(small_colours(pixels)),
        "edges": _tensor(edges_near_border(pixels).astype(np.float16)),
        "thumbnail": thumbnail,
    }


def _tensor(values: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


def _looks(value: Value) -> Looks:
    sharp, variance, range_, *around = value["numbers"].tolist()
    left, top, right, bottom = around
    return Looks(
        blur=sharp,
        laplacian_variance=variance,
        contrast=range_,
        bars=(left, top, right, bottom),
        sketch=Sketch(
            value["bits"].numpy().view(np.uint64),
            value["mirrored_bits"].numpy().view(np.uint64),
            value["colours"].numpy(),
        ),
        edges=value["edges"].numpy(),
        thumbnail=value["thumbnail"].numpy().tobytes(),
    )


def _from_afar(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture reduced to at most _AFAR pixels a side, each the mean of those it covers."""
    height, width = pixels.shape[:2]
    size = min(width, _AFAR), min(height, _AFAR)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def _thumbnail(pixels: NDArray[np.uint8]) -> bytes:
    picture = Image.fromarray(pixels)
    picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=_THUMBNAIL_QUALITY)
    return buffer.getvalue()
