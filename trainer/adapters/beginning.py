"""What each layer's adapter begins with: newly drawn tensors, or those of a file to go on from. The base is only looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from trainer.adapters.mathematics import Size
from trainer.adapters.plan import LayerPlan, plan_layers, rate_of, unmatched_rules
from trainer.adapters.targets import Layer, layers_of, text_encoder_targets, unet_targets, unforeseen_layers
from trainer.adapters.types import TYPES
from trainer.adapters.weights import LayerWeights
from trainer.config import TrainConfig
from trainer.draws import generator
from trainer.errors import UserError
from trainer.families.base import Base


@dataclass(frozen=True)
class Beginning:
    """One layer that will be adapted, and its first tensors."""

    plan: LayerPlan
    tensors: Mapping[str, Tensor]
    """fp32."""


def begin_anew(config: TrainConfig, base: Base) -> list[Beginning]:
    """The configured layers, each drawn by its name, in the order of networks and layers.

    Raises UserError where a network would get no adapter, where a layer is of a kind that the targets do not foresee, and for
    every rule that matches nothing.
    """
    names: list[str] = []
    plans: list[LayerPlan] = []
    problems: list[str] = []
    for network, rate in _trained(config).items():
        layers = layers_of(base.network(network))
        chosen = _chosen(network, layers, config)
        names += [f"{network}.{path}" for path in chosen]
        mine = plan_layers(network, layers, chosen, config.adapter, rate)
        plans += mine
        problems += _problems_of_choice(network, layers, chosen, mine, config)
    problems += _problems_of_rules(names, config)
    if problems:
        raise UserError(problems)
    kind, seed = TYPES[config.adapter.type], config.optimization.seed
    return [
        Beginning(plan, kind.initial(plan.layer, plan.size, partial(generator, seed, "adapter", plan.name)))
        for plan in plans
    ]


def begin_from(file: Sequence[LayerWeights], config: TrainConfig) -> list[Beginning]:
    """The layers of a file with its ranks and alphas; `file` fits the base (`formats.matching`).

    Raises UserError where type or networks are not those of the spec, or where a rule matches nothing or leaves a layer out.
    """
    trained, wanted = _trained(config), TYPES[config.adapter.type]
    problems = [
        f"adapter.initial_adapter {config.adapter.initial} holds {kind} tensors, but adapter.type {config.adapter.type} "
        f"is made of {wanted.name}; set adapter.type to what the file is."
        for kind in sorted({weights.kind.name for weights in file} - {wanted.name})
    ]
    networks = {weights.network for weights in file}
    for network in sorted(networks ^ set(trained)):
        has, remedy = ("adapts", "true") if network in networks else ("does not adapt", "false")
        problems.append(
            f"adapter.initial_adapter {config.adapter.initial} {has} the base's {network}; set {network}.train to {remedy}."
        )
    problems += _problems_of_rules([weights.name for weights in file], config)
    if any(not rule.train for rule in config.adapter.rules):
        problems.append(
            "adapter.rules leave layers out, which an adapter that goes on from a file cannot; drop that rule."
        )
    if config.adapter.type == "dylora":
        problems += _problems_of_unit(file, config.adapter.dylora.unit)
    if problems:
        raise UserError(problems)
    return [
        Beginning(
            LayerPlan(
                network=weights.network,
                path=weights.path,
                layer=weights.layer,
                size=Size(rank=weights.rank or 1, alpha=weights.alpha, tucker="lora_mid" in weights.tensors),
                learning_rate=rate_of(weights.name, config.adapter, trained[weights.network]),
            ),
            {name: tensor.detach().float().clone() for name, tensor in weights.tensors.items()},
        )
        for weights in file
    ]


def _trained(config: TrainConfig) -> dict[str, float]:
    """The networks that are trained, with their rates."""
    return {name: network.learning_rate for name, network in config.trained.items()}


def _chosen(network: str, layers: Mapping[str, Layer], config: TrainConfig) -> list[str]:
    return unet_targets(layers, config.adapter.targets) if network == "unet" else text_encoder_targets(layers)


def _problems_of_choice(
    network: str, layers: Mapping[str, Layer], chosen: Sequence[str], plans: Sequence[LayerPlan], config: TrainConfig
) -> list[str]:
    if not chosen:
        return [
            f"adapter.targets {config.adapter.targets} finds no layer in the base's {network}; "
            "choose other targets or another base model."
        ]
    unforeseen = unforeseen_layers(network, layers, config.adapter.targets)
    if unforeseen:
        return [
            f"{len(unforeseen)} layers of the base's {network} lie where adapter.targets {config.adapter.targets} adapts every "
            f"layer, but are of no known kind, such as {unforeseen[0]}; use a base of the family's own layout."
        ]
    if not plans:
        return [
            f"adapter.rules leave no layer of the base's {network} to train; let some be trained, or set {network}.train "
            "to false."
        ]
    return []


def _problems_of_rules(names: Sequence[str], config: TrainConfig) -> list[str]:
    return [
        f"adapter.rules has the pattern {pattern!r}, which matches none of the {len(names)} layers that are trained"
        f"{f', such as {names[0]}' if names else ''}; correct it or leave it out."
        for pattern in unmatched_rules(names, config.adapter.rules)
    ]


def _problems_of_unit(file: Sequence[LayerWeights], unit: int) -> list[str]:
    ranks = sorted({weights.rank or 1 for weights in file if (weights.rank or 1) % unit})
    problems = [
        f"adapter.dylora.unit is {unit}, but must divide the file's rank {rank}; choose another." for rank in ranks
    ]
    if any("lora_mid" in weights.tensors for weights in file):
        problems.append("The file has Tucker cores, which DyLoRA cannot cut; go on with type LOCON.")
    return problems
