"""What a single-file checkpoint says about how it was trained: its prediction type, its noise schedule, its resolution. Pure.

Two marks are in use: empty tensors called `v_pred` and `ztsnr`, and metadata by the ModelSpec convention (`modelspec.…`).
"""

from __future__ import annotations

import re
from typing import Any

from service.importing.family_configs import FamilyConfigs
from service.safetensors_header import Header

_VAE_FACTOR = 8
_SIZE = re.compile(r"([0-9]{2,4})x\1")
_PREDICTIONS = {"epsilon": "epsilon", "eps": "epsilon", "v": "v_prediction", "v_prediction": "v_prediction"}
"""By the ModelSpec convention, and by what is found in its place."""
_SD2_ARCHITECTURES = {"stable-diffusion-v2-512": "epsilon", "stable-diffusion-v2-768-v": "v_prediction"}
_SD2_SIDE = {"epsilon": 512, "v_prediction": 768}
"""Pixels. Of sd2 there are two published models, which differ in both."""


def with_hints(family: FamilyConfigs, header: Header) -> tuple[FamilyConfigs, list[str]]:
    """The configurations with what the checkpoint says, and a sentence for each thing that it says or leaves open."""
    prediction, notes = _prediction(family, header)
    changes: dict[str, Any] = {"prediction_type": prediction}
    if _is_marked(header, "ztsnr"):
        # Lin et al. 2024, Common Diffusion Noise Schedules: the last step is pure noise, and sampling must begin there.
        changes |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
        notes.append("The noise schedule ends at zero signal, as the mark ztsnr in the file says.")
    family = family.changed("scheduler", **changes)
    side = _side(header) or (_SD2_SIDE[prediction] if family.family == "sd2" else None)
    published: Any = family.configs["unet"].get("sample_size")
    if side is not None and side // _VAE_FACTOR != published:
        family = family.changed("unet", sample_size=side // _VAE_FACTOR)
    return family, notes


def _prediction(family: FamilyConfigs, header: Header) -> tuple[str, list[str]]:
    if _is_marked(header, "v_pred"):
        return "v_prediction", ["The prediction type is v_prediction, as the mark v_pred in the file says."]
    stated = _PREDICTIONS.get(header.metadata.get("modelspec.prediction_type", "").lower())
    if stated is not None:
        return stated, [f"The prediction type is {stated}, as the file's metadata says."]
    default: str = family.configs["scheduler"]["prediction_type"]
    if family.family != "sd2":
        return default, []
    stated = _SD2_ARCHITECTURES.get(header.metadata.get("modelspec.architecture", ""))
    if stated is not None:
        return stated, [f"The prediction type is {stated}, as the file's metadata says."]
    return default, [
        f"The file does not say its prediction type: {default} was assumed, as most models of sd2 have it."
    ]


def _is_marked(header: Header, mark: str) -> bool:
    return mark in header.tensors or mark in header.metadata


def _side(header: Header) -> int | None:
    """Pixels, where the metadata names a square of them."""
    match = _SIZE.fullmatch(header.metadata.get("modelspec.resolution", ""))
    side = int(match[1]) if match is not None else 0
    return side if 64 <= side <= 2048 and side % 64 == 0 else None
