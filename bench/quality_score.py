"""What an adapter's file does: the error on pictures that it never saw, what it draws, and what it does to everything else.

Any file that the trainer can read is added to the base's weights, so that adapters of all types and programs are measured alike.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bench.judging import sheet
from bench.quality_reader import Reader
from bench.quality_tasks import Asked, Shown, Task
from store import open_store
from trainer.builtin.shapes import draw, scoring
from trainer.cache import Cache
from trainer.embeddings import Words
from trainer.families.base import Base, Framing
from trainer.families.registry import load_base
from trainer.formats.reading import read_adapter
from trainer.previews import not_training
from trainer.validation import HeldOut, validation_loss

TIMESTEPS, LOSS_BATCH = 8, 32
INFERENCE_STEPS = 10
"""Of a picture; half of what the demo takes, since thousands are drawn."""
VALIDATION_SEED = 3


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Of one adapter."""

    loss: float
    """Mean squared error on held-out pictures of what is taught, at fixed noise and timesteps."""
    taught: dict[str, float]
    """Share of the prompts of each concept that give it, in percent, by the concept's name."""
    known_loss: float
    """As `loss`, on pictures of known shapes."""
    known: float | None
    """Share of the prompts of known shapes that give them, in percent; None where they were not drawn."""


class Scoring:
    """Measures adapters of one task."""

    def __init__(self, folder: Path, task: Task, reader: Reader) -> None:
        self._task, self._reader = task, reader
        self.base: Base = load_base("sd15", folder, torch.device("cpu"), torch.float32)
        self._pipeline = scoring.load_pipeline(folder)
        self._pipeline.unet, self._pipeline.text_encoder = (
            self.base.network(name) for name in ("unet", "text_encoder")
        )
        # Said anew each time: adapters change text encoders too.
        names = [encoder.name for encoder in self.base.text_encoders]
        nowhere = Cache(open_store("file:///dev/shm/loramill-unused/"))
        self._words = Words(self.base, nowhere, digests={}, fingerprint="", trained=names)
        self._held_out = self._encoded([one for concept in task.concepts for one in concept.held_out()])
        self._known = self._encoded(task.known_pictures())

    def _encoded(self, shown: Sequence[Shown]) -> list[HeldOut]:
        mean, _ = self.base.encode_pictures(np.stack([np.asarray(one.picture) for one in shown]))
        whole = Framing(original=(draw.SIZE, draw.SIZE), crop=(0, 0), target=(draw.SIZE, draw.SIZE))
        return [
            HeldOut(id=f"{place}", latents=latents, caption=one.caption, framing=whole)
            for place, (latents, one) in enumerate(zip(self.base.scaled(mean), shown, strict=True))
        ]

    def measured(self, adapter: Path | None, *, with_known: bool, picture: Path | None = None) -> Measured:
        """Of the base alone where there is no adapter. `picture` is where a sheet of all pictures is kept."""
        with _put_into(self.base, adapter):
            taught, drawn = {}, []
            for concept in self._task.concepts:
                share, pictures = self._share(concept.asked())
                taught[concept.name] = share
                drawn.append(pictures)
            known = None
            if with_known:
                known, pictures = self._share(self._task.known_asked())
                drawn.append(pictures)
            found = Measured(
                loss=self._loss(self._held_out), taught=taught, known_loss=self._loss(self._known), known=known
            )
        if picture is not None:
            picture.parent.mkdir(parents=True, exist_ok=True)
            sheet(torch.cat(drawn)).save(picture)
        return found

    def _loss(self, examples: Sequence[HeldOut]) -> float:
        with not_training(self.base):
            return validation_loss(
                self.base, self._words, examples, timesteps=TIMESTEPS, seed=VALIDATION_SEED, batch_size=LOSS_BATCH
            )

    def _share(self, asked: Sequence[Asked]) -> tuple[float, torch.Tensor]:
        """In percent, and the pictures (N, 3, SIZE, SIZE)."""
        prompts, seeds = [one.prompt for one in asked], [one.seed for one in asked]
        with not_training(self.base):
            pictures = scoring.sample(self._pipeline, prompts, seeds, steps=INFERENCE_STEPS)
        shapes, inlaid = self._reader.judge.verdicts(pictures), self._reader.inlaid(pictures)
        right = [
            has_inlay if one.wanted == "inlaid" else verdict.shape == one.wanted
            for one, verdict, has_inlay in zip(asked, shapes, inlaid, strict=True)
        ]
        return 100 * float(np.mean(right)), pictures


@contextlib.contextmanager
def _put_into(base: Base, adapter: Path | None) -> Iterator[None]:
    """Adds an adapter's ΔW to the base's weights, and takes it out again."""
    layers = read_adapter(adapter).layers if adapter is not None else ()
    kept: list[tuple[torch.nn.Parameter, torch.Tensor]] = []
    with torch.no_grad():
        for layer in layers:
            weight = base.network(layer.network).get_submodule(layer.path).weight
            assert isinstance(weight, torch.nn.Parameter)
            kept.append((weight, weight.detach().clone()))
            weight.add_(layer.delta().view_as(weight))
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, before in kept:
                weight.copy_(before)
