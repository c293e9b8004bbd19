"""The dataset's pictures as latents: encoded once by the frozen VAE, mean and log-variance kept.

Each visit samples the posterior afresh, as training on pixels would. Posteriors wait on the local disk until they are visited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.ahead import ahead
from trainer.cache import Cache
from trainer.data.buckets import Bucket
from trainer.data.dataset import Example
from trainer.data.images import RECIPE, Decoder
from trainer.data.views import View, views_of
from trainer.families.base import Base
from trainer.tensor_file import TensorFile

_BATCHES_AHEAD = 2
_PIXELS_AT_ONCE = {"cuda": 4 * 512 * 512}
"""Pixels that the VAE encodes at once, by device; one picture on all others. On a CPU the last bits of a picture depend on where
the processor's threads part the batch, which may be within it."""


@dataclass(frozen=True)
class Posterior:
    """What the VAE says of one picture: (C, h, w) each, unscaled, on the CPU."""

    mean: Tensor
    logvar: Tensor

    def sample(self, eps: np.ndarray) -> Tensor:
        """A latent; `eps` is standard normal, of the same shape."""
        return self.mean + torch.exp(0.5 * self.logvar) * torch.from_numpy(eps)


class Posteriors(Mapping[View, Posterior]):
    """The posterior of each view, read from the local disk when it is asked for."""

    def __init__(self, values: TensorFile[View]) -> None:
        self._values = values

    def __getitem__(self, view: View) -> Posterior:
        value = self._values[view]
        return Posterior(value["mean"], value["logvar"])

    def __iter__(self) -> Iterator[View]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def pictures_at_once(device: str, bucket: Bucket) -> int:
    """How many pictures of a bucket the VAE encodes at once.

    It follows from device and bucket alone, and a batch is filled up with black pictures: the last bits of a result depend on the
    batch's size, so that they must not depend on how many pictures happen to be missing in the cache.
    """
    return max(1, _PIXELS_AT_ONCE.get(device, 0) // (bucket.width * bucket.height))


def encode_examples(
    examples: Sequence[Example],
    base: Base,
    decoder: Decoder,
    cache: Cache,
    *,
    vae_digest: str,
    fingerprint: str,
    mirrored: Callable[[Example], bool],
    progress: Callable[[int, int], None],
    work: Path | None = None,
) -> Posteriors:
    """The posterior of every view of each example; `mirrored` says whether its visits can be mirrored.

    What the cache has is read from it, the rest encoded; `progress` is told (views there, views in all). Posteriors lie in a file
    in the folder `work`.
    """
    wanted: dict[str, list[tuple[Example, View]]] = {}
    for example in examples:
        for view in views_of(example, mirrored=mirrored(example)):
            at_once = pictures_at_once(base.device.type, example.bucket)
            key = _key(example, view, vae_digest, fingerprint, at_once)
            wanted.setdefault(key, []).append((example, view))
    total, done = sum(map(len, wanted.values())), 0
    values: TensorFile[View] = TensorFile(work)

    def keep(key: str, value: Mapping[str, Tensor]) -> None:
        nonlocal done
        (_, first), *others = wanted[key]
        values[first] = value
        for _, view in others:  # the same content, under another name
            values.alias(view, first)
        done += 1 + len(others)

    missing = []
    for key, value in cache.get_all(wanted):
        if value is None:
            missing.append(key)
        else:
            keep(key, value)
    progress(done, total)  # from here on the pace is that of encoding
    if missing:
        batches = _batches([(key, *wanted[key][0]) for key in missing], decoder, base.device.type)
        with cache.writing() as writer, ahead(batches, _BATCHES_AHEAD) as decoded:
            for keys, pictures in decoded:
                means, logvars = base.encode_pictures(pictures)
                for key, mean, logvar in zip(keys, means, logvars, strict=False):  # without what fills up
                    value = {"mean": mean.clone(), "logvar": logvar.clone()}
                    writer.put(key, value)
                    keep(key, value)
                progress(done, total)
    return Posteriors(values)


def _key(example: Example, view: View, vae_digest: str, fingerprint: str, at_once: int) -> str:
    """The key of a view's posterior, over all that it depends on."""
    return Cache.key(
        "latents",
        image=example.sha256,
        resize=example.resize,
        crop=example.crops[view.place],
        mirror=view.mirrored,
        background=example.background,
        recipe=RECIPE,
        vae=vae_digest,
        fingerprint=fingerprint,
        batch=at_once,
    )


def _batches(
    missing: Sequence[tuple[str, Example, View]], decoder: Decoder, device: str
) -> Iterator[tuple[list[str], NDArray[np.uint8]]]:
    """Keys and pictures (B, height, width, 3) of one bucket each, filled up with black ones; each file is decoded once."""
    by_bucket: dict[Bucket, dict[str, list[tuple[str, Example, View]]]] = {}
    for key, example, view in missing:
        by_bucket.setdefault(example.bucket, {}).setdefault(example.id, []).append((key, example, view))
    for bucket, of_bucket in sorted(by_bucket.items()):
        at_once = pictures_at_once(device, bucket)
        keys: list[str] = []
        batch = np.zeros((at_once, bucket.height, bucket.width, 3), np.uint8)
        for views in of_bucket.values():
            for key, picture in _decoded(views, decoder):
                batch[len(keys)] = picture
                keys.append(key)
                if len(keys) == at_once:
                    yield keys, batch
                    keys, batch = [], np.zeros_like(batch)
        if keys:
            yield keys, batch


def _decoded(views: Sequence[tuple[str, Example, View]], decoder: Decoder) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Key and pixels of each view of one example, from one look at its file."""
    example = views[0][1]
    boxes = [example.crops[view.place] for _, _, view in views]
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    around = (left, top, max(box[2] for box in boxes), max(box[3] for box in boxes))
    background = example.background or "#ffffff"
    pixels = decoder.pixels(example.file, example.resize, around, background=background, name=example.path)
    for (key, _, view), box in zip(views, boxes, strict=True):
        part = pixels[box[1] - top : box[3] - top, box[0] - left : box[2] - left]
        yield key, part[:, ::-1] if view.mirrored else part
