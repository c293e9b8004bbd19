"""LyCORIS, the reference: it makes of the same configuration what we make, and of our files the same change.

Every row of `trainer prove-adapters`, at the sizes of SD1.5. Where LyCORIS contradicts itself, a test shows that it does, so that
a version that does no more is noticed.
"""

from __future__ import annotations

from functools import cache

import pytest
import torch
from lycoris.functional import factorization
from lycoris.modules import get_module, make_module
from lycoris.modules.base import LycorisBaseModule
from lycoris.modules.dylora import DyLoraModule
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from torch import Tensor

from trainer.adapters import dylora, lokr
from trainer.adapters.adapted_layer import AdaptedLayer
from trainer.adapters.weights import LayerWeights
from trainer.formats import kohya
from trainer.tools.prove_cases import CASES, LAYERS, Case, adapted, base_layer, inputs

MODULES = {"lora": LoConModule, "locon": LoConModule, "loha": LohaModule, "lokr": LokrModule}
ROWS = [pytest.param(case, id=f"{case.config.type}, {case.layer}, {case.option}") for case in CASES]
"""Of DyLoRA the file cut off at the row's rank, which is a plain LoRA."""


@cache
def trained(case: Case) -> AdaptedLayer:
    return adapted(case, LAYERS[case.layer][1])


def ours(case: Case) -> LayerWeights:
    weights = trained(case).weights
    return weights if case.cut is None else dylora.cut_off(weights, case.cut)


def in_file(weights: LayerWeights) -> dict[str, Tensor]:
    """Our file's tensors, by their endings."""
    return {key.partition(".")[2]: tensor for key, tensor in kohya.tensors([weights], torch.float32).items()}


def theirs(case: Case) -> LycorisBaseModule:
    """LyCORIS's module of the same configuration."""
    config, layer = case.config, LAYERS[case.layer][1]
    rank, alpha = (config.conv_rank, config.conv_alpha) if layer.is_spatial else (config.rank, config.alpha)
    if case.cut is not None:
        rank, alpha = case.cut, ours(case).alpha
    options = {"factor": config.lokr.factor} if config.type == "lokr" else {}
    return MODULES.get(config.type, LoConModule)(
        "layer",
        trained(case).base_layer,
        lora_dim=rank,
        alpha=alpha,
        use_tucker=config.tucker,
        rs_lora=config.rank_stabilized,
        full_matrix=config.lokr.full_matrix,
        decompose_both=config.lokr.decompose_both,
        **options,
    )


def change(module: LycorisBaseModule) -> Tensor:
    """What its forward pass adds to the weight."""
    if isinstance(module, LoConModule):
        return module.make_weight() * module.scale
    return module.get_weight(module.shape)


def relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).detach().abs().max() / other.detach().abs().max())


@pytest.mark.parametrize("case", ROWS)
def test_names_shapes_types_and_alpha(case: Case) -> None:
    mine, reference = in_file(ours(case)), theirs(case).state_dict()
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in mine.items()} == {
        name: (tensor.shape, tensor.dtype) for name, tensor in reference.items()
    }
    torch.testing.assert_close(mine["alpha"], reference["alpha"])


@pytest.mark.parametrize("case", ROWS)
def test_our_file_is_the_same_change(case: Case) -> None:
    weights, module, x = ours(case), theirs(case), inputs(LAYERS[case.layer][1], 4)
    module.load_state_dict(in_file(weights))
    assert relative(change(module), weights.delta()) <= 1e-6
    with torch.no_grad():
        assert relative(module(x), trained(case)(x)) <= 1e-5


def loaded(tensors: dict[str, Tensor], case: Case) -> LycorisBaseModule:
    """LyCORIS's own reading of a file."""
    kind, found = get_module({f"layer.{name}": tensor for name, tensor in tensors.items()}, "layer")
    return make_module(kind, found, "layer", trained(case).base_layer)


def is_lokr_with_core(case: Case) -> bool:
    return case.config.type == "lokr" and case.config.tucker


@pytest.mark.parametrize("case", [row for row in ROWS if not is_lokr_with_core(row.values[0])])
def test_its_own_reading_of_our_file_is_the_same_change(case: Case) -> None:
    weights = ours(case)
    assert relative(change(loaded(in_file(weights), case)), weights.delta()) <= 1e-6


@pytest.mark.parametrize("case", [row for row in ROWS if is_lokr_with_core(row.values[0])])
def test_its_reading_of_a_lokr_with_a_core_fails_also_on_its_own_files(case: Case) -> None:
    """It takes the number of outputs for the rank, since the core has the outer matrix turned round."""
    with pytest.raises(AttributeError, match="lokr_w2_a"):
        loaded(theirs(case).state_dict(), case)


@pytest.mark.parametrize("case", [row for row in ROWS if row.values[0].config.type in ("loha", "lokr")])
def test_what_it_merges_is_scaled_twice_against_its_own_forward_pass(case: Case) -> None:
    """So that the right merge is ours, which is what its forward pass adds."""
    weights, module, x = ours(case), theirs(case), inputs(LAYERS[case.layer][1], 4)
    module.load_state_dict(in_file(weights))
    with torch.no_grad():
        added = module(x) - module.org_forward(x)
        merged = module.op(x, module.get_diff_weight(shape=module.shape)[0], **module.kw_dict)
    assert relative(merged, added * weights.scale) <= 1e-4
    assert relative(module.op(x, weights.delta(), **module.kw_dict), added) <= 1e-4


def test_its_dylora_is_trained_stronger_than_its_file_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the size of a block: it divides alpha by the number of blocks in use, and every loader by the rank."""
    layer = LAYERS["linear"][1]
    module, x = DyLoraModule("layer", base_layer(layer), lora_dim=16, alpha=8, block_size=4), inputs(layer, 4)
    torch.nn.init.ones_(module.up_list[0])
    monkeypatch.setattr("lycoris.modules.dylora.random.randint", lambda _low, high: high)
    file = {name: tensor.detach() for name, tensor in module.state_dict().items()}
    weights = LayerWeights(
        network="unet",
        path="a.b",
        layer=layer,
        tensors={name.removesuffix(".weight"): tensor for name, tensor in file.items() if name != "alpha"},
        alpha=float(file["alpha"]),
    )
    with torch.no_grad():
        added = module(x) - module.org_forward(x)
    assert relative(added, x @ weights.delta().T * 4) <= 1e-4


def test_its_dylora_cannot_be_resumed() -> None:
    module = DyLoraModule("layer", base_layer(LAYERS["linear"][1]), lora_dim=16, alpha=8, block_size=4)
    module.load_state_dict({name: torch.ones_like(tensor) for name, tensor in module.state_dict().items()})
    assert not module.state_dict()["lora_up.weight"].any(), "nothing was loaded"


def test_dimensions_are_taken_apart_alike() -> None:
    for dimension in [*range(1, 400), 640, 768, 960, 1280, 1920, 2048, 2560, 2816, 5120, 10240]:
        for factor in (-1, 1, 2, 3, 4, 5, 8, 12, 16, 64, 100, 128):
            assert lokr.factorization(dimension, factor) == factorization(dimension, factor)
