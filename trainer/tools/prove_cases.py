"""What `prove` proves: every type of adapter, on every kind of layer, with every option that changes its mathematics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn

from trainer.adapters.adapted_layer import AdaptedLayer, Behaviour, Moment
from trainer.adapters.dylora import Mode
from trainer.adapters.mathematics import kaiming_uniform, normal
from trainer.adapters.plan import LayerPlan, plan_layers
from trainer.adapters.targets import Layer
from trainer.adapters.types import TYPES
from trainer.config import AdapterConfig, DyloraConfig, LokrConfig
from trainer.draws import generator

SEED = 1

_BLOCK = "down_blocks.0"
LAYERS: dict[str, tuple[str, Layer]] = {
    "linear": (f"{_BLOCK}.attentions.0.transformer_blocks.0.attn1.to_q", Layer(320, 320)),
    "conv 1x1": (f"{_BLOCK}.attentions.0.proj_in", Layer(320, 320, (1, 1))),
    "conv 3x3": (f"{_BLOCK}.resnets.0.conv1", Layer(320, 320, (3, 3), padding=(1, 1))),
    "conv 3x3, stride 2": (f"{_BLOCK}.downsamplers.0.conv", Layer(320, 320, (3, 3), stride=(2, 2), padding=(1, 1))),
}
"""Layers of SD1.5's UNet, by their kind."""

PLAIN = AdapterConfig(
    type="lora",
    initial="",
    rank=16,
    alpha=8.0,
    conv_rank=16,
    conv_alpha=8.0,
    targets="all",
    dropout=0.0,
    rank_dropout=0.0,
    module_dropout=0.0,
    rules=(),
    tucker=False,
    rank_stabilized=False,
    lora_plus_ratio=1.0,
    lokr=LokrConfig(factor=-1, full_matrix=False, decompose_both=False),
    dylora=DyloraConfig(unit=4, mode="frozen"),
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row of the table."""

    layer: str
    """Of `LAYERS`."""
    option: str
    config: AdapterConfig
    cut: int | None = None
    """DyLoRA: the rank of the step."""

    def small(self) -> Case:
        """The same with a quarter of the ranks."""
        config = self.config
        sizes = {name: getattr(config, name) / 4 for name in ("alpha", "conv_alpha")}
        ranks = {name: getattr(config, name) // 4 for name in ("rank", "conv_rank")}
        unit = replace(config.dylora, unit=config.dylora.unit // 4)
        return replace(
            self,
            config=replace(config, **ranks, **sizes, dylora=unit),
            cut=None if self.cut is None else self.cut // 4,
        )

    @property
    def moment(self) -> Moment:
        return Moment(cut=self.cut)


def _sized(rank: int, alpha: float) -> AdapterConfig:
    return replace(PLAIN, rank=rank, alpha=alpha, conv_rank=rank, conv_alpha=alpha)


def _lokr(rank: int, factor: int, *, full: bool = False, both: bool = False, tucker: bool = False) -> AdapterConfig:
    lokr = LokrConfig(factor=factor, full_matrix=full, decompose_both=both)
    return replace(_sized(rank, rank / 2), type="lokr", tucker=tucker, lokr=lokr)


def _dylora(mode: Mode) -> AdapterConfig:
    return replace(PLAIN, type="dylora", dylora=DyloraConfig(unit=4, mode=mode))


_LOCON = replace(PLAIN, type="locon", conv_rank=8, conv_alpha=2.0)
_LOHA = replace(_sized(8, 4.0), type="loha")
_OPTIONS: tuple[tuple[str, AdapterConfig, int | None], ...] = (
    ("rank 16, alpha 8", PLAIN, None),
    ("rank-stabilized", replace(PLAIN, rank_stabilized=True), None),
    ("3x3 of rank 8, alpha 2", _LOCON, None),
    ("Tucker", replace(_LOCON, tucker=True), None),
    ("rank 8, alpha 4", _LOHA, None),
    ("rank 32, alpha 4", replace(_sized(32, 4.0), type="loha"), None),
    ("rank-stabilized", replace(_LOHA, rank_stabilized=True), None),
    ("Tucker", replace(_LOHA, tucker=True), None),
    ("factor -1", _lokr(8, -1), None),
    ("factor 4", _lokr(8, 4), None),
    ("factor 8", _lokr(8, 8), None),
    ("factor 8, full matrices", _lokr(8, 8, full=True), None),
    ("factor -1, both decomposed", _lokr(4, -1, both=True), None),
    ("factor 8, Tucker", _lokr(8, 8, tucker=True), None),
    ("frozen, rank 8 of 16", _dylora("frozen"), 8),
    ("joint, rank 8 of 16", _dylora("joint"), 8),
    ("joint, rank 16 of 16", _dylora("joint"), 16),
)


def _cases() -> Iterator[Case]:
    for option, config, cut in _OPTIONS:
        for name, (_, layer) in LAYERS.items():
            if layer.is_spatial or not config.tucker:
                yield Case(layer=name, option=option, config=config, cut=cut)


CASES = tuple(_cases())


def plan_of(case: Case, layer: Layer) -> LayerPlan:
    """The plan of the case's layer, given another shape where that is wanted."""
    path = LAYERS[case.layer][0]
    return plan_layers("unet", {path: layer}, [path], case.config, learning_rate=1e-4)[0]


def base_layer(layer: Layer) -> nn.Linear | nn.Conv2d:
    """A frozen layer with drawn weights."""
    draw = generator(SEED, "base layer")
    if layer.kernel is None:
        module: nn.Linear | nn.Conv2d = nn.Linear(layer.inputs, layer.outputs)
    else:
        module = nn.Conv2d(layer.inputs, layer.outputs, layer.kernel, layer.stride, layer.padding, layer.dilation)
    module.weight = nn.Parameter(kaiming_uniform(layer.shape, draw))
    module.bias = nn.Parameter(normal((layer.outputs,), 0.1, draw))
    return module.requires_grad_(False)


def adapted(case: Case, layer: Layer, dtype: torch.dtype = torch.float32) -> AdaptedLayer:
    """A layer with an adapter as after some training, in training: every tensor has moved from where it began."""
    plan = plan_of(case, layer)
    first = TYPES[case.config.type].initial(layer, plan.size, partial(generator, SEED, "adapter"))
    moved = {
        name: tensor + normal(tuple(tensor.shape), 0.1, generator(SEED, "moved", name))
        for name, tensor in first.items()
    }
    dylora = case.config.dylora
    behaviour = Behaviour(unit=dylora.unit, mode=dylora.mode, moment=case.moment)
    return AdaptedLayer(base_layer(layer), plan, moved, behaviour).to(dtype).train()


def inputs(layer: Layer, side: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Two drawn pictures of side x side places: (2, side², I) or (2, I, side, side)."""
    shape = (2, side * side, layer.inputs) if layer.kernel is None else (2, layer.inputs, side, side)
    return normal(shape, 1.0, generator(SEED, "inputs")).to(dtype)
