"""Gradients of an adapted layer against central differences, in fp64."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from trainer.adapters.adapted_layer import AdaptedLayer
from trainer.adapters.mathematics import normal
from trainer.draws import generator

_STEP = 1e-3
"""A layer is linear in each single number, so that central differences are exact but for rounding."""

_NUMBERS = 24
"""Of each tensor, spread over it."""


def gradient_error(module: AdaptedLayer, x: Tensor) -> float:
    """The largest relative error over the adapter's tensors and x; relative to the largest gradient of its tensor.

    Where DyLoRA's mode sends no gradient, gradient is an error.
    """
    x = x.clone().requires_grad_()
    with torch.no_grad():
        result = module(x)
    weights = normal(tuple(result.shape), 1.0, generator(0, "weights of outputs")).to(x.dtype)

    def loss() -> Tensor:
        return torch.sum(module(x) * weights)

    module(x).backward(weights)
    return max(
        _error(tensor, loss, trained)
        for tensor, trained in [(x, torch.ones_like(x, dtype=torch.bool)), *_trained(module)]
    )


def _trained(module: AdaptedLayer) -> Iterator[tuple[Tensor, Tensor]]:
    """Each tensor of the adapter, and which of its numbers this step trains."""
    cut, mode, unit = module.behaviour.moment.cut, module.behaviour.mode, module.behaviour.unit
    for name, tensor in module.tensors.items():
        mask = torch.ones_like(tensor, dtype=torch.bool)
        if cut is not None and mode == "frozen":
            ranks = torch.arange(module.plan.size.rank)
            newest = (ranks >= cut - unit) & (ranks < cut)
            mask &= newest.view(
                (-1, *[1] * (tensor.ndim - 1)) if name == "lora_down" else (1, -1, *[1] * (tensor.ndim - 2))
            )
        yield tensor, mask


def _error(tensor: Tensor, loss: Callable[[], Tensor], trained: Tensor) -> float:
    gradient = tensor.grad
    if gradient is None or not gradient.any():
        return float("inf")
    places = torch.linspace(0, tensor.numel() - 1, min(_NUMBERS, tensor.numel())).long()
    numbers = tensor.detach().view(-1)
    differences = torch.zeros(len(places), dtype=tensor.dtype)
    with torch.no_grad():
        for row, place in enumerate(places.tolist()):
            if not trained.view(-1)[place]:
                continue
            here = float(numbers[place])
            numbers[place] = here + _STEP
            above = loss()
            numbers[place] = here - _STEP
            differences[row] = (above - loss()) / (2 * _STEP)
            numbers[place] = here
    return float((gradient.view(-1)[places] - differences).abs().max() / gradient.abs().max())
