"""Riemannian preconditioning of LoRA (Zhang & Pilanci, arXiv 2402.02347): each factor's gradient by the other factor's scale.

Shapes: A down (r, I), B up (O, r); of convolutions the same, flattened.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.arena import Arena

DELTA = 1e-6
"""The paper's damping."""


def preconditioned(a: Tensor, b: Tensor, gradient_a: Tensor, gradient_b: Tensor) -> tuple[Tensor, Tensor]:
    """(B^T B + delta I)^-1 grad A and grad B (A A^T + delta I)^-1 (eq. 4), for n pairs at once: A (n, r, I), B (n, O, r).

    The damping keeps both invertible, so that nothing is checked and a GPU need not be waited for.
    """
    damping = DELTA * torch.eye(a.shape[1], device=a.device)
    of_a: Tensor = torch.linalg.solve_ex(b.mT @ b + damping, gradient_a).result
    of_b: Tensor = torch.linalg.solve_ex(a @ a.mT + damping, gradient_b, left=False).result
    return of_a, of_b


class Preconditioner:
    """Changes the arena's gradients in place; pairs of the same shape are solved together."""

    def __init__(self, arena: Arena) -> None:
        parameters = {name: value for segment in arena.segments for name, value in segment.parameters.items()}
        self._pairs: dict[tuple[torch.Size, torch.Size], list[tuple[torch.nn.Parameter, torch.nn.Parameter]]] = {}
        for name, down in parameters.items():
            layer, _, kind = name.rpartition(".")
            if kind == "lora_down":
                up = parameters[f"{layer}.lora_up"]
                self._pairs.setdefault((down.shape, up.shape), []).append((down, up))

    @torch.no_grad()
    def precondition(self) -> None:
        for pairs in self._pairs.values():
            downs, ups = [down for down, _ in pairs], [up for _, up in pairs]
            of_downs, of_ups = preconditioned(
                torch.stack([down.flatten(1) for down in downs]),
                torch.stack([up.flatten(1) for up in ups]),
                torch.stack([_gradient(down) for down in downs]),
                torch.stack([_gradient(up) for up in ups]),
            )
            for parameter, gradient in zip([*downs, *ups], [*of_downs, *of_ups], strict=True):
                _gradient(parameter).copy_(gradient)


def _gradient(parameter: torch.nn.Parameter) -> Tensor:
    """A view of it as a matrix."""
    assert parameter.grad is not None, "the arena presets it"
    return parameter.grad.flatten(1)
