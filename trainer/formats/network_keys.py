"""How kohya's trainer and LyCORIS would call a network with these tensors: `ss_network_*`, which tools show and sort by."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from trainer.adapters.weights import LayerWeights

_ALGORITHMS = {"LoRA": "locon", "LoHa": "loha", "LoKr": "lokr"}
_NONE = str(None)
_CORES = {"lora_mid", "hada_t1", "lokr_t2"}


def network_keys(
    layers: Sequence[LayerWeights], arguments: Mapping[str, object] | None = None, module: str | None = None
) -> dict[str, str]:
    """Module, rank, alpha and arguments. Convolutions that look at neighbours have a rank and alpha of their own.

    `arguments` are those that tensors do not tell, for LyCORIS's or kohya's trainer; `module` where tensors do not tell it.
    """
    kind = Counter(layer.kind.name for layer in layers).most_common(1)[0][0]
    core = any(_CORES & set(layer.tensors) for layer in layers)
    plain = kind == "LoRA" and not core
    spatial = [layer for layer in layers if layer.layer.is_spatial]
    others = [layer for layer in layers if not layer.layer.is_spatial] or spatial
    told: dict[str, object] = {} if plain else {"algo": _ALGORITHMS[kind]}
    if spatial:
        told |= {"conv_dim": _common(_ranks(spatial)), "conv_alpha": _common(layer.alpha for layer in spatial)}
        told = {name: value for name, value in told.items() if value != _NONE}
    if core:
        told["use_tucker"] = True
    told |= arguments or {}
    return {
        "ss_network_module": module or ("networks.lora" if plain else "lycoris.kohya"),
        "ss_network_dim": _common(_ranks(others)),
        "ss_network_alpha": _common(layer.alpha for layer in others),
        "ss_network_args": json.dumps({name: str(value) for name, value in told.items()}),
    }


def _ranks(layers: Sequence[LayerWeights]) -> Iterable[int | None]:
    """Of a LoKr, those of its products: a layer whose factors are full has none beside them."""
    return {layer.rank for layer in layers} - {None} or {None}


def _common(values: Iterable[float | None]) -> str:
    """kohya's word for values that differ."""
    found = set(values)
    return str(found.pop()) if len(found) == 1 else "Dynamic"
