"""Reduction to plain LoRA: against the decomposition of the whole ΔW, for every structure that tensors can have."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from trainer.adapters.kinds import KINDS
from trainer.adapters.mathematics import Size
from trainer.adapters.reduction import kept_energy, rank_for_energy, reduced, relative_error, to_lora
from trainer.adapters.spectrum import distance, norm_of, of_matrix, spectrum_of
from trainer.adapters.targets import Layer
from trainer.adapters.weights import LayerWeights
from trainer.draws import generator

LINEAR, WIDE, POINT, SPATIAL = Layer(24, 18), Layer(6, 40), Layer(16, 12, (1, 1)), Layer(12, 10, (3, 3), padding=(1, 1))

ADAPTERS = {
    "LoRA, linear": ("lora", LINEAR, Size(rank=4, alpha=2)),
    "LoRA, negative strength": ("lora", LINEAR, Size(rank=4, alpha=-2)),
    "LoRA, 1x1": ("lora", POINT, Size(rank=4, alpha=4)),
    "LoRA, 3x3": ("lora", SPATIAL, Size(rank=3, alpha=1)),
    "LoRA, Tucker": ("lora", SPATIAL, Size(rank=3, alpha=1, tucker=True)),
    "LoRA of full rank": ("lora", WIDE, Size(rank=8, alpha=8)),
    "LoHa, linear": ("hada", LINEAR, Size(rank=2, alpha=1)),
    "LoHa, more factors than outputs": ("hada", LINEAR, Size(rank=5, alpha=1)),
    "LoHa, 3x3": ("hada", SPATIAL, Size(rank=2, alpha=2)),
    "LoHa, Tucker": ("hada", SPATIAL, Size(rank=2, alpha=2, tucker=True)),
    "LoKr, full": ("lokr", LINEAR, Size(rank=99, alpha=3, factor=4)),
    "LoKr, negative strength": ("lokr", LINEAR, Size(rank=1, alpha=-1)),
    "LoKr, decomposed": ("lokr", Layer(30, 36), Size(rank=2, alpha=2, decompose_both=True)),
    "LoKr, 3x3": ("lokr", SPATIAL, Size(rank=1, alpha=1, factor=2)),
    "LoKr, 3x3, full": ("lokr", SPATIAL, Size(rank=1, alpha=1, full_matrix=True)),
    "LoKr, Tucker": ("lokr", SPATIAL, Size(rank=1, alpha=1, factor=2, tucker=True)),
}


def trained(kind: str, layer: Layer, size: Size) -> LayerWeights:
    """As after training: no tensor is zero any more."""
    first = KINDS[kind].initial(layer, size, partial(generator, 0))
    moved = {
        name: tensor + torch.from_numpy(generator(1, name).normal(size=tuple(tensor.shape))).float()
        for name, tensor in first.items()
    }
    return LayerWeights(network="unet", path="a.b", layer=layer, tensors=moved, alpha=size.alpha)


@pytest.fixture(params=ADAPTERS.values(), ids=ADAPTERS.keys())
def weights(request: pytest.FixtureRequest) -> LayerWeights:
    return trained(*request.param)


def matrix(weights: LayerWeights) -> Tensor:
    return weights.delta(torch.float64).flatten(1)


def test_singular_values_are_those_of_the_whole_matrix(weights: LayerWeights) -> None:
    values, whole = spectrum_of(weights).values, torch.linalg.svdvals(matrix(weights))
    assert torch.allclose(values, whole[: len(values)], rtol=1e-9)
    assert (whole[len(values) :] < 1e-6 * whole[0]).all(), "only zeros are left out"


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_what_is_lost_is_the_least_possible(weights: LayerWeights, rank: int) -> None:
    plain, reduction = to_lora(weights, rank)
    whole = torch.linalg.svdvals(matrix(weights))
    lost, norm = float((matrix(weights) - matrix(plain)).norm()), float(whole.norm())
    assert lost == pytest.approx(float(whole[rank:].norm()), rel=1e-5, abs=1e-6 * norm)
    assert reduction.lost == pytest.approx(lost, rel=1e-5, abs=1e-6 * norm)
    assert reduction.whole == pytest.approx(norm, rel=1e-9)
    assert reduction.error == pytest.approx(lost / norm, abs=1e-6)
    assert reduction.kept_energy == pytest.approx(float(whole[:rank].square().sum() / whole.square().sum()), abs=1e-9)


def test_all_of_it_is_exact(weights: LayerWeights) -> None:
    plain, reduction = to_lora(weights, 1000)
    assert (reduction.lost, plain.alpha / reduction.rank) == (0, plain.scale)
    assert reduction.rank <= min(weights.layer.outputs, weights.layer.columns) or plain is weights
    assert (matrix(weights) - matrix(plain)).norm() < 1e-6 * matrix(weights).norm()


def test_the_result_is_a_plain_lora_of_strength_1_with_its_values_split_evenly(weights: LayerWeights) -> None:
    plain, reduction = to_lora(weights, 2)
    layer, point, rank = weights.layer, () if weights.layer.kernel is None else (1, 1), reduction.rank
    down, up = plain.tensors["lora_down"], plain.tensors["lora_up"]
    assert set(plain.tensors) == {"lora_down", "lora_up"}
    assert (down.shape, up.shape) == ((rank, layer.inputs, *(layer.kernel or ())), (layer.outputs, rank, *point))
    assert (down.dtype, up.dtype, plain.alpha, plain.scale) == (torch.float32, torch.float32, rank, 1)
    assert torch.allclose(down.flatten(1).norm(dim=1), up.flatten(1).norm(dim=0), rtol=1e-5)


def test_norm_and_distance_are_those_of_the_whole_matrices(weights: LayerWeights) -> None:
    norm = float(matrix(weights).norm())
    assert norm_of(weights) == pytest.approx(norm, rel=1e-9)
    other, _ = to_lora(weights, 1)
    moved = other.with_tensors({**other.tensors, "lora_up": other.tensors["lora_up"] + 0.1}, alpha=-0.5)
    for one in (moved, weights):
        expected = float((matrix(weights) - matrix(one)).norm())
        assert distance(weights, one) == pytest.approx(expected, rel=1e-9, abs=1e-9 * norm)


def test_a_plain_lora_that_is_small_enough_stays_as_it_is() -> None:
    weights = trained("lora", LINEAR, Size(rank=4, alpha=2))
    plain, reduction = to_lora(weights, 4)
    assert plain is weights
    assert (reduction.rank, reduction.error) == (4, 0)


def test_a_layer_that_never_learned_becomes_a_lora_of_zeros() -> None:
    layer = SPATIAL
    weights = LayerWeights(
        network="unet",
        path="a",
        layer=layer,
        tensors=KINDS["hada"].initial(layer, Size(rank=2, alpha=1), partial(generator, 0)),
        alpha=1,
    )
    plain, reduction = to_lora(weights, 4, share=0.9)
    assert (reduction.rank, reduction.error, reduction.kept_energy) == (1, 0, 1)
    assert not plain.delta().any()


@pytest.mark.parametrize(
    ("share", "largest", "expected"),
    [
        (1.0, 64, 4),
        (1.0, 3, 3),
        (0.5, 64, 1),
        (16 / 25, 64, 1),
        (0.8, 64, 2),
        (0.95, 64, 3),
        (0.95, 2, 2),
        (0.99, 64, 4),
        (0.0, 64, 1),
    ],
)
def test_the_lowest_rank_that_keeps_a_share_of_the_energy(share: float, largest: int, expected: int) -> None:
    values = torch.tensor([4.0, 2.0, 2.0, 1.0])
    assert rank_for_energy(values, share, largest) == expected


def test_energy_is_counted_over_all_layers() -> None:
    layers = [trained("lora", LINEAR, Size(rank=4, alpha=2)), trained("hada", SPATIAL, Size(rank=2, alpha=2))]
    plain, reductions = reduced(layers, 64, share=0.7)
    assert [weights.name for weights in plain] == [reduction.name for reduction in reductions]
    assert all(reduction.kept_energy >= 0.7 for reduction in reductions)
    lost = math.hypot(*((matrix(a) - matrix(b)).norm() for a, b in zip(layers, plain, strict=True)))
    whole = math.hypot(*(matrix(weights).norm() for weights in layers))
    assert relative_error(reductions) == pytest.approx(lost / whole, rel=1e-5)
    assert kept_energy(reductions) == pytest.approx(1 - (lost / whole) ** 2, rel=1e-5)


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (7, 7)])
def test_matrices_without_structure(shape: tuple[int, int]) -> None:
    whole = torch.from_numpy(generator(0, "matrix").normal(size=shape))
    spectrum = of_matrix(whole)
    left, right = spectrum.vectors(min(shape))
    assert torch.allclose(spectrum.values, torch.linalg.svdvals(whole), rtol=1e-7)
    assert torch.allclose(left * spectrum.values @ right, whole)
