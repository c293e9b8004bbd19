"""One trained state, every file: which formats an adapter's weights become, and what each of them is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from loramill import v1
from trainer.adapters import dylora
from trainer.adapters.reduction import reduced, relative_error
from trainer.adapters.weights import LayerWeights
from trainer.config import TrainConfig
from trainer.formats import diffusers, kohya


@dataclass(frozen=True, kw_only=True)
class Export:
    """One safetensors file of an adapter."""

    format: v1.AdapterFormat.ValueType
    ending: str
    """Of its name, behind that of the output."""
    layers: Sequence[LayerWeights]
    tensors: dict[str, Tensor]
    header: dict[str, str] = field(default_factory=dict)
    """Metadata that this format has beside that of all."""
    rank: int = 0
    """The largest of a layer, of files that are cut or converted."""
    relative_error: float | None = None
    """What a converted file lacks: norm of the lost over norm of the whole."""


def exports(layers: Sequence[LayerWeights], config: TrainConfig, dtype: torch.dtype) -> Iterator[Export]:
    """The safetensors files of an adapter; the first has kohya's and LyCORIS's keys and holds what was trained."""
    family = config.family
    yield Export(
        format=v1.ADAPTER_FORMAT_KOHYA,
        ending=".safetensors",
        layers=layers,
        tensors=kohya.tensors(layers, dtype, family),
    )
    if diffusers.representable(layers) is None:
        yield Export(
            format=v1.ADAPTER_FORMAT_DIFFUSERS,
            ending=".diffusers.safetensors",
            layers=layers,
            tensors=diffusers.tensors(layers, dtype),
            header=diffusers.header(layers),
        )
    elif config.converted_rank:
        yield _converted(layers, family, dtype, config.converted_rank)
    if config.adapter.type == "dylora":
        yield from _truncated(layers, config.adapter.dylora.unit, family, dtype)


def _converted(layers: Sequence[LayerWeights], family: str, dtype: torch.dtype, largest_rank: int) -> Export:
    """A plain LoRA for programs that load nothing else."""
    plain, reductions = reduced(layers, largest_rank)
    return Export(
        format=v1.ADAPTER_FORMAT_CONVERTED,
        ending=".lora.safetensors",
        layers=plain,
        tensors=kohya.tensors(plain, dtype, family),
        rank=max(reduction.rank for reduction in reductions),
        relative_error=relative_error(reductions),
    )


def _truncated(layers: Sequence[LayerWeights], unit: int, family: str, dtype: torch.dtype) -> Iterator[Export]:
    """A DyLoRA at each smaller rank that it was trained at, with the alpha that makes every loader apply its strength there."""
    largest = max(layer.rank or 0 for layer in layers)
    for rank in dylora.ranks(largest, unit)[:-1]:
        cut = [dylora.cut_off(layer, rank) for layer in layers]
        yield Export(
            format=v1.ADAPTER_FORMAT_TRUNCATED,
            ending=f".rank-{rank:03d}.safetensors",
            layers=cut,
            tensors=kohya.tensors(cut, dtype, family),
            rank=rank,
        )
