"""The adapter of a job: put into the base's networks, trained there, read out as plain tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from trainer.adapters import dylora
from trainer.adapters.adapted_layer import AdaptedLayer, Behaviour, Moment, put_in
from trainer.adapters.beginning import Beginning
from trainer.adapters.weights import LayerWeights
from trainer.arena import Group
from trainer.config import AdapterConfig, TrainConfig
from trainer.draws import generator
from trainer.errors import TrainerError
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

    def counted(self) -> dict[str, int]:
        """How many layers of each network are adapted."""
        return dict(Counter(module.plan.network for module in self.modules))

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

    @contextmanager
    def at(self, strength: float) -> Iterator[None]:
        """`with adapter.at(0.5): …` shows half of its change. Only where pictures are drawn."""
        self.moment.strength = strength
        try:
            yield
        finally:
            self.moment.strength = 1.0


def inject(network: torch.nn.Module, beginnings: Sequence[Beginning], behaviour: Behaviour) -> list[AdaptedLayer]:
    """Puts an adapter into each layer of one network; in the order of `beginnings`."""
    network.requires_grad_(False)
    layers = [put_in(network, beginning.plan, beginning.tensors, behaviour) for beginning in beginnings]
    there = sum(isinstance(module, AdaptedLayer) for module in network.modules())
    if there != len(layers):
        raise TrainerError(f"{len(layers)} layers were to be adapted, but {there} were.")
    return layers


def put_adapter(config: TrainConfig, base: Base, beginnings: Sequence[Beginning]) -> Adapter:
    """Puts an adapter with these first tensors into the networks of the base."""
    adapter, moment = config.adapter, Moment()
    behaviour = Behaviour(
        dropout=adapter.dropout,
        rank_dropout=adapter.rank_dropout,
        unit=adapter.dylora.unit,
        mode=adapter.dylora.mode,
        moment=moment,
    )
    modules: list[AdaptedLayer] = []
    for network in dict.fromkeys(beginning.plan.network for beginning in beginnings):
        mine = [beginning for beginning in beginnings if beginning.plan.network == network]
        modules += inject(base.network(network), mine, behaviour)
    return Adapter(tuple(modules), adapter, config.optimization.seed, moment)
