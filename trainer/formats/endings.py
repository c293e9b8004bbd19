"""What follows a module's name in a tensor's key, by dialect, and the name that the tensor has with us."""

from __future__ import annotations

import re
from typing import NamedTuple

from trainer.formats.names import Dialect

ALPHA = "alpha"

_HADA = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2")
_LOKR = ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")
_LYCORIS = {name: name for name in (*_HADA, *_LOKR)}
_AB = {"lora_A.weight": "lora_down", "lora_B.weight": "lora_up"}

_ENDINGS: dict[Dialect, dict[str, str]] = {
    "kohya": {f"{name}.weight": name for name in ("lora_down", "lora_up", "lora_mid")} | _LYCORIS | {ALPHA: ALPHA},
    "diffusers": {
        **_AB,
        "lora.down.weight": "lora_down",
        "lora.up.weight": "lora_up",
        "lora_linear_layer.down.weight": "lora_down",
        "lora_linear_layer.up.weight": "lora_up",
        ALPHA: ALPHA,
    },
    "peft": {**_AB, **_LYCORIS},
}
_ENDINGS["lycoris"] = _ENDINGS["kohya"]

FOREIGN = {
    "dora_scale": "DoRA",
    "lora_magnitude_vector": "DoRA",
    "lora_magnitude_vector.weight": "DoRA",
    "oft_blocks": "OFT",
    "oft_diag": "OFT",
    "boft_blocks": "BOFT",
    "a1.weight": "GLoRA",
    "a2.weight": "GLoRA",
    "on_input": "IA3",
    "diff": "a full difference of weights",
    "diff_b": "a difference of biases",
    "w_norm": "trained norms",
    "b_norm": "trained norms",
}
"""Endings of adapter types that this project does not know, and what they are."""

_PROCESSOR = re.compile(r"(?P<attention>.+?)(?:\.processor)?\.to_(?P<to>q|k|v|out)_lora\.(?P<side>down|up)\.weight")
"""diffusers' oldest keys: an attention processor's own layers."""


class Ending(NamedTuple):
    """A key taken apart."""

    module: str
    name: str
    """As with us: lora_down, hada_w1_a, alpha, …"""


def taken_apart(key: str, dialect: Dialect) -> Ending | None:
    """Module and tensor of a key; None for an ending that the dialect does not have."""
    old = _PROCESSOR.fullmatch(key) if dialect == "diffusers" else None
    if old is not None:
        to = old["to"]
        if ".self_attn" in old["attention"]:
            return Ending(f"{old['attention']}.{to}_proj", f"lora_{old['side']}")
        return Ending(f"{old['attention']}.to_{'out.0' if to == 'out' else to}", f"lora_{old['side']}")
    for ending, name in _ENDINGS[dialect].items():
        if key.endswith(f".{ending}"):
            return Ending(key.removesuffix(f".{ending}"), name)
    return None


def foreign(key: str) -> str | None:
    """The adapter type, unknown to this project, that a key speaks of."""
    return next((name for ending, name in FOREIGN.items() if key.endswith(f".{ending}")), None)


def kohya_ending(name: str) -> str:
    """How kohya's and LyCORIS's files spell a tensor's name."""
    return f"{name}.weight" if name.startswith("lora_") else name
