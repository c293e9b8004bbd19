"""Each kind of tensors: its forward pass is its ΔW, in fewer multiplications; it begins at 0, and files know its names."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.trainer.adapters.samples import ALL, LAYERS, SIZES, drawn, first, inputs, trained
from trainer.adapters.kinds import KINDS, kind_of
from trainer.adapters.lokr import factorization
from trainer.adapters.mathematics import Size, apply
from trainer.adapters.targets import Layer
from trainer.errors import TrainerError

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
