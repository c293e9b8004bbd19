"""DyLoRA: what a step trains at its rank is what the file cut off at that rank does."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.trainer.adapters.samples import LAYERS, adapted, inputs
from trainer.adapters import dylora
from trainer.adapters.adapted_layer import AdaptedLayer, Behaviour, Moment
from trainer.adapters.dylora import Mode
from trainer.adapters.mathematics import Size
from trainer.adapters.targets import Layer

SIZE = Size(rank=6, alpha=3)
FLAT = [pytest.param(layer, id=name) for name, layer in LAYERS.items()]


def at_rank(
    cut: int | None, layer: Layer = LAYERS["linear"], *, mode: Mode = "frozen", size: Size = SIZE
) -> AdaptedLayer:
    return adapted("lora", layer, size, Behaviour(unit=2, mode=mode, moment=Moment(cut=cut)))


def change(module: AdaptedLayer, x: Tensor) -> Tensor:
    return module(x) - module.base_layer(x)


def test_every_multiple_of_the_unit_is_drawn_alike() -> None:
    assert list(dylora.ranks(6, 2)) == [2, 4, 6]
    draw = np.random.default_rng(0)
    drawn = [dylora.draw_rank(6, 2, draw) for _ in range(600)]
    assert [drawn.count(rank) for rank in range(8)] == pytest.approx([0, 0, 200, 0, 200, 0, 200, 0], abs=40)


def test_the_strength_at_full_rank_is_a_plain_lora_s() -> None:
    assert dylora.strength(16, 8.0, 16) == 8 / 16
    assert dylora.strength(16, 8.0, 4) == pytest.approx(8 / 16 * math.sqrt(16 / 4))


@pytest.mark.parametrize("mode", ["frozen", "joint"])
@pytest.mark.parametrize("cut", [2, 4, 6])
@pytest.mark.parametrize("layer", FLAT)
def test_the_file_cut_off_at_a_rank_does_what_that_rank_was_trained_to_do(layer: Layer, cut: int, mode: Mode) -> None:
    module, x = at_rank(cut, layer, mode=mode), inputs(layer)
    file = dylora.cut_off(module.weights, cut)
    assert {name: tensor.shape for name, tensor in file.tensors.items()} == {
        "lora_down": (cut, *layer.shape[1:]),
        "lora_up": (layer.outputs, cut, *([] if layer.kernel is None else [1, 1])),
    }
    assert file.scale == pytest.approx(file.alpha / cut), "every loader divides alpha by the rank of the tensors"
    loaded = file.kind.forward(x, file.tensors, layer, file.scale)
    torch.testing.assert_close(change(module, x), loaded, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("mode", "block"), [("frozen", slice(2, 4)), ("joint", slice(0, 4))])
@pytest.mark.parametrize("layer", FLAT)
def test_gradient_reaches_what_the_mode_trains_and_nothing_else(layer: Layer, mode: Mode, block: slice) -> None:
    module = at_rank(4, layer, mode=mode)
    module(inputs(layer)).sum().backward()
    trained = torch.zeros(6, dtype=torch.bool)
    trained[block] = True
    for name, axis in (("lora_down", 0), ("lora_up", 1)):
        gradient = module.tensors[name].grad
        assert gradient is not None
        reached = torch.stack([component.any() for component in gradient.unbind(axis)])
        assert reached.tolist() == trained.tolist()


def test_both_modes_give_the_newest_block_the_same_gradient() -> None:
    layer = LAYERS["linear"]
    frozen, joint = (at_rank(4, layer, mode=mode) for mode in ("frozen", "joint"))
    joint.base_layer.load_state_dict(frozen.base_layer.state_dict())
    for module in (frozen, joint):
        module(inputs(layer)).square().sum().backward()
    torch.testing.assert_close(frozen.tensors["lora_down"].grad[2:4], joint.tensors["lora_down"].grad[2:4])


def test_a_convolution_of_smaller_rank_is_used_whole_where_the_drawn_rank_is_above_it() -> None:
    layer = LAYERS["3x3"]
    module, x = at_rank(6, layer, size=Size(rank=4, alpha=2)), inputs(layer)
    file = dylora.cut_off(module.weights, 6)
    assert (file.rank, file.alpha) == (4, 2)
    torch.testing.assert_close(change(module, x), file.kind.forward(x, file.tensors, layer, 0.5), rtol=1e-4, atol=1e-4)


def test_out_of_training_the_whole_rank_answers() -> None:
    module, x = at_rank(2).eval(), inputs(LAYERS["linear"])
    torch.testing.assert_close(change(module, x), x @ module.weights.delta().T, rtol=1e-4, atol=1e-4)
