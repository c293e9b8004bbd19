"""Adapters with random tensors, of every kind, for the layers of a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from trainer.adapters.kinds import KINDS
from trainer.adapters.mathematics import Size
from trainer.adapters.targets import layers_of
from trainer.adapters.weights import LayerWeights

KINDS_AND_OPTIONS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "LoRA": ("lora", {}),
    "LoRA, Tucker": ("lora", {"tucker": True}),
    "LoHa": ("hada", {}),
    "LoHa, Tucker": ("hada", {"tucker": True}),
    "LoKr": ("lokr", {}),
    "LoKr, Tucker": ("lokr", {"tucker": True}),
    "LoKr by 4": ("lokr", {"factor": 4}),
    "LoKr, both products": ("lokr", {"decompose_both": True}),
    "LoKr, full": ("lokr", {"full_matrix": True}),
}
"""Kind and options of its size, by what a test is called."""

SOME_LAYERS = (
    "down_blocks.0.attentions.0.proj_in",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k",
    "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj",
    "down_blocks.0.downsamplers.0.conv",
    "mid_block.resnets.1.conv1",
    "mid_block.resnets.1.time_emb_proj",
    "up_blocks.1.resnets.0.conv_shortcut",
)
"""One of every sort, of `tiny_unet`."""


def drawn_layers(
    network: nn.Module, name: str, paths: Iterable[str], kind: str = "lora", **options: object
) -> list[LayerWeights]:
    """Ranks and alphas differ from layer to layer, and no tensor is zero."""
    layers, found = layers_of(network), []
    for number, path in enumerate(paths):
        size = Size(rank=(4, 2, 3)[number % 3], alpha=(2.0, 1.5)[number % 2], **options)
        shapes = KINDS[kind].initial(layers[path], size, lambda _: np.random.default_rng(0))
        tensors = {tensor: _drawn(shapes[tensor].shape, number) for tensor in shapes}
        found.append(LayerWeights(network=name, path=path, layer=layers[path], tensors=tensors, alpha=size.alpha))
    return found


def _drawn(shape: Iterable[int], seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.3


def assert_same_change(found: Iterable[LayerWeights], expected: Iterable[LayerWeights]) -> None:
    """Every layer, of the same geometry, with the same ΔW within 1e-6 of its largest number."""
    by_name = {layer.name: layer for layer in found}
    wanted = {layer.name: layer for layer in expected}
    assert set(by_name) == set(wanted)
    for name, layer in wanted.items():
        assert by_name[name].layer == layer.layer, name
        delta = layer.delta()
        torch.testing.assert_close(by_name[name].delta(), delta, rtol=0, atol=1e-6 * float(delta.abs().max()))
