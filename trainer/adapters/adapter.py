"""The adapter of a job: put into the base's networks, trained there, read out as plain tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from trainer.adapters import dylora
from trainer.adapters.plan import LayerPlan, plan_layers, unmatched_rules
from trainer.adapters.targets import layers_of, text_encoder_targets, unet_targets
from trainer.adapters.tuner import AdaptedLayer, AdapterTuner, Behaviour, Moment
from trainer.adapters.types import TYPES
from trainer.adapters.weights import LayerWeights
from trainer.arena import Group
from trainer.config import AdapterConfig, AdapterTypeName, TrainConfig
from trainer.draws import generator
from trainer.errors import TrainerError, UserError
from trainer.families.base import Base


@dataclass(frozen=True)
class Adapter:
    """The adapted layers of a base model, in the order of the networks and of their layers."""

    modules: tuple[AdaptedLayer, ...]
    config: AdapterConfig
    seed: int
    moment: Moment

    def weights(self) -> list[LayerWeights]:
        """Every layer's tensors as they stand."""
        return [module.weights for module in self.modules]

    def groups(self, weight_decay: float) -> list[Group]:
        """The trained parameters by network and rate, for the arena; LoRA+ (arXiv 2402.12354, sec. 4) has `up` learn faster."""
        found: dict[tuple[str, float], dict[str, torch.nn.Parameter]] = {}
        for module in self.modules:
            plan = module.plan
            for name, parameter in module.tensors.items():
                faster = self.config.lora_plus_ratio if name == "lora_up" else 1.0
                found.setdefault((plan.network, plan.learning_rate * faster), {})[f"{plan.name}.{name}"] = parameter
        return [
            Group(name=f"{network} at {rate:g}", parameters=parameters, learning_rate=rate, weight_decay=weight_decay)
            for (network, rate), parameters in found.items()
        ]

    def begin_step(self, step: int) -> None:
        """Draws what holds for the whole network in a step, by the step alone: DyLoRA's rank, and the layers left out."""
        config = self.config
        if config.type == "dylora":
            largest = max(module.plan.size.rank for module in self.modules)
            self.moment.cut = dylora.draw_rank(largest, config.dylora.unit, generator(self.seed, "dylora rank", step))
        if config.module_dropout > 0:
            drawn = generator(self.seed, "module dropout", step).random(len(self.modules))
            self.moment.left_out = frozenset(
                module.plan.name
                for module, number in zip(self.modules, drawn, strict=True)
                if number < config.module_dropout
            )

    @contextmanager
    def off(self) -> Iterator[None]:
        """`with adapter.off(): …` asks the base alone."""
        self.moment.off = True
        try:
            yield
        finally:
            self.moment.off = False


def _targets(name: str, network: torch.nn.Module, config: TrainConfig) -> tuple[list[str], list[LayerPlan]]:
    """Full names of all layers that the targets choose in a network, and the plans that the rules leave of them."""
    layers = layers_of(network)
    chosen = unet_targets(layers, config.adapter.targets) if name == "unet" else text_encoder_targets(layers)
    rate = config.unet.learning_rate if name == "unet" else config.text_encoder.learning_rate
    if not chosen:
        raise UserError(
            f"adapter.targets {config.adapter.targets} finds no layer in the base's {name}; "
            "choose other targets or another base model."
        )
    plans = plan_layers(name, layers, chosen, config.adapter, rate)
    if not plans:
        raise UserError(
            f"adapter.rules leave no layer of the base's {name} to train; let some be trained, or set "
            f"{name}.train to false."
        )
    return [f"{name}.{path}" for path in chosen], plans


def inject(
    network: torch.nn.Module,
    plans: Sequence[LayerPlan],
    first: Mapping[str, Mapping[str, Tensor]],
    behaviour: Behaviour,
) -> list[AdaptedLayer]:
    """Puts an adapter into each planned layer, beginning with the tensors `first` (by path); in the order of the plans."""
    AdapterTuner(network, plans, first, behaviour)
    injected = {path: module for path, module in network.named_modules() if isinstance(module, AdaptedLayer)}
    if set(injected) != {plan.path for plan in plans}:
        difference = sorted(set(injected) ^ {plan.path for plan in plans})
        raise TrainerError(
            f"{len(plans)} layers were to be adapted, but {len(injected)} were; the difference: {difference[:5]}."
        )
    return [injected[plan.path] for plan in plans]


def first_tensors(plan: LayerPlan, type_: AdapterTypeName, seed: int) -> dict[str, Tensor]:
    """What a layer's adapter begins with, drawn by the layer's name."""

    return TYPES[type_].initial(plan.layer, plan.size, partial(generator, seed, "adapter", plan.name))


def put_adapter(config: TrainConfig, base: Base) -> Adapter:
    """Puts the configured adapter into every network that is trained; raises UserError where nothing would be."""
    adapter, moment = config.adapter, Moment()
    behaviour = Behaviour(
        dropout=adapter.dropout,
        rank_dropout=adapter.rank_dropout,
        unit=adapter.dylora.unit,
        mode=adapter.dylora.mode,
        moment=moment,
    )
    chosen = {
        name: _targets(name, base.networks[name], config)
        for name, wanted in (("unet", config.unet.train), ("text_encoder", config.text_encoder.train))
        if wanted
    }
    names = [name for network, _ in chosen.values() for name in network]
    unmatched = unmatched_rules(names, adapter.rules)
    if unmatched:
        raise UserError(
            [
                f"adapter.rules has the pattern {pattern!r}, which matches none of the {len(names)} layers that are "
                f"trained, such as {names[0]}; correct it or leave it out."
                for pattern in unmatched
            ]
        )
    modules: list[AdaptedLayer] = []
    for name, (_, plans) in chosen.items():
        first = {plan.path: first_tensors(plan, adapter.type, config.optimization.seed) for plan in plans}
        modules += inject(base.networks[name], plans, first, behaviour)
    return Adapter(tuple(modules), adapter, config.optimization.seed, moment)
