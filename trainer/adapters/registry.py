"""Every adapter type that this trainer knows, and how one is put into a base model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trainer.adapters import lora
from trainer.adapters.lora import LoraModule
from trainer.adapters.targets import layers_of, text_encoder_targets, unet_targets
from trainer.arena import Group
from trainer.config import TrainConfig
from trainer.errors import UserError
from trainer.families.base import Base

TYPES: dict[str, Callable[..., list[LoraModule]]] = {
    "lora": lora.inject,
}


@dataclass(frozen=True)
class Adapter:
    """The adapted layers of a base model."""

    modules: tuple[LoraModule, ...]

    def groups(self, config: TrainConfig) -> list[Group]:
        """The trained parameters by (rate, decay), for the arena."""
        rates = {"unet": config.unet.learning_rate, "text_encoder": config.text_encoder.learning_rate}
        groups = []
        for network in dict.fromkeys(module.network for module in self.modules):
            parameters = {}
            for module in self.modules:
                if module.network == network:
                    parameters[f"{module.name}.down"] = module.down
                    parameters[f"{module.name}.up"] = module.up
            groups.append(
                Group(
                    name=network,
                    parameters=parameters,
                    learning_rate=rates[network],
                    weight_decay=config.optimization.weight_decay,
                )
            )
        return groups


def put_adapter(config: TrainConfig, base: Base) -> Adapter:
    """Puts the configured adapter into every network that is trained; raises UserError where nothing would be."""
    modules: list[LoraModule] = []
    for name, wanted in (("unet", config.unet.train), ("text_encoder", config.text_encoder.train)):
        if not wanted:
            continue
        network = base.networks[name]
        layers = layers_of(network)
        targets = unet_targets(layers, config.adapter.targets) if name == "unet" else text_encoder_targets(layers)
        if not targets:
            raise UserError(
                f"adapter.targets {config.adapter.targets} finds no layer in the base's {name}; "
                "choose other targets or another base model."
            )
        modules += TYPES[config.adapter.type](name, network, layers, targets, config.adapter, config.optimization.seed)
    return Adapter(tuple(modules))
