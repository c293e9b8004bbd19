"""The arena owns the trained parameters: values, gradients, and what optimizer and average keep beside each value, lie in
contiguous fp32 buffers.

A segment holds the parameters of one (rate, decay) group, and is one parameter to elementwise optimizers. Clipping, the
optimizer, the average and a checkpoint are then one kernel or one copy each. Module parameters are views: never set their
`.grad` to None, never move them to another type or device once the arena is laid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Group:
    """Parameters, by name, that share a rate and a decay."""

    name: str
    parameters: Mapping[str, torch.nn.Parameter]
    learning_rate: float
    weight_decay: float


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One group, laid out."""

    name: str
    learning_rate: float
    weight_decay: float
    place: slice
    """In every buffer of the arena."""
    value: torch.nn.Parameter
    """(n,), a view of the arena's values."""
    parameters: Mapping[str, torch.nn.Parameter]
    """The same as the modules see them, by name, each of its own shape."""


class Arena:
    """The buffers, each (N,) for N trained numbers."""

    def __init__(self, groups: Sequence[Group], device: torch.device) -> None:
        count = sum(parameter.numel() for group in groups for parameter in group.parameters.values())
        self.values = torch.zeros(count, device=device)
        self.gradients = torch.zeros(count, device=device)
        self.buffers: dict[str, Tensor] = {}
        """What is kept beside each value, by name; part of the state."""
        segments, start = [], 0
        for group in groups:
            end = start + sum(parameter.numel() for parameter in group.parameters.values())
            segments.append(self._lay(group, slice(start, end)))
            start = end
        self.segments = tuple(segments)

    def _lay(self, group: Group, place: slice) -> Segment:
        start = place.start
        for parameter in group.parameters.values():
            end = start + parameter.numel()
            view = self.values[start:end].view(parameter.shape)
            view.copy_(parameter.detach())
            parameter.data = view
            parameter.grad = self.gradients[start:end].view(parameter.shape)
            start = end
        whole = torch.nn.Parameter(self.values[place])
        whole.grad = self.gradients[place]
        return Segment(
            name=group.name,
            learning_rate=group.learning_rate,
            weight_decay=group.weight_decay,
            value=whole,
            place=place,
            parameters=dict(group.parameters),
        )

    @property
    def count(self) -> int:
        """Trained numbers."""
        return self.values.numel()

    def buffer(self, name: str) -> Tensor:
        """A buffer more, zero at first."""
        self.buffers[name] = torch.zeros_like(self.values)
        return self.buffers[name]

    @contextmanager
    def showing(self, values: Tensor | None) -> Iterator[None]:
        """`with arena.showing(average): …` sees these values in the modules, and those that are trained again behind it. None
        shows what is trained."""
        if values is None:
            yield
            return
        trained = self.values.detach().clone()
        self.values.detach().copy_(values)
        try:
            yield
        finally:
            self.values.detach().copy_(trained)

    def zero_gradients(self) -> None:
        self.gradients.zero_()

    def clip_gradients(self, largest: float) -> Tensor:
        """Scales the gradients down to the norm `largest` (0: leaves them) and returns their norm before, on the device."""
        norm: Tensor = torch.linalg.vector_norm(self.gradients)
        if largest > 0:
            self.gradients.mul_((largest / (norm + 1e-6)).clamp(max=1.0))
        return norm

    def state(self) -> dict[str, Tensor]:
        """Values and buffers, as copies in host memory."""
        return {name: buffer.detach().cpu().clone() for name, buffer in self._stored()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Takes back a `state` of an arena of the same layout; raises ValueError for another."""
        for name, buffer in self._stored():
            if name not in state:
                raise ValueError(f"state has no {name}")
            if state[name].shape != buffer.shape:
                raise ValueError(f"state has {state[name].numel()} {name}, the adapter {buffer.numel()}")
            buffer.detach().copy_(state[name])

    def _stored(self) -> Iterator[tuple[str, Tensor]]:
        yield "values", self.values
        yield from self.buffers.items()
