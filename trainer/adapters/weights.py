"""One adapted layer as plain tensors: what is trained, what files hold, and what tools work on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainer.adapters.kinds import kind_of
from trainer.adapters.mathematics import Kind
from trainer.adapters.targets import Layer


@dataclass(frozen=True, kw_only=True)
class LayerWeights:
    """The adapter of one layer. Its strength is alpha / rank, or 1 where its kind has no rank to divide by."""

    network: str
    """`unet`, `text_encoder` or `text_encoder_2`."""
    path: str
    """The layer's name in its network, as diffusers and transformers 5 say it."""
    layer: Layer
    tensors: Mapping[str, Tensor]
    """Named as in LyCORIS's files, without a trailing `.weight`: lora_down, hada_w1_a, lokr_w1, …"""
    alpha: float

    @property
    def name(self) -> str:
        return f"{self.network}.{self.path}"

    @property
    def kind(self) -> Kind:
        return kind_of(self.tensors)

    @property
    def rank(self) -> int | None:
        return self.kind.rank(self.tensors)

    @property
    def scale(self) -> float:
        """What ΔW is multiplied by."""
        rank = self.rank
        return 1.0 if rank is None else self.alpha / rank

    @property
    def count(self) -> int:
        """Numbers in all tensors."""
        return sum(tensor.numel() for tensor in self.tensors.values())

    def delta(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """scale · ΔW, of the layer's weight's shape, computed in `dtype` on the tensors' device."""
        converted = {name: tensor.detach().to(dtype) for name, tensor in self.tensors.items()}
        return self.kind.delta(converted, self.layer) * self.scale

    def with_tensors(self, tensors: Mapping[str, Tensor], alpha: float) -> LayerWeights:
        return replace(self, tensors=tensors, alpha=alpha)
