"""What counts of the dataset's pictures, as numbers beside their latents: cut and mirrored as the pictures are.

Each number is the mean of the mask over the pixels of one latent, 0 (left out) to 1 (counts).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.cache import Cache
from trainer.data.dataset import Example, Mask
from trainer.data.findings import Findings, Kind
from trainer.data.images import RECIPE, Decoder
from trainer.data.views import View, views_of

_NOTHING = Kind(
    "picture has a mask that leaves nothing of what is trained on",
    "pictures have masks that leave nothing of what is trained on",
    "Draw the masks anew, crop the pictures yourself, or set dataset.crop to smart, which keeps what masks show.",
)


def read_masks(
    examples: Sequence[Example],
    decoder: Decoder,
    cache: Cache,
    *,
    factor: int,
    mirrored: Callable[[Example], bool],
    progress: Callable[[int, int], None],
) -> dict[View, Tensor]:
    """The mask of each view of the examples that have one, (h, w) fp32 of the latents' size; `factor` pixels a side of each.

    `mirrored` says whether an example's visits can be mirrored. Raises UserError with every mask that is black all over.
    """
    findings = Findings()
    masks: dict[View, Tensor] = {}
    masked = [(example, example.mask) for example in examples if example.mask is not None]
    for done, (example, mask) in enumerate(masked):
        progress(done, len(masked))
        for view in views_of(example, mirrored=mirrored(example)):
            masks[view] = _mask(example, mask, view, decoder, cache, factor)
        if any(not masks[view].any() for view in views_of(example, mirrored=False)):
            findings.problem_of(_NOTHING, [example.path])
    progress(len(masked), len(masked))
    findings.raise_problems()
    return masks


def _mask(example: Example, mask: Mask, view: View, decoder: Decoder, cache: Cache, factor: int) -> Tensor:
    crop = example.crops[view.place]
    key = cache.key(
        "masks",
        mask=mask.sha256,
        source=mask.source,
        resize=example.resize,
        crop=crop,
        mirror=view.mirrored,
        factor=factor,
        recipe=RECIPE,
    )
    value = cache.get(key)
    if value is None:
        pixels = decoder.mask(mask.file, example.resize, crop, source=mask.source, name=mask.path)[..., 0]
        value = {"mask": torch.from_numpy(reduced(pixels[:, ::-1] if view.mirrored else pixels, factor))}
        cache.put(key, value)
    return value["mask"]


def reduced(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.float32]:
    """Means over blocks of `factor` pixels a side, 0 to 1."""
    height, width = pixels.shape
    blocks = pixels.reshape(height // factor, factor, width // factor, factor)
    means: NDArray[np.float32] = (blocks.mean((1, 3), dtype=np.float64) / 255).astype(np.float32)
    return means
