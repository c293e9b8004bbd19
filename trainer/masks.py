"""What counts of the dataset's pictures, as numbers beside their latents: cut and mirrored as the pictures are.

Each number is the mean of the mask over the pixels of one latent, 0 (left out) to 1 (counts).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.cache import Cache, Value
from trainer.data.dataset import Example, Mask
from trainer.data.findings import Findings, Kind
from trainer.data.images import RECIPE, Decoder
from trainer.data.views import View, views_of
from trainer.tensor_file import TensorFile

_NOTHING = Kind(
    "picture has a mask that leaves nothing of what is trained on",
    "pictures have masks that leave nothing of what is trained on",
    "Draw the masks anew, crop the pictures yourself, or set dataset.crop to smart, which keeps what masks show.",
)


class Masks(Mapping[View, Tensor]):
    """The mask of each view, (h, w) fp32 of the latents' size, read from the local disk when it is asked for."""

    def __init__(self, values: TensorFile[View]) -> None:
        self._values = values

    def __getitem__(self, view: View) -> Tensor:
        return self._values[view]["mask"]

    def __iter__(self) -> Iterator[View]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def read_masks(
    examples: Sequence[Example],
    decoder: Decoder,
    cache: Cache,
    *,
    factor: int,
    mirrored: Callable[[Example], bool],
    progress: Callable[[int, int], None],
    work: Path | None = None,
) -> Masks:
    """The masks of the views of the examples that have one; `factor` pixels a side of each number.

    `mirrored` says whether an example's visits can be mirrored. Masks lie in a file in the folder `work`. Raises UserError with
    every mask that shows nothing wherever its picture is cut.
    """
    wanted = [
        (example, example.mask, view)
        for example in examples
        if example.mask is not None
        for view in views_of(example, mirrored=mirrored(example))
    ]
    values: TensorFile[View] = TensorFile(work)
    seen: set[str] = set()
    keys = [_key(example, mask, view, factor) for example, mask, view in wanted]
    with cache.writing() as writer:
        for done, (key, value) in enumerate(cache.get_all(keys)):
            progress(done, len(wanted))
            example, mask, view = wanted[done]
            if value is None:
                value = _decoded(example, mask, view, decoder, factor)
                writer.put(key, value)
            values[view] = value
            if value["mask"].any():
                seen.add(example.path)
    progress(len(wanted), len(wanted))
    findings = Findings()
    black = dict.fromkeys(example.path for example, _, _ in wanted if example.path not in seen)
    findings.problem_of(_NOTHING, black)
    findings.raise_problems()
    return Masks(values)


def _key(example: Example, mask: Mask, view: View, factor: int) -> str:
    """The key of a view's mask, over all that it depends on."""
    return Cache.key(
        "masks",
        mask=mask.sha256,
        source=mask.source,
        resize=example.resize,
        crop=example.crops[view.place],
        mirror=view.mirrored,
        factor=factor,
        recipe=RECIPE,
    )


def _decoded(example: Example, mask: Mask, view: View, decoder: Decoder, factor: int) -> Value:
    crop = example.crops[view.place]
    pixels = decoder.mask(mask.file, example.resize, crop, source=mask.source, name=mask.path)[..., 0]
    return {"mask": torch.from_numpy(reduced(pixels[:, ::-1] if view.mirrored else pixels, factor))}


def reduced(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.float32]:
    """Means over blocks of `factor` pixels a side, 0 to 1."""
    height, width = pixels.shape
    blocks = pixels.reshape(height // factor, factor, width // factor, factor)
    means: NDArray[np.float32] = (blocks.mean((1, 3), dtype=np.float64) / 255).astype(np.float32)
    return means
