"""Losses and gradient norms stay on the device until they are read, once a report, so that no step waits for them."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trainer.errors import Diverged

ROWS = 256
"""Steps between reads at the most."""

BANDS = 4
"""Equal parts of the timesteps, least noise first, over which losses are also told."""


@dataclass
class _Row:
    """What the host knows of a step that is not read yet."""

    step: int
    learning_rate: float
    names: list[str] = field(default_factory=list)
    bands: list[int] = field(default_factory=list)
    validation_loss: float | None = None


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One step, read."""

    step: int
    """From 1."""
    loss: float
    prior_loss: float | None
    gradient_norm: float
    learning_rate: float
    images: int
    images_per_second: float
    loss_by_band: tuple[float, ...]
    """Not a number where a band had no picture."""
    names: tuple[str, ...] = ()
    """Whose losses they are."""
    validation_loss: float | None = None


class Measurements:
    """A buffer on the device: a row per step, a column per example, then the prior loss and the gradient's norm."""

    def __init__(self, device: torch.device, examples_per_step: int, timesteps: int) -> None:
        self._width, self._timesteps = examples_per_step, timesteps
        self._buffer = torch.full((ROWS, examples_per_step + 2), math.nan, device=device)
        self._rows: list[_Row] = []
        self._since = time.monotonic()

    @property
    def unread(self) -> int:
        return len(self._rows)

    def begin(self, step: int, learning_rate: float) -> None:
        """`step` from 1."""
        self._rows.append(_Row(step, learning_rate))

    def add(self, losses: Tensor, names: Sequence[str], timesteps: Sequence[int]) -> None:
        """Losses of a micro-batch (B,), and whose they are."""
        row = self._rows[-1]
        start = len(row.names)
        self._buffer[self.unread - 1, start : start + len(names)] = losses.detach()
        row.names.extend(names)
        row.bands.extend(timestep * BANDS // self._timesteps for timestep in timesteps)

    def close(self, prior_loss: Tensor | None, gradient_norm: Tensor) -> None:
        if prior_loss is not None:
            self._buffer[self.unread - 1, self._width] = prior_loss.detach()
        self._buffer[self.unread - 1, self._width + 1] = gradient_norm

    def validated(self, loss: float) -> None:
        """The newest step's error on the validation examples."""
        self._rows[-1].validation_loss = loss

    def read(self) -> list[Measurement]:
        """Waits for the device and gives what is unread; raises Diverged at the first number that is not finite."""
        values = self._buffer[: self.unread].tolist()
        seconds = time.monotonic() - self._since
        rate = sum(len(row.names) for row in self._rows) / max(seconds, 1e-9)
        read = [self._measured(row, numbers, rate) for row, numbers in zip(self._rows, values, strict=True)]
        self._rows = []
        self._buffer.fill_(math.nan)
        self._since = time.monotonic()
        return read

    def _measured(self, row: _Row, numbers: list[float], rate: float) -> Measurement:
        losses, norm = numbers[: len(row.names)], numbers[self._width + 1]
        for name, loss in zip(row.names, losses, strict=True):
            if not math.isfinite(loss):
                raise Diverged(
                    f"The loss of {name!r} became {loss} at step {row.step}; lower the learning rate (it was "
                    f"{row.learning_rate:g}) or look at that picture and its caption."
                )
        if not math.isfinite(norm):
            raise Diverged(
                f"The gradient became {norm} at step {row.step}; lower the learning rate (it was {row.learning_rate:g})."
            )
        prior = numbers[self._width]
        by_band: list[list[float]] = [[] for _ in range(BANDS)]
        for band, loss in zip(row.bands, losses, strict=True):
            by_band[band].append(loss)
        return Measurement(
            step=row.step,
            loss=sum(losses) / len(losses),
            prior_loss=None if math.isnan(prior) else prior,
            gradient_norm=norm,
            learning_rate=row.learning_rate,
            images=len(losses),
            images_per_second=rate,
            loss_by_band=tuple(sum(band) / len(band) if band else math.nan for band in by_band),
            names=tuple(row.names),
            validation_loss=row.validation_loss,
        )
