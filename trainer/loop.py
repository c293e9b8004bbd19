"""The one training loop.

Shapes: B pictures of a micro-batch, latents (B, C, h, w) of one bucket, words (B, T, D). It never waits for the device inside a
step. Every draw is keyed by what it is for (`draws`), so a run that resumes at step n does what any run does at step n.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from trainer.adapters.adapter import Adapter
from trainer.arena import Arena
from trainer.averaging import MovingAverage
from trainer.config import TrainConfig
from trainer.data.captions import caption_of_visit, with_alternatives_chosen
from trainer.data.dataset import Example
from trainer.data.order import Order, Visit
from trainer.data.views import View, offset
from trainer.draws import generator
from trainer.embeddings import Words
from trainer.errors import DeadlineExceeded
from trainer.families.base import Base, Conditioning, Framing
from trainer.latents import Posterior
from trainer.loss_scaling import LossScale
from trainer.losses import error, squared_error, weight
from trainer.measurements import ROWS, Measurement, Measurements
from trainer.metrics import Work
from trainer.noise import add_noise, target
from trainer.noise_draws import draw
from trainer.optimizers import Optimizer
from trainer.pivotal import NO_NEW_TOKENS, Pivotal
from trainer.prior import PriorExample, stacked
from trainer.schedules import rate_factor
from trainer.validation import Validation


@dataclass(frozen=True, kw_only=True)
class Training:
    """All that the loop needs, ready: it loads nothing and decides nothing."""

    config: TrainConfig
    base: Base
    device: torch.device
    examples: Sequence[Example]
    posteriors: Mapping[View, Posterior]
    masks: Mapping[View, Tensor]
    """(h, w), 0 to 1: what counts of the views of examples that have a mask."""
    words: Words
    prior: list[PriorExample]
    order: Order
    adapter: Adapter
    arena: Arena
    optimizer: Optimizer
    average: MovingAverage | None = None
    scale: LossScale | None = None
    """Of fp16 only."""
    validation: Validation | None = None
    pivotal: Pivotal = NO_NEW_TOKENS
    steps: int
    warmup: int

    @property
    def last_step(self) -> int:
        """The last of `steps`, or where validation has ended training."""
        ended_at = self.validation.ended_at if self.validation is not None else None
        return self.steps if ended_at is None else ended_at


class Events(Protocol):
    """What happens around steps: told by the loop, done by the run."""

    def measured(self, measurements: list[Measurement], trained_seconds: float) -> None: ...

    def after_step(self, step: int, trained_seconds: float) -> None:
        """After `step` steps; may save, draw, or raise to stop."""
        ...

    def wants_measurements(self, step: int) -> bool:
        """Whether the device should be read now: a report is due, or the state will be kept. Asked once after each step."""
        ...

    def spending(self, work: Work) -> AbstractContextManager[None]:
        """Around what the time goes to."""
        ...


@dataclass(frozen=True)
class Batch:
    """A micro-batch, on the device."""

    latents: Tensor
    eps: Tensor
    """What is to be predicted."""
    seen: Tensor
    """The noise in the input: the same, unless inputs are perturbed."""
    timesteps: Tensor
    captions: list[str]
    framings: list[Framing]
    weights: Tensor | None
    """What each example counts in the loss, (B,); None where all count the same."""
    masks: Tensor | None
    """What counts of each example, (B, 1, h, w), 0 to 1; None where all of all does."""
    names: list[str]
    host_timesteps: list[int]


def caption_variant(config: TrainConfig, example: Example, variant: int) -> str:
    """One of the captions that an example can have, dropping of the whole aside."""
    subset, seed = config.subsets[example.subset], config.optimization.seed
    rules = dataclasses.replace(subset.captions, caption_dropout=0.0)
    caption = example.caption
    if rules.has_alternatives:
        caption = with_alternatives_chosen(caption, rules, generator(seed, "alternatives", example.id, variant))
    return caption_of_visit(caption, rules, subset.activation_tag, generator(seed, "caption", example.id, variant))


def captions_of(config: TrainConfig, example: Example) -> set[str]:
    """Every caption that an example can have, the empty one included where it is dropped at times."""
    rules = config.subsets[example.subset].captions
    captions = {caption_variant(config, example, variant) for variant in range(rules.variants if rules.varies else 1)}
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
    return caption_variant(training.config, example, visit % rules.variants if rules.varies else 0)


def _batch(
    training: Training,
    latents: list[Tensor],
    keys: list[tuple[str | int, ...]],
    captions: list[str],
    framings: list[Framing],
    weights: Tensor | None = None,
    masks: Tensor | None = None,
) -> Batch:
    config, count = training.config, len(training.base.alphas_cumprod)
    drawn = [
        draw(config.noise, config.optimization.seed, key, latent.shape, count)
        for key, latent in zip(keys, latents, strict=True)
    ]
    timesteps = [one.timestep for one in drawn]
    eps = torch.stack([one.eps for one in drawn]).to(training.device, non_blocking=True)
    perturbed = config.noise.input_perturbation > 0
    return Batch(
        latents=torch.stack(latents).to(training.device, non_blocking=True),
        eps=eps,
        seen=torch.stack([one.seen for one in drawn]).to(training.device, non_blocking=True) if perturbed else eps,
        timesteps=torch.tensor(timesteps).to(training.device, non_blocking=True),
        captions=captions,
        framings=framings,
        weights=None if weights is None else weights.to(training.device, non_blocking=True),
        masks=None if masks is None else masks.to(training.device, non_blocking=True),
        names=[str(key[0]) for key in keys],
        host_timesteps=timesteps,
    )


def view_of(config: TrainConfig, example: Example, visit: int) -> View:
    """What a visit sees of its example's picture."""
    seed, flip = config.optimization.seed, config.subsets[example.subset].flip_probability
    mirrored = flip > 0 and bool(generator(seed, "flip", example.id, visit).random() < flip)
    places = len(example.crops)
    place = int(generator(seed, "crop", example.id, visit).integers(places)) if places > 1 else 0
    return View(example.id, mirrored, place)


def training_batch(training: Training, visits: Sequence[Visit]) -> Batch:
    """The examples of these visits, with everything drawn."""
    seed = training.config.optimization.seed
    latents: list[Tensor] = []
    keys: list[tuple[str | int, ...]] = []
    captions: list[str] = []
    framings: list[Framing] = []
    weights: list[float] = []
    views: list[View] = []
    for visit in visits:
        example, number = training.examples[visit.example_index], visit.visit_number
        view = view_of(training.config, example, number)
        posterior = training.posteriors[view]
        eps = generator(seed, "posterior", example.id, number).standard_normal(
            tuple(posterior.mean.shape), dtype=np.float32
        )
        latents.append(training.base.scaled(posterior.sample(eps)))
        keys.append((example.path, example.id, number))
        captions.append(caption_for(training, example, number))
        framings.append(framing_of(example, view))
        weights.append(training.config.subsets[example.subset].weight)
        views.append(view)
    return _batch(
        training,
        latents,
        keys,
        captions,
        framings,
        weights=torch.tensor(weights) if set(weights) != {1.0} else None,
        masks=_masks(training, views, latents[0].shape[-2:]) if training.masks else None,
    )


def _masks(training: Training, views: Sequence[View], size: torch.Size) -> Tensor:
    whole = torch.ones(size)
    return torch.stack([training.masks.get(view, whole) for view in views]).unsqueeze(1)


def prior_batch(training: Training, step: int, place: int) -> Batch:
    """As many of the base's own examples as the spec asks for beside a micro-batch, drawn by their number in the step."""
    config, seed = training.config, training.config.optimization.seed
    assert config.prior is not None
    size = max(1, round(config.prior.ratio * config.optimization.batch_size))
    numbers = range(place * size, (place + 1) * size)
    chosen = [int(generator(seed, "prior", step, number).integers(len(training.prior))) for number in numbers]
    examples = [training.prior[number] for number in chosen]
    keys: list[tuple[str | int, ...]] = [("prior", step, number) for number in numbers]
    side = config.pictures.resolution
    drawn = Framing(original=(side, side), crop=(0, 0), target=(side, side))
    captions = [example.caption for example in examples]
    return _batch(training, list(stacked(examples)), keys, captions, [drawn] * size)


def framing_of(example: Example, view: View) -> Framing:
    """How the picture of an example fills its bucket, as the view shows it."""
    left, top = offset(example, view)
    return Framing(
        original=(example.height, example.width),
        crop=(top, left),
        target=(example.bucket.height, example.bucket.width),
    )


def conditioning_of(training: Training, batch: Batch) -> Conditioning:
    """All that the UNet is told of a batch, as the adapted text encoders say it."""
    return training.base.framed(training.words.of(batch.captions), batch.framings)


def example_losses(training: Training, batch: Batch) -> Tensor:
    """The weighted error of predicting each example's noise (or velocity), (B,)."""
    base, loss = training.base, training.config.loss
    abar = base.alphas_cumprod[batch.timesteps]
    noisy = add_noise(batch.latents, batch.seen, abar)
    prediction = base.predict(noisy, batch.timesteps, conditioning_of(training, batch))
    wanted = target(base.prediction_type, batch.latents, batch.eps, abar)
    share = batch.timesteps / len(base.alphas_cumprod)
    weights = weight(abar, loss, base.prediction_type)
    if batch.weights is not None:
        weights = weights * batch.weights
    return weights * error(prediction, wanted, loss, abar, share, batch.masks)


def prior_losses(training: Training, batch: Batch) -> Tensor:
    """How far the adapted network is from the base on what the base knows, (B,)."""
    base = training.base
    noisy = add_noise(batch.latents, batch.seen, base.alphas_cumprod[batch.timesteps])
    with torch.no_grad(), training.adapter.off():
        alone = base.framed(training.words.of_base(batch.captions), batch.framings)
        wanted = base.predict(noisy, batch.timesteps, alone)
    prediction = base.predict(noisy, batch.timesteps, conditioning_of(training, batch))
    return squared_error(prediction, wanted)


def _backward(training: Training, loss: Tensor) -> None:
    torch.autograd.backward(loss if training.scale is None else loss * training.scale.scale)


def _update(training: Training, step: int, factor: float) -> Tensor:
    """One update of everything that is trained; the gradient's norm before clipping, 0 where fp16 leaves the step out."""
    arena = training.arena
    if training.scale is not None and not training.scale.unscale(arena.gradients):
        return torch.zeros((), device=training.device)
    norm = arena.clip_gradients(training.config.optimization.max_gradient_norm)
    training.optimizer.step(factor)
    if training.average is not None:
        training.average.update(step + 1)
    return norm


def shown_values(training: Training) -> Tensor | None:
    """What previews, validation and saved adapters have in the place of the values that are trained; None for those."""
    return training.average.values if training.average is not None else training.optimizer.average()


def _validate(training: Training, validation: Validation, step: int) -> float:
    with training.arena.showing(shown_values(training)):
        loss = validation.measure(training.base, training.words)
        validation.note(step, loss, training.arena.values)
    return loss


def train(training: Training, start: int, trained_seconds: float, events: Events, rate_share: float = 1.0) -> float:
    """Trains from after step `start` to the last step; returns the seconds of training, those before included.

    `rate_share` is what all learning rates are multiplied by.
    """
    optimization, prior = training.config.optimization, training.config.prior
    # What is told is the network's own rate; rules and LoRA+ give some layers others.
    peak_rate = next(iter(training.config.trained.values())).learning_rate
    measurements = Measurements(
        training.device,
        optimization.batch_size * optimization.gradient_accumulation,
        len(training.base.alphas_cumprod),
    )
    for network in training.base.loaded_networks.values():
        network.train()
    validation = training.validation
    for step in range(start, training.last_step):
        began = time.monotonic()
        factor = rate_share * rate_factor(
            optimization.schedule,
            step,
            training.steps,
            training.warmup,
            cycles=optimization.schedule_cycles,
            power=optimization.schedule_power,
        )
        measurements.begin(step + 1, factor * peak_rate * training.optimizer.rate_found())
        training.arena.zero_gradients()
        training.adapter.begin_step(step)

        # Every picture of the step weighs the same; beside each micro-batch goes one of what the base must not forget.
        batches = training.order.batches_at(step)
        pictures = sum(len(visits) for visits in batches)
        prior_loss: Tensor | None = None
        for place, visits in enumerate(batches):
            torch.manual_seed(int(generator(optimization.seed, "dropout", step, place).integers(2**63)))
            with events.spending("data"):
                batch = training_batch(training, visits)
            with events.spending("network"):
                losses = example_losses(training, batch)
                _backward(training, losses.sum() / pictures)
                measurements.add(losses, batch.names, batch.host_timesteps)
                if prior is not None:
                    loss = prior_losses(training, prior_batch(training, step, place)).mean() / len(batches)
                    _backward(training, prior.weight * loss)
                    prior_loss = loss.detach() if prior_loss is None else prior_loss + loss.detach()

        with events.spending("update"):
            measurements.close(prior_loss, _update(training, step, factor))
        trained_seconds += time.monotonic() - began

        # What the adapter does with examples that it has never seen.
        if validation is not None and validation.due(step + 1, training.steps):
            measurements.validated(_validate(training, validation, step + 1))

        # The device is asked only when somebody wants to know.
        ended = step + 1 == training.last_step
        late = trained_seconds > training.config.deadline_seconds and not ended
        if events.wants_measurements(step + 1) or ended or late or measurements.unread == ROWS:
            with events.spending("device"):
                read = measurements.read()
            events.measured(read, trained_seconds)
        events.after_step(step + 1, trained_seconds)
        if late:
            raise DeadlineExceeded(
                f"Training took longer than its deadline of {training.config.deadline_seconds:g} s at step {step + 1} of "
                f"{training.steps}; raise the deadline or ask for fewer steps."
            )
        if ended:
            break
    return trained_seconds
