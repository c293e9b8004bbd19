"""Rank, alpha and rate of each layer, from the configuration and its rules."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tests.trainer.adapters.samples import first
from tests.trainer.small_training import config_of
from trainer.adapters.mathematics import Size
from trainer.adapters.plan import LayerPlan, plan_layers, unmatched_rules
from trainer.adapters.targets import Layer
from trainer.adapters.weights import LayerWeights
from trainer.config import AdapterConfig, LayerRule, LokrConfig

LAYERS = {"up.to_q": Layer(320, 320), "up.proj_in": Layer(320, 320, (1, 1)), "up.conv1": Layer(320, 320, (3, 3))}
CONFIG = replace(config_of().adapter, rank=16, alpha=8.0, conv_rank=4, conv_alpha=1.0, rules=())


def plans(**changes: object) -> dict[str, LayerPlan]:
    config: AdapterConfig = replace(CONFIG, **changes)
    return {plan.path: plan for plan in plan_layers("unet", LAYERS, list(LAYERS), config, learning_rate=1e-3)}


def sizes(**changes: object) -> dict[str, tuple[int, float]]:
    return {path: (plan.size.rank, plan.size.alpha) for path, plan in plans(**changes).items()}


def rule(pattern: str, **changes: object) -> LayerRule:
    return replace(LayerRule(pattern=pattern, train=True, rank=None, alpha=None, learning_rate=None), **changes)


def test_convolutions_that_look_at_neighbours_have_a_size_of_their_own() -> None:
    assert sizes() == {"up.to_q": (16, 8.0), "up.proj_in": (16, 8.0), "up.conv1": (4, 1.0)}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"rank": 4}, (4, 2.0)),
        ({"alpha": 3.0}, (16, 3.0)),
        ({"rank": 4, "alpha": 3.0}, (4, 3.0)),
    ],
)
def test_a_rule_that_names_a_rank_alone_keeps_the_strength(
    changes: dict[str, object], expected: tuple[int, float]
) -> None:
    assert sizes(rules=(rule("unet.*to_q", **changes),))["up.to_q"] == expected


def test_the_first_rule_that_matches_counts() -> None:
    rules = (
        rule("unet.up.to_q", rank=2),
        rule("unet.up.proj*", train=False),
        rule("unet.up.*", rank=8, learning_rate=5e-4),
    )
    found = plans(rules=rules)
    assert {path: (plan.size.rank, plan.learning_rate) for path, plan in found.items()} == {
        "up.to_q": (2, 1e-3),
        "up.conv1": (8, 5e-4),
    }


def test_rules_that_match_nothing_are_found() -> None:
    rules = (rule("unet.up.*"), rule("up.*"), rule("unet.down.*"))
    assert unmatched_rules(["unet.up.to_q"], rules) == ["up.*", "unet.down.*"]


def test_the_rank_stabilized_strength_is_said_by_alpha() -> None:
    """alpha / sqrt(r), for loaders that divide what the file says by r."""
    found = sizes(rank_stabilized=True)
    assert found["up.to_q"][1] / 16 == pytest.approx(8 / math.sqrt(16))
    assert found["up.conv1"][1] / 4 == pytest.approx(1 / math.sqrt(4))


@pytest.mark.parametrize(
    ("lokr", "rank", "alpha"),
    [
        (LokrConfig(factor=8, full_matrix=True, decompose_both=False), 16, 16.0),
        (LokrConfig(factor=8, full_matrix=False, decompose_both=False), 16, 8.0),
        (LokrConfig(factor=8, full_matrix=False, decompose_both=False), 20, 20.0),
        (LokrConfig(factor=-1, full_matrix=False, decompose_both=True), 10, 10.0),
    ],
    ids=["asked for", "a product", "rank too high", "rank too high for both"],
)
def test_a_lokr_of_full_matrices_has_strength_1_and_states_its_rank_as_alpha(
    lokr: LokrConfig, rank: int, alpha: float
) -> None:
    plan = plans(type="lokr", lokr=lokr, rank=rank, alpha=8.0)["up.to_q"]
    assert plan.size.alpha == alpha
    tensors = first("lokr", plan.layer, plan.size)
    weights = LayerWeights(network="unet", path=plan.path, layer=plan.layer, tensors=tensors, alpha=plan.size.alpha)
    assert ("lokr_w2" in tensors) is (alpha == rank)
    assert weights.scale == (1.0 if alpha == rank else 0.5)


def test_a_foreign_file_of_full_matrices_has_strength_1_whatever_it_states() -> None:
    size = Size(rank=2, alpha=2, full_matrix=True)
    tensors = first("lokr", LAYERS["up.to_q"], size)
    weights = LayerWeights(network="unet", path="up.to_q", layer=LAYERS["up.to_q"], tensors=tensors, alpha=123.0)
    assert (weights.rank, weights.scale) == (None, 1.0)


def test_tucker_is_for_convolutions_that_look_at_neighbours() -> None:
    assert {path: plan.size.tucker for path, plan in plans(tucker=True).items()} == {
        "up.to_q": False,
        "up.proj_in": False,
        "up.conv1": True,
    }
