"""An adapter in any format that can be written, and what the written file lacks of it, measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load

from trainer.adapters.reduction import Reduction
from trainer.adapters.spectrum import distance, norm_of
from trainer.adapters.weights import LayerWeights
from trainer.errors import TrainerError, UserError
from trainer.formats import diffusers, kohya
from trainer.formats.files import content, content_sha256, write
from trainer.formats.names import MODEL
from trainer.formats.reading import read_adapter
from trainer.tools.options import Format, Precision

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

REMEDY = "--reduce 64 makes a plain LoRA of it that every format can hold, and says what that loses."


def widest(layers: Sequence[LayerWeights]) -> Precision:
    """The precision of these numbers, or fp32 where they are mixed."""
    dtypes = {tensor.dtype for layer in layers for tensor in layer.tensors.values()}
    return next((name for name, dtype in DTYPES.items() if dtypes == {dtype}), "fp32")


def write_adapter(
    path: Path,
    layers: Sequence[LayerWeights],
    format_: Format,
    family: str,
    precision: Precision,
    metadata: Mapping[str, str],
) -> None:
    """A file, or PEFT's directory; raises UserError for layers that the format cannot hold."""
    if format_ == "peft":
        _write_peft(path, layers, DTYPES[precision], metadata)
        return
    if format_ == "diffusers":
        problem = diffusers.representable(layers)
        if problem is not None:
            raise UserError([problem, REMEDY])
        tensors, header = diffusers.tensors(layers, DTYPES[precision]), diffusers.header(layers)
    else:
        tensors, header = kohya.tensors(layers, DTYPES[precision], family), {"format": "pt"}
    digest = content_sha256(tensors)
    hashes = {"sshs_model_hash": digest}
    if "modelspec.sai_model_spec" in metadata:
        hashes["modelspec.hash_sha256"] = f"0x{digest}"
    write(path, tensors, {**metadata, **header, **hashes})


def _write_peft(path: Path, layers: Sequence[LayerWeights], dtype: torch.dtype, metadata: Mapping[str, str]) -> None:
    # PEFT loads transformers, which takes seconds.
    from trainer.formats import peft

    files, left_out = peft.files(layers, dtype)
    if left_out:
        raise UserError([*left_out, REMEDY])
    for name, file in files.items():
        place = path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        told = content(load(file), {**metadata, "format": "pt"}) if place.name == MODEL else file
        place.write_bytes(told)


def measured(path: Path, wanted: Sequence[LayerWeights]) -> list[Reduction]:
    """What a written adapter, read again, lacks of each wanted layer."""
    written = {layer.name: layer for layer in read_adapter(path).layers}
    if set(written) != {layer.name for layer in wanted}:
        raise TrainerError(f"{path.name} does not hold the layers that were written to it.")
    return [
        Reduction(
            name=layer.name,
            rank=written[layer.name].rank or 0,
            whole=norm_of(layer),
            lost=distance(layer, written[layer.name]),
        )
        for layer in wanted
    ]
