"""The families with hardly any weights, and single-file checkpoints of them, as LDM and OpenCLIP would write them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from service.importing.family_configs import FamilyConfigs, read_families
from service.layout import WEIGHT_FILES

Arrays = dict[str, np.ndarray[Any, Any]]

_UNET = {"norm_num_groups": 2, "layers_per_block": 1, "block_out_channels": [4, 8], "sample_size": 8}
_CROSS_FIRST = {
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
}
_CROSS_LAST = {
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
}
_VAE = {
    "norm_num_groups": 2,
    "layers_per_block": 1,
    "block_out_channels": [2, 2, 4, 4],
    "sample_size": 64,
}
_TEXT = {
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "projection_dim": 8,
}


def _tiny(family: FamilyConfigs) -> FamilyConfigs:
    name = family.family
    unet: dict[str, Any] = {**_UNET, "cross_attention_dim": 16 if name == "sdxl" else 8, "attention_head_dim": [2, 2]}
    if name == "sdxl":
        unet |= {"addition_time_embed_dim": 4, "projection_class_embeddings_input_dim": 6 * 4 + 8}
        unet |= {"transformer_layers_per_block": [1, 2], **_CROSS_LAST}
    else:
        unet |= _CROSS_FIRST
    family = family.changed("unet", **unet).changed("vae", **_VAE)
    for component in family.text_encoders:
        family = family.changed(component, **_TEXT)
    return family


FAMILIES = {name: _tiny(family) for name, family in read_families().items()}


def networks(family: FamilyConfigs, seed: int = 0) -> dict[str, Arrays]:
    """Random tensors of every network, named as in the diffusers layout."""
    random = np.random.default_rng(seed)
    return {
        component: {
            weight.target: random.standard_normal(weight.shape).astype(np.float16)
            for weight in family.network(component).weights
        }
        for component in ("unet", "vae", *family.text_encoders)
    }


def checkpoint(family: FamilyConfigs, tensors: Mapping[str, Arrays]) -> Arrays:
    """The same tensors as a single file has them: fused, turned, and with 1×1 convolutions in the VAE's attention."""
    stored: dict[str, list[np.ndarray[Any, Any]]] = {}
    for component, arrays in tensors.items():
        network = family.network(component)
        for weight in network.weights:
            array = arrays[weight.target]
            array = array.T if weight.transposed else array
            if ".mid.attn_1." in weight.source and array.ndim == 2:
                array = array[:, :, None, None]
            stored.setdefault(network.prefix + weight.source, []).append(array)
    return {name: np.ascontiguousarray(np.concatenate(parts)) for name, parts in stored.items()}


def write_checkpoint(path: Path, arrays: Arrays, metadata: dict[str, str] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(arrays, path, metadata)
    return path


def write_vae(folder: Path, family: FamilyConfigs, arrays: Arrays) -> Path:
    """In the diffusers layout."""
    import json

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(family.configs["vae"]))
    save_file(arrays, folder / Path(WEIGHT_FILES["vae"]).name)
    return folder
