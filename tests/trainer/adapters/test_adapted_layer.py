"""An adapted layer in a network: when the adapter answers, what is dropped, and what the optimizer is given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.trainer.adapters.samples import LAYERS, SIZES, adapted, drawn, inputs
from tests.trainer.small_training import config_of
from trainer.adapters.adapted_layer import AdaptedLayer, Behaviour, Moment
from trainer.adapters.adapter import Adapter, inject
from trainer.adapters.beginning import Beginning
from trainer.adapters.mathematics import Size
from trainer.adapters.plan import LayerPlan
from trainer.adapters.targets import Layer
from trainer.config import AdapterConfig

LINEAR = LAYERS["linear"]
X = inputs(LINEAR)


def one(behaviour: Behaviour | None = None, option: str = "LoRA", *, path: str = "a.b") -> AdaptedLayer:
    return adapted(SIZES[option][0], LINEAR, SIZES[option][1], behaviour, path=path)


@pytest.mark.parametrize("option", SIZES)
def test_it_adds_its_change_to_the_layer(option: str) -> None:
    module = one(option=option)
    expected = module.base_layer(X) + X @ module.weights.delta().T
    torch.testing.assert_close(module(X), expected, rtol=1e-4, atol=1e-4)


def adapter_of(modules: list[AdaptedLayer], **changes: object) -> Adapter:
    config: AdapterConfig = replace(config_of().adapter, **changes)
    return Adapter(tuple(modules), config, 7, modules[0].behaviour.moment)


def test_off_means_that_the_base_answers_until_it_is_on_again() -> None:
    module = one()
    adapter = adapter_of([module])
    base = module.base_layer(X)
    with adapter.off():
        assert torch.equal(module(X), base)
        assert torch.equal(module.eval()(X), base)
    assert not torch.equal(module(X), base)


def test_a_layer_is_left_out_of_steps_and_not_of_previews() -> None:
    moment = Moment(left_out=frozenset({"unet.a.b"}))
    left_out, other = one(Behaviour(moment=moment)), one(Behaviour(moment=moment), path="a.c")
    assert torch.equal(left_out(X), left_out.base_layer(X))
    assert not torch.equal(other(X), other.base_layer(X))
    assert not torch.equal(left_out.eval()(X), left_out.base_layer(X))


def test_which_layers_are_left_out_depends_on_the_step_alone() -> None:
    moment = Moment()
    modules = [one(Behaviour(moment=moment), path=f"a.{number}") for number in range(50)]
    adapter = adapter_of(modules, module_dropout=0.3)
    seen: list[frozenset[str]] = []
    for step in (1, 2, 3, 1):
        adapter.begin_step(step)
        seen.append(moment.left_out)
    assert seen[0] == seen[3]
    assert len(set(seen)) == 3
    assert np.mean([len(names) for names in seen]) == pytest.approx(0.3 * 50, abs=6)


def test_dylora_draws_one_rank_for_all_layers_by_the_step_alone() -> None:
    moment = Moment()
    modules = [one(Behaviour(moment=moment, unit=2))]
    adapter = adapter_of(modules, type="dylora", dylora=replace(config_of().adapter.dylora, unit=2))
    ranks = []
    for step in [*range(20), 0, 1, 2]:
        adapter.begin_step(step)
        ranks.append(moment.cut)
    assert set(ranks) == {2, 4}
    assert ranks[:3] == ranks[20:]


@pytest.mark.parametrize("behaviour", [Behaviour(dropout=0.5), Behaviour(rank_dropout=0.5)], ids=["input", "rank"])
def test_dropout_is_for_training(behaviour: Behaviour) -> None:
    torch.manual_seed(0)
    module = one(behaviour)
    assert any(not torch.equal(module(X), module(X)) for _ in range(20))
    module.eval()
    assert torch.equal(module(X), module(X))
    torch.testing.assert_close(module(X), module.base_layer(X) + X @ module.weights.delta().T, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("option", ["LoRA", "LoHa"])
@pytest.mark.parametrize("behaviour", [Behaviour(dropout=0.3), Behaviour(rank_dropout=0.3)], ids=["input", "rank"])
def test_dropout_keeps_the_expected_change(behaviour: Behaviour, option: str) -> None:
    torch.manual_seed(0)
    module = one(behaviour, option)
    with torch.no_grad():
        mean = torch.stack([module(X) for _ in range(600)]).mean(0) - module.base_layer(X)
        expected = module.eval()(X) - module.base_layer(X)
    assert float((mean - expected).norm() / expected.norm()) < 0.1, "unscaled, it would be 0.3 too small"


def test_rank_dropout_leaves_out_whole_rank_components() -> None:
    torch.manual_seed(0)
    module = adapted("lora", LINEAR, Size(rank=1, alpha=1), Behaviour(rank_dropout=0.5))
    base, whole = module.base_layer(X), X @ module.weights.delta().T
    seen = [module(X) - base for _ in range(20)]
    dropped = [not change.any() for change in seen]
    assert 3 < sum(dropped) < 17
    for change in (change for change in seen if change.any()):
        torch.testing.assert_close(change, whole * 2, rtol=1e-3, atol=1e-4)


def test_the_adapter_computes_in_its_own_type() -> None:
    module = one()
    module.base_layer.to(torch.bfloat16)
    result = module(X.bfloat16())
    assert result.dtype == torch.bfloat16
    assert {parameter.dtype for parameter in module.tensors.values()} == {torch.float32}


def test_lora_plus_gives_up_a_rate_of_its_own() -> None:
    """A group for each rate; LoHa and LoKr have no `up`, and are refused this option before."""
    modules = [one(path="a.b"), adapted("lora", LAYERS["3x3"], Size(rank=2, alpha=2), path="a.c")]
    groups = adapter_of(modules, lora_plus_ratio=16.0).groups(weight_decay=0.1)
    assert {group.learning_rate: set(group.parameters) for group in groups} == {
        1e-3: {"unet.a.b.lora_down", "unet.a.c.lora_down"},
        1.6e-2: {"unet.a.b.lora_up", "unet.a.c.lora_up"},
    }
    assert {group.weight_decay for group in groups} == {0.1}
    (group,) = adapter_of(modules).groups(weight_decay=0.0)
    assert len(group.parameters) == 4


class Network(nn.Module):
    """Layers whose names end alike."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(8, 8)
        self.inner = nn.ModuleDict({"proj": nn.Linear(8, 8), "conv": nn.Conv2d(8, 8, 3)})

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.inner["proj"](x))


def beginning(path: str) -> Beginning:
    layer = Layer(8, 8)
    plan = LayerPlan(network="unet", path=path, layer=layer, size=Size(rank=2, alpha=2), learning_rate=1e-3)
    return Beginning(plan, {"lora_down": drawn((2, 8), "down"), "lora_up": drawn((8, 2), "up")})


def test_the_planned_layers_are_adapted_and_no_others() -> None:
    network, x = Network(), drawn((3, 8), "inputs")
    before = network(x)
    modules = inject(network, [beginning("inner.proj")], Behaviour())
    assert [module.plan.path for module in modules] == ["inner.proj"]
    assert isinstance(network.proj, nn.Linear), "its name ends like a target, and is another"
    assert {name for name, parameter in network.named_parameters() if parameter.requires_grad} == {
        "inner.proj.adapter_tensors.lora_down",
        "inner.proj.adapter_tensors.lora_up",
    }
    assert not torch.equal(network(x), before)
    with adapter_of(modules).off():
        assert torch.equal(network(x), before)
