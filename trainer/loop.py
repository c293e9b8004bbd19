"""The one training loop.

Shapes: B pictures of a micro-batch, latents (B, C, h, w) of one bucket, words (B, T, D). It never waits for the device inside a
step. Every draw is keyed by what it is for (`draws`), so a run that resumes at step n does what any run does at step n.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from trainer.adapters.adapter import Adapter
from trainer.arena import Arena
from trainer.config import TrainConfig
from trainer.data.captions import caption_of_visit
from trainer.data.dataset import Example
from trainer.data.order import Order, Visit
from trainer.draws import generator
from trainer.embeddings import Words
from trainer.errors import DeadlineExceeded
from trainer.families.base import Base
from trainer.latents import Posterior
from trainer.losses import min_snr_weight, squared_error
from trainer.measurements import ROWS, Measurement, Measurements
from trainer.noise import add_noise, target
from trainer.optimizers import AdamW
from trainer.prior import PriorExample, stacked
from trainer.schedules import rate_factor

CAPTION_VARIANTS = 16
"""Captions that are shuffled or thinned repeat after so many visits, so that their embeddings can be kept."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """All that the loop needs, ready: it loads nothing and decides nothing."""

    config: TrainConfig
    base: Base
    device: torch.device
    examples: Sequence[Example]
    posteriors: dict[tuple[str, bool], Posterior]
    words: Words
    prior: list[PriorExample]
    order: Order
    adapter: Adapter
    arena: Arena
    optimizer: AdamW
    steps: int
    warmup: int


class Events(Protocol):
    """What happens around steps: told by the loop, done by the run."""

    def measured(self, measurements: list[Measurement], trained_seconds: float) -> None: ...

    def after_step(self, step: int, trained_seconds: float) -> None:
        """After `step` steps; may save, draw, or raise to stop."""
        ...

    def wants_measurements(self, step: int) -> bool:
        """Whether the device should be read now: a report is due, or the state will be kept. Asked once after each step."""
        ...


@dataclass(frozen=True)
class Batch:
    """A micro-batch, on the device."""

    latents: Tensor
    eps: Tensor
    timesteps: Tensor
    captions: list[str]
    names: list[str]
    host_timesteps: list[int]


def caption_variant(config: TrainConfig, example: Example, variant: int) -> str:
    """One of the captions that an example can have, dropping of the whole aside."""
    rules = dataclasses.replace(config.subsets[example.subset].captions, caption_dropout=0.0)
    draws = generator(config.optimization.seed, "caption", example.id, variant)
    return caption_of_visit(example.caption, rules, config.activation_tag, draws)


def captions_of(config: TrainConfig, example: Example) -> set[str]:
    """Every caption that an example can have, the empty one included where it is dropped at times."""
    rules = config.subsets[example.subset].captions
    captions = {caption_variant(config, example, variant) for variant in range(CAPTION_VARIANTS if rules.varies else 1)}
    return captions | ({""} if rules.caption_dropout > 0 else set())


def caption_for(training: Training, example: Example, visit: int) -> str:
    """The caption of a visit. Its dropping is drawn for every visit, its other variation repeats."""
    rules = training.config.subsets[example.subset].captions
    seed = training.config.optimization.seed
    if (
        rules.caption_dropout > 0
        and generator(seed, "caption dropout", example.id, visit).random() < rules.caption_dropout
    ):
        return ""
    return caption_variant(training.config, example, visit % CAPTION_VARIANTS if rules.varies else 0)


def _noise(training: Training, key: tuple[str | int, ...], shape: Sequence[int]) -> tuple[np.ndarray, int]:
    seed = training.config.optimization.seed
    eps = generator(seed, "noise", *key).standard_normal(tuple(shape), dtype=np.float32)
    timestep = int(generator(seed, "timestep", *key).integers(len(training.base.alphas_cumprod)))
    return eps, timestep


def _batch(training: Training, latents: list[Tensor], keys: list[tuple[str | int, ...]], captions: list[str]) -> Batch:
    drawn = [_noise(training, key, latent.shape) for key, latent in zip(keys, latents, strict=True)]
    timesteps = [timestep for _, timestep in drawn]
    return Batch(
        latents=torch.stack(latents).to(training.device, non_blocking=True),
        eps=torch.from_numpy(np.stack([eps for eps, _ in drawn])).to(training.device, non_blocking=True),
        timesteps=torch.tensor(timesteps).to(training.device, non_blocking=True),
        captions=captions,
        names=[str(key[0]) for key in keys],
        host_timesteps=timesteps,
    )


def training_batch(training: Training, visits: Sequence[Visit]) -> Batch:
    """The examples of these visits, with everything drawn."""
    seed, flip = training.config.optimization.seed, training.config.pictures.flip_probability
    latents: list[Tensor] = []
    keys: list[tuple[str | int, ...]] = []
    captions: list[str] = []
    for visit in visits:
        example, number = training.examples[visit.example_index], visit.visit_number
        mirrored = flip > 0 and bool(generator(seed, "flip", example.id, number).random() < flip)
        posterior = training.posteriors[example.id, mirrored]
        eps = generator(seed, "posterior", example.id, number).standard_normal(
            tuple(posterior.mean.shape), dtype=np.float32
        )
        latents.append(training.base.scaled(posterior.sample(eps)))
        keys.append((example.path, example.id, number))
        captions.append(caption_for(training, example, number))
    return _batch(training, latents, keys, captions)


def prior_batch(training: Training, step: int, place: int) -> Batch:
    """As many of the base's own examples as the spec asks for beside a micro-batch, drawn by their number in the step."""
    config, seed = training.config, training.config.optimization.seed
    assert config.prior is not None
    size = max(1, round(config.prior.ratio * config.optimization.batch_size))
    numbers = range(place * size, (place + 1) * size)
    chosen = [int(generator(seed, "prior", step, number).integers(len(training.prior))) for number in numbers]
    examples = [training.prior[number] for number in chosen]
    keys: list[tuple[str | int, ...]] = [("prior", step, number) for number in numbers]
    return _batch(training, list(stacked(examples)), keys, [example.caption for example in examples])


def example_losses(training: Training, batch: Batch) -> Tensor:
    """The weighted error of predicting each example's noise (or velocity), (B,)."""
    base, optimization = training.base, training.config.optimization
    abar = base.alphas_cumprod[batch.timesteps]
    noisy = add_noise(batch.latents, batch.eps, abar)
    prediction = base.predict(noisy, batch.timesteps, training.words.of(batch.captions))
    wanted = target(base.prediction_type, batch.latents, batch.eps, abar)
    weight = min_snr_weight(abar, optimization.min_snr_gamma, base.prediction_type)
    return weight * squared_error(prediction, wanted)


def prior_losses(training: Training, batch: Batch) -> Tensor:
    """How far the adapted network is from the base on what the base knows, (B,)."""
    base = training.base
    noisy = add_noise(batch.latents, batch.eps, base.alphas_cumprod[batch.timesteps])
    with torch.no_grad(), training.adapter.off():
        wanted = base.predict(noisy, batch.timesteps, training.words.of_base(batch.captions))
    prediction = base.predict(noisy, batch.timesteps, training.words.of(batch.captions))
    return squared_error(prediction, wanted)


def train(training: Training, start: int, trained_seconds: float, events: Events) -> float:
    """Trains from after step `start` to the last step; returns the seconds of training, those before included."""
    optimization, prior = training.config.optimization, training.config.prior
    # What is told is the network's own rate; rules and LoRA+ give some layers others.
    peak_rate = (training.config.unet if training.config.unet.train else training.config.text_encoder).learning_rate
    measurements = Measurements(
        training.device,
        optimization.batch_size * optimization.gradient_accumulation,
        len(training.base.alphas_cumprod),
    )
    for network in training.base.networks.values():
        network.train()
    for step in range(start, training.steps):
        began = time.monotonic()
        factor = rate_factor(optimization.schedule, step, training.steps, training.warmup)
        measurements.begin(step + 1, factor * peak_rate)
        training.arena.zero_gradients()
        training.adapter.begin_step(step)

        # Every picture of the step weighs the same; beside each micro-batch goes one of what the base must not forget.
        batches = training.order.batches_at(step)
        pictures = sum(len(visits) for visits in batches)
        prior_loss: Tensor | None = None
        for place, visits in enumerate(batches):
            torch.manual_seed(int(generator(optimization.seed, "dropout", step, place).integers(2**63)))
            batch = training_batch(training, visits)
            losses = example_losses(training, batch)
            torch.autograd.backward(losses.sum() / pictures)
            measurements.add(losses, batch.names, batch.host_timesteps)
            if prior is not None:
                loss = prior_losses(training, prior_batch(training, step, place)).mean() / len(batches)
                torch.autograd.backward(prior.weight * loss)
                prior_loss = loss.detach() if prior_loss is None else prior_loss + loss.detach()

        # One update of everything that is trained.
        norm = training.arena.clip_gradients(optimization.max_gradient_norm)
        training.optimizer.step(factor)
        measurements.close(prior_loss, norm)

        # The device is asked only when somebody wants to know.
        trained_seconds += time.monotonic() - began
        late = trained_seconds > training.config.deadline_seconds and step + 1 < training.steps
        if events.wants_measurements(step + 1) or late or measurements.unread == ROWS:
            events.measured(measurements.read(), trained_seconds)
        events.after_step(step + 1, trained_seconds)
        if late:
            raise DeadlineExceeded(
                f"Training took longer than its deadline of {training.config.deadline_seconds:g} s at step {step + 1} of "
                f"{training.steps}; raise the deadline or ask for fewer steps."
            )
    return trained_seconds
