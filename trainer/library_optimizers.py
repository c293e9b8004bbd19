"""Optimizers from the libraries that keep them, over the arena; their state as plain tensors: a resume gives the same bits.

What a library keeps of each parameter and what it keeps of each group (numbers) becomes the state's tensors: numbers are kept as
float64, which holds every float and every whole number below 2^53 exactly.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from trainer.arena import Arena, Segment
from trainer.config_fitting import OptimizationConfig
from trainer.errors import UserError

_SET_BY_US = ("lr",)
"""Numbers of a group that are set anew in each step."""


@dataclass
class LibraryOptimizer:
    """One or several optimizers of a library, each over some segments, a group a segment."""

    parts: Sequence[torch.optim.Optimizer]
    segments: Sequence[Sequence[Segment]]
    averaged: Callable[[], Tensor] | None = None
    found: Callable[[], float] | None = None
    _begun: list[list[dict[str, float]]] = field(init=False)

    def __post_init__(self) -> None:
        self._begun = [[dict(_numbers(group)) for group in part.param_groups] for part in self.parts]

    def step(self, rate_factor: float) -> None:
        for part, segments in zip(self.parts, self.segments, strict=True):
            for group, segment in zip(part.param_groups, segments, strict=True):
                group["lr"] = segment.learning_rate * rate_factor
            part.step()

    def rate_found(self) -> float:
        return self.found() if self.found is not None else 1.0

    def average(self) -> Tensor | None:
        return self.averaged() if self.averaged is not None else None

    def state(self) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for place, part in enumerate(self.parts):
            for number, group in enumerate(part.param_groups):
                for name, value in _numbers(group):
                    found[f"{place}.groups.{number}.{_kind(value)}.{name}"] = torch.tensor(value, dtype=torch.float64)
                for index, parameter in enumerate(group["params"]):
                    for name, value in part.state.get(parameter, {}).items():
                        key = f"{place}.parameters.{number}.{index}.{_kind(value)}.{name}"
                        found[key] = _kept(value)
        return found

    def restore(self, state: Mapping[str, Tensor], step: int) -> None:  # noqa: ARG002 (every part of the state is in `state`)
        for part, begun in zip(self.parts, self._begun, strict=True):
            part.state.clear()
            for group, numbers in zip(part.param_groups, begun, strict=True):
                group.update(numbers)
        for key, tensor in state.items():
            place, what, number, *rest = key.split(".")
            part = self.parts[int(place)]
            group = part.param_groups[int(number)]
            if what == "groups":
                kind, name = rest
                group[name] = _taken_back(kind, tensor)
            else:
                index, kind, name = rest
                parameter = group["params"][int(index)]
                part.state[parameter][name] = _taken_back(kind, tensor, parameter.device)


def _numbers(group: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in group.items():
        if type(value) in (int, float) and name not in _SET_BY_US:
            yield name, value


def _kind(value: object) -> str:
    """`device` for tensors that lie beside their parameter, `host` for those that do not."""
    if isinstance(value, Tensor):
        return "host" if value.dim() == 0 and value.device.type == "cpu" else "device"
    return type(value).__name__


def _kept(value: Any) -> Tensor:
    return value.detach().cpu().clone() if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)


def _taken_back(kind: str, tensor: Tensor, device: torch.device | None = None) -> Any:
    if kind in ("int", "float"):
        return {"int": int, "float": float}[kind](tensor.item())
    return tensor.clone() if kind == "host" else tensor.to(device, copy=True)


def _groups(segments: Sequence[Segment]) -> list[dict[str, Any]]:
    return [
        {"params": [segment.value], "lr": segment.learning_rate, "weight_decay": segment.weight_decay}
        for segment in segments
    ]


def adafactor(arena: Arena, config: OptimizationConfig) -> LibraryOptimizer:
    """torch's Adafactor (Shazeer & Stern, arXiv 1804.04235, algorithm 4), over each matrix, since it sums rows and columns."""
    groups = [
        {
            "params": list(segment.parameters.values()),
            "lr": segment.learning_rate,
            "weight_decay": segment.weight_decay,
        }
        for segment in arena.segments
    ]
    del config  # its decays follow from the step
    return LibraryOptimizer([torch.optim.Adafactor(groups)], [arena.segments])


def adamw_8bit(arena: Arena, config: OptimizationConfig) -> LibraryOptimizer:
    """AdamW with blockwise quantized moments (Dettmers et al., arXiv 2110.02861), by bitsandbytes."""
    try:
        import bitsandbytes
    except ImportError as error:
        raise UserError(
            f"optimization.optimizer ADAMW_8BIT needs the package bitsandbytes, which cannot be loaded ({error}); "
            "have the operator install it, or choose ADAMW."
        ) from error
    optimizer = bitsandbytes.optim.AdamW8bit(_groups(arena.segments), betas=(config.beta1, config.beta2))
    return LibraryOptimizer([optimizer], [arena.segments])


def lion(arena: Arena, config: OptimizationConfig) -> LibraryOptimizer:
    """Lion (Chen et al., arXiv 2302.06675, algorithm 2), by lion-pytorch."""
    from lion_pytorch import Lion

    optimizer = Lion(_groups(arena.segments), betas=(config.beta1, config.beta2))
    return LibraryOptimizer([optimizer], [arena.segments])


def prodigy(arena: Arena, config: OptimizationConfig) -> LibraryOptimizer:
    """Prodigy (Mishchenko & Defazio, arXiv 2306.06101, algorithm 4), by its authors' prodigyopt; each segment finds a rate of its
    own, so that networks and rules can differ. Its estimate is read in each step: a GPU is waited for."""
    from prodigyopt import Prodigy

    parts = []
    for segment in arena.segments:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints that it decays weights
            part = Prodigy(
                _groups([segment]),
                betas=(config.beta1, config.beta2),
                weight_decay=segment.weight_decay,
                use_bias_correction=True,
                safeguard_warmup=True,
            )
        parts.append(part)

    def of_first() -> float:
        return float(parts[0].param_groups[0]["d"])

    return LibraryOptimizer(parts, [[segment] for segment in arena.segments], found=of_first)


def schedule_free_adamw(arena: Arena, config: OptimizationConfig) -> LibraryOptimizer:
    """Schedule-free AdamW (Defazio et al., arXiv 2405.15682, algorithm 1), by its authors' schedulefree.

    What is trained is y, where gradients are taken; what is saved is x, the average.
    """
    from schedulefree import AdamWScheduleFree

    optimizer = AdamWScheduleFree(_groups(arena.segments), betas=(config.beta1, config.beta2))
    optimizer.train()

    def averaged() -> Tensor:
        """x = (y - (1 - beta1) z) / beta1."""
        x = arena.values.detach().clone()
        for segment in arena.segments:
            state = optimizer.state[segment.value]
            if "z" in state:
                x[segment.place].lerp_(state["z"], 1 - 1 / config.beta1)
        return x

    return LibraryOptimizer([optimizer], [arena.segments], averaged)
