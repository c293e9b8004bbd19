"""The file of a tag's new tokens, as programs that draw read textual inversions: one file for all of them.

One text encoder: `emb_params` (tokens, D), which A1111, ComfyUI and diffusers' load_textual_inversion take whatever its name is,
since it is the only tensor. Two: `clip_l` and `clip_g`, which A1111 and ComfyUI know by name; diffusers takes them one by one.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from trainer.errors import TrainerError

_OF_TWO = {"text_encoder": "clip_l", "text_encoder_2": "clip_g"}


def tensors(rows: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """The file's tensors, of a tag's embeddings (tokens, D) by text encoder."""
    plain = {encoder: tensor.detach().to("cpu", dtype).contiguous().clone() for encoder, tensor in rows.items()}
    if list(plain) == ["text_encoder"]:
        return {"emb_params": plain["text_encoder"]}
    if set(plain) == set(_OF_TWO):
        return {key: plain[encoder] for encoder, key in _OF_TWO.items()}
    raise TrainerError(f"There is no form of file for embeddings of {', '.join(plain)}.")


def ending(place: int) -> str:
    """Of the file's name, behind that of the output; `place` counts a job's tags from 0."""
    return f".embedding{f'-{place + 1}' if place else ''}.safetensors"


def header(tag: str, tokens: int) -> dict[str, str]:
    """The file's metadata: what it stands for."""
    return {"modelspec.trigger_phrase": tag, "loramill.activation_tag": tag, "loramill.new_tokens": str(tokens)}
