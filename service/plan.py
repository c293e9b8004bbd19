"""What deserves attention in a spec that is accepted nevertheless: a sentence each. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from loramill import v1

_HIGH_RANK = 32
_HIGH_RATE = 1e-3


def warnings(spec: v1.TrainingSpec) -> list[str]:
    """`spec` is resolved."""
    return [sentence for rule in _RULES for sentence in rule(spec)]


def _of_rank(spec: v1.TrainingSpec) -> Iterator[str]:
    """LoHa and LoCon need far less rank than LoRA: LoHa's product of two low-rank products has up to rank² (Hyeon-Woo et al.,
    arXiv 2108.06098, prop. 1), LoCon adapts the convolutions too."""
    adapter = spec.adapter
    if adapter.rank < _HIGH_RANK:
        return
    if adapter.type == v1.ADAPTER_TYPE_LOHA:
        yield (
            f"adapter.rank is {adapter.rank} with type LOHA, whose updates reach rank {adapter.rank}² = {adapter.rank**2}: "
            "it overfits easily and may become unstable; ranks of 4 to 16 are usual."
        )
    if adapter.type == v1.ADAPTER_TYPE_LOCON:
        yield (
            f"adapter.rank is {adapter.rank} with type LOCON, which adapts the convolutions as well: "
            "it overfits easily and makes large files; ranks of 4 to 16 are usual."
        )


def _of_rates(spec: v1.TrainingSpec) -> Iterator[str]:
    if spec.optimization.optimizer in (v1.OPTIMIZER_PRODIGY, v1.OPTIMIZER_ADAFACTOR):
        return  # theirs are relative to what they find themselves
    networks = {"unet": spec.unet, "text_encoder": spec.text_encoder, "text_encoder_2": spec.text_encoder_2}
    rates = {name: network.learning_rate for name, network in networks.items() if network.train}
    rates |= {f"adapter.rules[{place}]": rule.learning_rate for place, rule in enumerate(spec.adapter.rules)}
    for name, rate in rates.items():
        if rate > _HIGH_RATE:
            yield f"{name}.learning_rate is {rate:g}, above {_HIGH_RATE:g}, where training often diverges; watch the loss."


def _of_scale(spec: v1.TrainingSpec) -> Iterator[str]:
    adapter = spec.adapter
    if not adapter.HasField("rank"):
        return
    scale = adapter.alpha / (math.sqrt(adapter.rank) if adapter.rank_stabilized else adapter.rank)
    if scale > 4:
        yield (
            f"adapter.alpha is {adapter.alpha:g} at rank {adapter.rank}, a scale of {scale:g}; "
            "scales above 4 act like a learning rate that many times as high."
        )


def _of_prior(spec: v1.TrainingSpec) -> Iterator[str]:
    if spec.concept.kind == v1.CONCEPT_KIND_MODIFIED and not spec.concept.prior_preservation.enabled:
        yield "concept.kind is MODIFIED without prior preservation: the class words will change their meaning everywhere."


def _of_saves(spec: v1.TrainingSpec) -> Iterator[str]:
    steps = spec.optimization.steps
    if steps and spec.outputs.save_every > steps:
        yield f"outputs.save_every is {spec.outputs.save_every}, more than the {steps} steps: only the final adapter is saved."
    if spec.outputs.save_every and steps // spec.outputs.save_every > 100:
        count = steps // spec.outputs.save_every
        yield f"outputs.save_every is {spec.outputs.save_every}, which makes {count} adapters beside the final one."


_RULES: tuple[Callable[[v1.TrainingSpec], Iterator[str]], ...] = (_of_rank, _of_rates, _of_scale, _of_prior, _of_saves)
