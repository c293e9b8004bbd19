"""A base model in the diffusers layout with all the right shapes and nothing in them: a few kilobytes, no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

Shapes = dict[str, tuple[int, ...]]

UNET: Shapes = {
    "conv_in.weight": (8, 4, 3, 3),
    "mid_block.attentions.0.proj_in.weight": (8, 8, 1, 1),
    "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight": (8, 16),
}
VAE: Shapes = {"decoder.conv_in.weight": (8, 4, 3, 3)}
TEXT_ENCODER: Shapes = {"text_model.embeddings.token_embedding.weight": (20, 16)}


def write_safetensors(path: Path, shapes: Shapes, fill: float = 0.0) -> None:
    """A whole safetensors file of fp16 tensors that are all `fill`."""
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        size = int(np.prod(shape)) * 2
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    content = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(content).to_bytes(8, "little") + content + np.full(end // 2, fill, np.float16).tobytes())


def write_base(
    folder: Path,
    *,
    unet: Shapes = UNET,
    vae: Shapes = VAE,
    text_encoder: Shapes = TEXT_ENCODER,
    unet_config: Mapping[str, Any] | None = None,
    prediction_type: str = "epsilon",
    fill: float = 0.0,
) -> Path:
    """An sd15 base of 64 pixels, or what the arguments make of it."""
    write_safetensors(folder / "unet/diffusion_pytorch_model.safetensors", unet, fill)
    write_safetensors(folder / "vae/diffusion_pytorch_model.safetensors", vae)
    write_safetensors(folder / "text_encoder/model.safetensors", text_encoder)
    texts = {
        "model_index.json": {"_class_name": "StableDiffusionPipeline"},
        "unet/config.json": {"in_channels": 4, "sample_size": 8, **(unet_config or {})},
        "vae/config.json": {"block_out_channels": [8, 8, 8, 8]},
        "text_encoder/config.json": {"hidden_size": 16},
        "scheduler/scheduler_config.json": {"_class_name": "DDIMScheduler", "prediction_type": prediction_type},
        "tokenizer/vocab.json": {"a": 0},
    }
    for name, content in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    (folder / "tokenizer/merges.txt").write_text("#version: 0.2\n")
    return folder
