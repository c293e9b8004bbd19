"""The arena owns the trained parameters: values, gradients and moments lie in contiguous fp32 buffers.

A segment holds the parameters of one (rate, decay) group, and is one parameter to the optimizer. Clipping, the optimizer and
a checkpoint are then one kernel or one copy each. Module parameters are views: never set their `.grad` to None, never move
them to another type or device once the arena is laid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """One group, laid out; every tensor is (n,) and a view of the arena's buffers."""

    name: str
    learning_rate: float
    weight_decay: float
    value: torch.nn.Parameter
    first_moment: Tensor
    second_moment: Tensor
    shapes: tuple[tuple[str, tuple[int, ...]], ...]


class Arena:
    """The buffers (values, gradients, first and second moments), each (N,) for N trained numbers."""

    def __init__(self, groups: Sequence[Group], device: torch.device) -> None:
        count = sum(parameter.numel() for group in groups for parameter in group.parameters.values())
        self.values = torch.zeros(count, device=device)
        self.gradients = torch.zeros(count, device=device)
        self.first_moments = torch.zeros(count, device=device)
        self.second_moments = torch.zeros(count, device=device)
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
            first_moment=self.first_moments[place],
            second_moment=self.second_moments[place],
            shapes=tuple((name, tuple(parameter.shape)) for name, parameter in group.parameters.items()),
        )

    @property
    def count(self) -> int:
        """Trained numbers."""
        return self.values.numel()

    def zero_gradients(self) -> None:
        self.gradients.zero_()

    def clip_gradients(self, largest: float) -> Tensor:
        """Scales the gradients down to the norm `largest` (0: leaves them) and returns their norm before, on the device."""
        norm: Tensor = torch.linalg.vector_norm(self.gradients)
        if largest > 0:
            self.gradients.mul_((largest / (norm + 1e-6)).clamp(max=1.0))
        return norm

    def state(self) -> dict[str, Tensor]:
        """All that a checkpoint must hold, as copies in host memory."""
        return {
            "values": self.values.detach().cpu().clone(),
            "first_moments": self.first_moments.cpu().clone(),
            "second_moments": self.second_moments.cpu().clone(),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Takes back a `state` of an arena of the same layout; raises ValueError for another."""
        for name, buffer in (
            ("values", self.values),
            ("first_moments", self.first_moments),
            ("second_moments", self.second_moments),
        ):
            if state[name].shape != buffer.shape:
                raise ValueError(f"state has {state[name].numel()} {name}, the adapter {buffer.numel()}")
            buffer.detach().copy_(state[name])
