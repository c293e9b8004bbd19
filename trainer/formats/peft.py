"""PEFT's directories, one for each network: `adapter_config.json` and `adapter_model.safetensors`, in one zip.

PEFT makes the tensors of a layer from its configuration and then looks for them in the file, so that the configuration has to
lead to the very shapes. What it cannot make is written in another form that is the same ΔW, or left out and said:

- Tucker cores are contracted with the factor below them, for every kind alike: PEFT's LoRA knows none, its LoHa and LoKr only
  all or none of a network.
- PEFT's LoKr divides alpha by r even where no factor has a rank, so that alpha = r is written there. It decides by r which
  factors are products; where that does not lead to the tensors at hand, they are multiplied out.
- PEFT's LoKr cuts every layer by one factor, and does not put the smaller side first; layers cut otherwise are left out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainer.adapters.lokr import sides
from trainer.adapters.lora import contracted
from trainer.adapters.weights import LayerWeights
from trainer.formats import names
from trainer.formats.assembly import listed
from trainer.formats.files import content
from trainer.formats.names import CONFIG, MODEL, ModuleName

_LORA_NAMES = {"lora_down": "lora_A.weight", "lora_up": "lora_B.weight"}
_FIXED: Mapping[str, Mapping[str, Any]] = {
    "LORA": {"lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": False, "use_rslora": False, "use_dora": False},
    "LOHA": {"rank_dropout": 0.0, "module_dropout": 0.0, "use_effective_conv2d": False},
    "LOKR": {"rank_dropout": 0.0, "module_dropout": 0.0, "use_effective_conv2d": False},
}


@dataclass(frozen=True)
class _Form:
    """One layer as PEFT makes it."""

    path: str
    tensors: Mapping[str, Tensor]
    rank: int
    alpha: float
    splits_small: bool = False
    """LoKr: whether the small factor is a product."""


def files(layers: Sequence[LayerWeights], dtype: torch.dtype) -> tuple[dict[str, bytes], list[str]]:
    """Every file by its name in the zip (`archive.packed`), and sentences about the layers that had to be left out."""
    found: dict[str, bytes] = {}
    left_out: list[str] = []
    for network in dict.fromkeys(layer.network for layer in layers):
        type_, mine, others = _of_one_type([layer for layer in layers if layer.network == network])
        factor, forms, uncut = _forms(type_, mine)
        if others:
            left_out.append(
                f"PEFT's directory holds one adapter type; {len(others)} layers are of another: {listed(others)}."
            )
        if uncut:
            left_out.append(
                f"PEFT cuts every layer by one factor; {len(uncut)} layers are cut by another: {listed(uncut)}."
            )
        if forms:
            config = json.dumps(_config(type_, forms, factor), indent=2, sort_keys=True)
            found[f"{network}/{CONFIG}"] = config.encode()
            found[f"{network}/{MODEL}"] = content(_tensors(network, forms, dtype), {"format": "pt"})
    return found, left_out


def _of_one_type(layers: Sequence[LayerWeights]) -> tuple[str, list[LayerWeights], list[str]]:
    """PEFT's name of the type that most layers are of, those layers, and the names of the others."""
    types = [layer.kind.name.upper() for layer in layers]
    type_ = Counter(types).most_common(1)[0][0]
    mine = [layer for layer, its in zip(layers, types, strict=True) if its == type_]
    return type_, mine, [layer.name for layer, its in zip(layers, types, strict=True) if its != type_]


def _forms(type_: str, layers: Sequence[LayerWeights]) -> tuple[int, list[_Form], list[str]]:
    """LoKr's common factor, the layers as PEFT makes them, and the names of those that it cannot make."""
    if type_ != "LOKR":
        return -1, [_Form(one.path, _flat(one), one.rank or 1, one.alpha) for one in layers], []
    factor = _common_factor(layers)
    fitting = [layer for layer in layers if _is_cut_by(layer, factor)]
    splits = any("lokr_w1_a" in layer.tensors and "lokr_w2_b" in layer.tensors for layer in fitting)
    return (
        factor,
        [_lokr_form(layer, splits=splits) for layer in fitting],
        [layer.name for layer in layers if not _is_cut_by(layer, factor)],
    )


def _flat(layer: LayerWeights) -> dict[str, Tensor]:
    """The tensors in double precision, Tucker cores contracted with the factors below them."""
    tensors = {name: tensor.detach().cpu().double() for name, tensor in layer.tensors.items()}
    for core, above, below in (
        ("lora_mid", "lora_up", "lora_down"),
        ("hada_t1", "hada_w1_a", "hada_w1_b"),
        ("hada_t2", "hada_w2_a", "hada_w2_b"),
        ("lokr_t2", "lokr_w2_a", "lokr_w2_b"),
    ):
        if core not in tensors:
            continue
        tensors[below] = contracted(tensors.pop(core), tensors[below].flatten(1))
        if core == "lora_mid":
            tensors[below] = tensors[below].view(-1, *layer.layer.shape[1:])
        else:
            tensors[above] = tensors[above].T
    return tensors


def _cut(layer: LayerWeights) -> tuple[tuple[int, int], tuple[int, int]]:
    """(o1, o2) and (i1, i2)."""
    o1, i1 = sides(layer.tensors)[0].shape
    return (o1, layer.layer.outputs // o1), (i1, layer.layer.inputs // i1)


def _is_cut_by(layer: LayerWeights, factor: int) -> bool:
    from peft.tuners.lokr.layer import factorization

    whole = (layer.layer.outputs, layer.layer.inputs)
    return tuple(factorization(size, factor) for size in whole) == _cut(layer)


def _common_factor(layers: Sequence[LayerWeights]) -> int:
    """PEFT's factor that most layers are cut by."""
    candidates = sorted({-1, *(max(outputs[0], inputs[0]) for outputs, inputs in map(_cut, layers))})
    return max(candidates, key=lambda factor: sum(_is_cut_by(layer, factor) for layer in layers))


def _lokr_form(layer: LayerWeights, *, splits: bool) -> _Form:
    """`splits`: PEFT will make the small factor a product wherever r is small enough."""
    (o1, o2), (i1, i2) = _cut(layer)
    tensors, rank = _flat(layer), layer.rank or 0
    is_product = "lokr_w1_a" in tensors
    if "lokr_w2_b" in tensors and rank < max(o2, i2) / 2 and is_product == (splits and rank < max(o1, i1) / 2):
        return _Form(layer.path, tensors, rank, layer.alpha, splits_small=is_product)
    small, large = sides(tensors)
    whole = {"lokr_w1": small, "lokr_w2": large.view(o2, i2, *(layer.layer.kernel or ()))}
    rank = max(o1, o2, i1, i2)
    return _Form(layer.path, whole, rank, layer.scale * rank)


def _config(type_: str, forms: Sequence[_Form], factor: int) -> dict[str, Any]:
    (rank, alpha), _ = Counter((form.rank, form.alpha) for form in forms).most_common(1)[0]
    found = {
        "peft_type": type_,
        "task_type": None,
        "base_model_name_or_path": None,
        "inference_mode": True,
        "target_modules": sorted(form.path for form in forms),
        "r": rank,
        "lora_alpha" if type_ == "LORA" else "alpha": alpha,
        "rank_pattern": {form.path: form.rank for form in forms if form.rank != rank},
        "alpha_pattern": {form.path: form.alpha for form in forms if form.alpha != alpha},
        **_FIXED[type_],
    }
    if type_ == "LOKR":
        found |= {"decompose_both": any(form.splits_small for form in forms), "decompose_factor": factor}
    return found


def _tensors(network: str, forms: Sequence[_Form], dtype: torch.dtype) -> dict[str, Tensor]:
    return {
        f"{names.peft(ModuleName(network, form.path))}.{_LORA_NAMES.get(name, name)}": tensor.to(dtype).contiguous()
        for form in forms
        for name, tensor in form.tensors.items()
    }
