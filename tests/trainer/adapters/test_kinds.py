"""Each kind of tensors: its forward pass is its ΔW, in fewer multiplications; it begins at 0, and files know its names."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tests.trainer.adapters.samples import LAYERS, SIZES, drawn, first, inputs, trained
from trainer.adapters.kinds import KINDS, kind_of
from trainer.adapters.loha import in_turn_is_cheaper
from trainer.adapters.lokr import factorization, large_is_first
from trainer.adapters.mathematics import Size, apply, places
from trainer.adapters.targets import Layer
from trainer.errors import TrainerError

ALL = [
    pytest.param(kind, layer, size, id=f"{option}: {name}")
    for name, layer in LAYERS.items()
    for option, (kind, size) in SIZES.items()
    if layer.is_spatial or not size.tucker
]
LINEAR, POINT, SPATIAL = LAYERS["linear"], LAYERS["1x1"], LAYERS["3x3"]


@pytest.mark.parametrize(("kind", "layer", "size"), ALL)
def test_the_forward_pass_is_that_of_its_change(kind: str, layer: Layer, size: Size) -> None:
    tensors, x = trained(kind, layer, size), inputs(layer)
    expected = apply(x, KINDS[kind].delta(tensors, layer) * 0.7, layer)
    found = KINDS[kind].forward(x, tensors, layer, 0.7)
    assert found.shape == expected.shape
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-5


@pytest.mark.parametrize(("kind", "layer", "size"), ALL)
def test_gradients_are_those_of_finite_differences(kind: str, layer: Layer, size: Size) -> None:
    tensors = trained(kind, layer, size, torch.float64)

    def forward(x: Tensor, *values: Tensor) -> Tensor:
        return KINDS[kind].forward(x, dict(zip(tensors, values, strict=True)), layer, 0.7)

    arguments = [inputs(layer, torch.float64), *tensors.values()]
    torch.autograd.gradcheck(forward, [argument.requires_grad_() for argument in arguments], fast_mode=True)


@pytest.mark.parametrize(("kind", "layer", "size"), ALL)
def test_it_begins_by_changing_nothing_and_can_learn(kind: str, layer: Layer, size: Size) -> None:
    tensors = {name: tensor.requires_grad_() for name, tensor in first(kind, layer, size).items()}
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    result = KINDS[kind].forward(inputs(layer), tensors, layer, 1.0)
    assert not result.any()
    result.backward(drawn(tuple(result.shape), "gradient"))
    assert any(tensor.grad is not None and tensor.grad.any() for tensor in tensors.values())


@pytest.mark.parametrize(("kind", "layer", "size"), ALL)
def test_the_factors_are_exact(kind: str, layer: Layer, size: Size) -> None:
    tensors = trained(kind, layer, size, torch.float64)
    left, right = KINDS[kind].low_rank(tensors)
    assert left.shape == (layer.outputs, len(right))
    assert right.shape[1] == layer.columns
    torch.testing.assert_close((left @ right).view(layer.shape), KINDS[kind].delta(tensors, layer))


@pytest.mark.parametrize(
    ("option", "inner"),
    [
        ("LoRA", 4),
        ("LoHa", 2 * 2),
        ("LoKr", 4 * 2),
        ("LoKr, full", 3 * 6),
        ("LoKr, small one decomposed", 1 * 1),
    ],
)
def test_the_factors_are_as_small_as_the_structure_allows(option: str, inner: int) -> None:
    kind, size = SIZES[option]
    assert len(KINDS[kind].low_rank(trained(kind, LINEAR, size))[1]) == inner


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


SHAPES: dict[str, tuple[str, Layer, Size, dict[str, tuple[int, ...]]]] = {
    "LoRA": ("lora", LINEAR, Size(rank=4, alpha=1), {"lora_down": (4, 24), "lora_up": (36, 4)}),
    "LoRA, 1x1": ("lora", POINT, Size(rank=4, alpha=1), {"lora_down": (4, 24, 1, 1), "lora_up": (36, 4, 1, 1)}),
    "LoRA, 3x3": ("lora", SPATIAL, Size(rank=4, alpha=1), {"lora_down": (4, 24, 3, 3), "lora_up": (36, 4, 1, 1)}),
    "LoRA, Tucker": (
        "lora",
        SPATIAL,
        Size(rank=4, alpha=1, tucker=True),
        {"lora_down": (4, 24, 1, 1), "lora_mid": (4, 4, 3, 3), "lora_up": (36, 4, 1, 1)},
    ),
    "LoRA, Tucker leaves 1x1 alone": (
        "lora",
        POINT,
        Size(rank=4, alpha=1, tucker=True),
        {"lora_down": (4, 24, 1, 1), "lora_up": (36, 4, 1, 1)},
    ),
    "LoHa, 1x1": (
        "hada",
        POINT,
        Size(rank=4, alpha=1),
        {"hada_w1_a": (36, 4), "hada_w1_b": (4, 24), "hada_w2_a": (36, 4), "hada_w2_b": (4, 24)},
    ),
    "LoHa, 3x3": (
        "hada",
        SPATIAL,
        Size(rank=4, alpha=1),
        {"hada_w1_a": (36, 4), "hada_w1_b": (4, 216), "hada_w2_a": (36, 4), "hada_w2_b": (4, 216)},
    ),
    "LoHa, Tucker": (
        "hada",
        SPATIAL,
        Size(rank=4, alpha=1, tucker=True),
        {
            **{"hada_w1_a": (4, 36), "hada_w1_b": (4, 24), "hada_t1": (4, 4, 3, 3)},
            **{"hada_w2_a": (4, 36), "hada_w2_b": (4, 24), "hada_t2": (4, 4, 3, 3)},
        },
    ),
    "LoKr": ("lokr", LINEAR, Size(rank=2, alpha=1), {"lokr_w1": (6, 4), "lokr_w2_a": (6, 2), "lokr_w2_b": (2, 6)}),
    "LoKr, of high rank": ("lokr", LINEAR, Size(rank=3, alpha=1), {"lokr_w1": (6, 4), "lokr_w2": (6, 6)}),
    "LoKr, factor 4": (
        "lokr",
        POINT,
        Size(rank=4, alpha=1, factor=4),
        {"lokr_w1": (4, 4), "lokr_w2_a": (9, 4), "lokr_w2_b": (4, 6)},
    ),
    "LoKr, 1x1 full": (
        "lokr",
        POINT,
        Size(rank=1, alpha=1, factor=4, full_matrix=True, decompose_both=True),
        {"lokr_w1": (4, 4), "lokr_w2": (9, 6, 1, 1)},
    ),
    "LoKr, 3x3": (
        "lokr",
        SPATIAL,
        Size(rank=2, alpha=1),
        {"lokr_w1": (6, 4), "lokr_w2_a": (6, 2), "lokr_w2_b": (2, 54)},
    ),
    "LoKr, both decomposed": (
        "lokr",
        LINEAR,
        Size(rank=2, alpha=1, decompose_both=True),
        {"lokr_w1_a": (6, 2), "lokr_w1_b": (2, 4), "lokr_w2_a": (6, 2), "lokr_w2_b": (2, 6)},
    ),
    "LoKr, Tucker": (
        "lokr",
        SPATIAL,
        Size(rank=2, alpha=1, tucker=True),
        {"lokr_w1": (6, 4), "lokr_w2_a": (2, 6), "lokr_w2_b": (2, 6), "lokr_t2": (2, 2, 3, 3)},
    ),
    "LoKr, Tucker of high rank": (
        "lokr",
        SPATIAL,
        Size(rank=3, alpha=1, tucker=True),
        {"lokr_w1": (6, 4), "lokr_w2": (6, 6, 3, 3)},
    ),
}


@pytest.mark.parametrize("case", SHAPES)
def test_names_and_shapes(case: str) -> None:
    kind, layer, size, shapes = SHAPES[case]
    assert {name: tuple(tensor.shape) for name, tensor in first(kind, layer, size).items()} == shapes


@pytest.mark.parametrize("option", SIZES)
def test_a_kind_is_known_by_its_tensors(option: str) -> None:
    kind, size = SIZES[option]
    assert kind_of(first(kind, SPATIAL, size)) is KINDS[kind]


@pytest.mark.parametrize(
    ("option", "rank"),
    [
        ("LoRA", 4),
        ("LoRA, Tucker", 4),
        ("LoHa", 2),
        ("LoHa, Tucker", 2),
        ("LoKr", 2),
        ("LoKr, Tucker", 2),
        ("LoKr, small one decomposed", 1),
        ("LoKr, full", None),
    ],
)
def test_the_rank_is_read_from_the_shapes(option: str, rank: int | None) -> None:
    kind, size = SIZES[option]
    assert KINDS[kind].rank(first(kind, SPATIAL, size)) == rank


def test_a_foreign_lokr_whose_small_factor_alone_is_a_product() -> None:
    tensors = {"lokr_w1_a": drawn((12, 2), "a"), "lokr_w1_b": drawn((2, 6), "b"), "lokr_w2": drawn((3, 4), "c")}
    layer, x = Layer(36, 24), drawn((5, 24), "inputs")
    lokr = KINDS["lokr"]
    assert lokr.rank(tensors) == 2
    torch.testing.assert_close(lokr.forward(x, tensors, layer, 1.0), apply(x, lokr.delta(tensors, layer), layer))
    left, right = lokr.low_rank(tensors)
    torch.testing.assert_close(left @ right, lokr.delta(tensors, layer))


def test_what_is_drawn_at_first() -> None:
    """As LyCORIS: uniform within 1 / sqrt(fan in), and normal with deviations 0.1 and 1; each tensor by its own name."""
    layer = Layer(256, 200, (3, 3))
    lora = first("lora", layer, Size(rank=64, alpha=1))
    bound = (200 * 9) ** -0.5
    assert 0.99 * bound < float(lora["lora_down"].abs().max()) <= bound
    loha = first("hada", layer, Size(rank=64, alpha=1, tucker=True))
    assert {name: float(tensor.std()) for name, tensor in loha.items()} == pytest.approx(
        {
            **{"hada_w1_a": 0.1, "hada_w1_b": 1.0, "hada_t1": 0.1},
            **{"hada_w2_a": 0.0, "hada_w2_b": 1.0, "hada_t2": 0.1},
        },
        rel=0.05,
    )
    assert not torch.equal(loha["hada_w1_b"], loha["hada_w2_b"])


@pytest.mark.parametrize("option", ["LoRA", "LoRA, Tucker", "LoHa", "LoHa of high rank", "LoHa, Tucker"])
def test_thinning_weighs_rank_components(option: str) -> None:
    """Each component is what it is alone; together they are the whole, and ΔW is linear in what is kept."""
    kind, size = SIZES[option]
    tensors = trained(kind, SPATIAL, size, torch.float64)
    keep = torch.linspace(0, 2, size.rank, dtype=torch.float64)
    parts = [
        KINDS[kind].delta(KINDS[kind].thinned(tensors, one), SPATIAL)
        for one in torch.eye(size.rank, dtype=torch.float64)
    ]
    whole = KINDS[kind].delta(tensors, SPATIAL)
    torch.testing.assert_close(torch.stack(parts).sum(0), whole)
    thinned = KINDS[kind].delta(KINDS[kind].thinned(tensors, keep), SPATIAL)
    torch.testing.assert_close(thinned, sum(weight * part for weight, part in zip(keep, parts, strict=True)))
    assert all(part.any() for part in parts)


def test_lokr_has_nothing_to_thin() -> None:
    tensors = trained("lokr", LINEAR, Size(rank=2, alpha=1))
    with pytest.raises(TrainerError, match="rank_dropout to 0"):
        KINDS["lokr"].thinned(tensors, torch.ones(2))


@pytest.mark.parametrize(
    ("dimension", "factor", "expected"),
    [
        (320, -1, (16, 20)),
        (320, 4, (4, 80)),
        (320, 8, (8, 40)),
        (320, 64, (5, 64)),
        (768, -1, (24, 32)),
        (1280, -1, (32, 40)),
        (250, 8, (5, 50)),
        (12, 5, (3, 4)),
        (49, -1, (7, 7)),
        (127, 8, (1, 127)),
        (1, -1, (1, 1)),
    ],
)
def test_dimensions_are_taken_apart_smaller_number_first(
    dimension: int, factor: int, expected: tuple[int, int]
) -> None:
    assert factorization(dimension, factor) == expected
