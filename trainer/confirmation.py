"""Whether the base predicts what it is taken to predict: measured on the frozen base before training.

A network that is trained toward the wrong target unlearns all that it knows, and the loss does not tell. Files of base models
are mislabelled often enough, so the base is asked: what it predicts is compared with the noise and with the velocity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import structlog
import torch
from torch import Tensor

from trainer.config import TrainConfig
from trainer.data.dataset import Example
from trainer.data.views import View
from trainer.draws import generator
from trainer.embeddings import Words
from trainer.errors import UserError
from trainer.families.base import Base, Conditioning
from trainer.latents import Posterior
from trainer.loop import caption_variant, framing_of
from trainer.noise import PREDICTION_TYPES, add_noise, target

PICTURES = 4
"""At most so many are asked about, no more than a micro-batch."""
TIMES = (0.3, 0.5, 0.7, 0.9)
"""Where it is asked, as shares of all timesteps: with less noise than that, noise and velocity are much alike."""

_EXPLAINS = 0.7
"""A target counts as predicted where the error is below this share of its own size; a network that knows nothing has 1."""
_BETTER = 1.5
"""How many times as large the error of the type that was taken must be."""


log = structlog.get_logger()


def confirm_base(
    base: Base, config: TrainConfig, examples: Sequence[Example], posteriors: Mapping[View, Posterior], words: Words
) -> None:
    """Asks the base, without adapter, about one batch of the dataset. Raises UserError for a contradiction, with its numbers."""
    most = min(PICTURES, config.optimization.batch_size)
    chosen = [example for example in examples if example.bucket == examples[0].bucket][:most]
    views = [View(example.id, mirrored=False) for example in chosen]
    latents = torch.stack([base.scaled(posteriors[view].mean) for view in views]).to(base.device)
    seed = config.optimization.seed
    eps = [
        generator(seed, "confirmation", example.id).standard_normal(latents.shape[1:], dtype=np.float32)
        for example in chosen
    ]
    said = words.of_base([caption_variant(config, example, 0) for example in chosen])
    told = base.framed(said, [framing_of(example, view) for example, view in zip(chosen, views, strict=True)])
    errors = errors_by_type(base, latents, torch.from_numpy(np.stack(eps)).to(base.device), told)
    log.info("asked the base what it predicts", taken=base.prediction_type, **errors)
    confirm(base.prediction_type, errors)


@torch.no_grad()
def errors_by_type(base: Base, latents: Tensor, eps: Tensor, conditioning: Conditioning) -> dict[str, float]:
    """The mean of ||prediction - target||^2 / ||target||^2 over examples and `TIMES`, under each prediction type.

    `latents` are scaled, `eps` is standard normal, both (B, C, h, w), on the device; the base is without adapter.
    """
    found = dict.fromkeys(PREDICTION_TYPES, 0.0)
    for share in TIMES:
        timesteps = torch.full((len(latents),), int(share * len(base.alphas_cumprod)), device=base.device)
        abar = base.alphas_cumprod[timesteps]
        prediction = base.predict(add_noise(latents, eps, abar), timesteps, conditioning)
        for name in found:
            wanted = target(name, latents, eps, abar)
            error = (prediction - wanted).square().flatten(1).mean(1) / wanted.square().flatten(1).mean(1)
            found[name] += float(error.mean()) / len(TIMES)
    return found


def confirm(taken: str, errors: Mapping[str, float]) -> None:
    """Raises UserError where the base predicts one of the other types and not the one that was `taken`.

    A base that predicts neither, such as one with random weights, contradicts nothing.
    """
    other = min((name for name in errors if name != taken), key=lambda name: errors[name])
    if errors[other] < _EXPLAINS and errors[taken] > _BETTER * errors[other]:
        raise UserError(
            f"The base model is taken to predict {taken}, but it predicts {other}: on pictures of the dataset its error is "
            f"{errors[taken]:.2f} of the target's size under {taken} and {errors[other]:.2f} under {other}; set "
            f"loss.prediction_type to {other.upper()}, or import the base again with what it predicts."
        )
