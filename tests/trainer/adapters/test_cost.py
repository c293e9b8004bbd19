"""Forward passes take the order with the fewest multiplications, counted as torch counts them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tests.trainer.adapters.samples import ALL, LAYERS, drawn, inputs, trained
from trainer.adapters.kinds import KINDS
from trainer.adapters.loha import in_turn_is_cheaper
from trainer.adapters.lokr import large_is_first
from trainer.adapters.mathematics import Size, apply, places
from trainer.adapters.targets import Layer

LINEAR = LAYERS["linear"]


def multiplications(compute: Callable[[], Tensor]) -> int:
    with FlopCounterMode(display=False) as counter:
        compute()
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("side", [1, 3, 24])
@pytest.mark.parametrize(("kind", "layer", "size"), ALL)
def test_the_change_is_never_built_where_its_factors_are_cheaper(
    kind: str, layer: Layer, size: Size, side: int
) -> None:
    tensors = trained(kind, layer, size)
    shape = (1, side * side, layer.inputs) if layer.kernel is None else (1, layer.inputs, side, side)
    x = drawn(shape, "inputs")
    built = multiplications(lambda: apply(x, KINDS[kind].delta(tensors, layer), layer))
    assert multiplications(lambda: KINDS[kind].forward(x, tensors, layer, 1.0)) <= built


@pytest.mark.parametrize("rank", [1, 2, 4, 6, 12])
@pytest.mark.parametrize("count", [1, 10, 1000])
def test_loha_takes_the_cheaper_way(rank: int, count: int) -> None:
    """Whichever is taken, the other would not have been cheaper, nor another result."""
    loha, tensors, x = KINDS["hada"], trained("hada", LINEAR, Size(rank=rank, alpha=1)), drawn((count, 24), "inputs")
    results: list[Tensor] = []

    def by_factors() -> Tensor:
        left, right = loha.low_rank(tensors)
        return x @ right.T @ left.T

    taken, factors, built = (
        multiplications(lambda way=way: results.append(way()))
        for way in (
            lambda: loha.forward(x, tensors, LINEAR, 1.0),
            by_factors,
            lambda: x @ loha.delta(tensors, LINEAR).T,
        )
    )
    # Elementwise products, of which each way has some, are not in torch's count.
    assert taken <= min(factors + rank**2 * (24 + 36), built + 24 * 36)
    torch.testing.assert_close(results[0], results[2], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("rank", "places", "cheaper"),
    [(4, 1, True), (8, 4096, True), (12, 4096, True), (13, 4096, False), (16, 4096, False), (16, 30, True)],
)
def test_when_loha_s_factors_are_cheaper(rank: int, places: int, cheaper: bool) -> None:
    """Of SD1.5's narrowest linear layers, 320 to 320."""
    assert in_turn_is_cheaper(320, 320, rank, places) is cheaper


@pytest.mark.parametrize(("outputs", "inputs_"), [(12, 48), (48, 12), (36, 36), (7, 48), (48, 7)])
@pytest.mark.parametrize("size", [Size(rank=1, alpha=1), Size(rank=1, alpha=1, factor=4, full_matrix=True)])
def test_lokr_takes_the_cheaper_order(outputs: int, inputs_: int, size: Size) -> None:
    layer = Layer(outputs, inputs_)
    tensors, x = trained("lokr", layer, size), drawn((10, inputs_), "inputs")
    small = tensors["lokr_w1"]
    large = [tensors["lokr_w2"]] if "lokr_w2" in tensors else [tensors["lokr_w2_b"], tensors["lokr_w2_a"]]

    def in_order(first: list[Tensor], then: list[Tensor]) -> int:
        """As multiplications of one token, its (i1, i2) numbers mixed along one of both at a time."""
        sides, count = {"small": small.shape[1], "large": large[0].shape[1]}, 0
        for matrix in (*first, *then):
            own, other = ("small", "large") if matrix is small else ("large", "small")
            count += matrix.numel() * sides[other]
            sides[own] = matrix.shape[0]
        return count

    taken = multiplications(lambda: KINDS["lokr"].forward(x, tensors, layer, 1.0))
    assert taken == 10 * min(in_order([small], large), in_order(large, [small]))


def test_lokr_s_order_depends_on_what_a_stride_leaves() -> None:
    assert large_is_first(small=(4, 4), large=100, entering=400, leaving=100)
    assert not large_is_first(small=(4, 4), large=100, entering=100, leaving=400)
    assert large_is_first(small=(8, 4), large=100, entering=400, leaving=400), "W2 meets 4 parts rather than 8"
    assert not large_is_first(small=(4, 8), large=100, entering=400, leaving=400)


@pytest.mark.parametrize("name", LAYERS)
def test_places_are_those_that_the_layer_reads_and_writes(name: str) -> None:
    layer = LAYERS[name]
    x = inputs(layer)
    result = apply(x, torch.zeros(layer.shape), layer)
    assert places(x, layer) == (x.numel() // layer.inputs, result.numel() // layer.outputs)
