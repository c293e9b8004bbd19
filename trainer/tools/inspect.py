"""`inspect`: everything that an adapter's file holds, measured and explained."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from trainer.adapters.spectrum import norm_of
from trainer.adapters.weights import LayerWeights
from trainer.formats.files import content_sha256, tensors_sha256
from trainer.formats.opening import opened
from trainer.formats.reading import read_adapter
from trainer.tools.groups import grouped, part_of
from trainer.tools.history import HISTORY, digests, sentences
from trainer.tools.meanings import meaning, shown, tells_of_the_data
from trainer.tools.printing import print_lines, print_table, say, size, span
from trainer.tools.writing import DTYPES

_HASHES = ("sshs_model_hash", "modelspec.hash_sha256")
"""Entries of the header that state the digest of what lies behind it."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """The layers of a part of the base model."""

    block: str
    layers: int
    parts: Mapping[str, int]
    """Layers by what they do: attention, feed-forward, …"""
    types: Sequence[str]
    ranks: Sequence[int]
    """Those that occur; so the next two. Empty where no factor has a rank."""
    alphas: Sequence[float]
    strengths: Sequence[float]
    parameters: int
    largest_norm: float
    """Of a layer's scale · ΔW, Frobenius."""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What there is to say of an adapter."""

    path: str
    bytes: int
    sha256: Mapping[str, str]
    """By file."""
    tensors_sha256: Mapping[str, str]
    stated_hash_is_right: bool | None
    """None where the header states none."""
    dialect: str
    family: str
    dtypes: Mapping[str, int]
    """Numbers by their type."""
    blocks: Sequence[Block]
    largest_norm_layer: str
    norm: float
    """Of all layers together."""
    notes: Sequence[str]
    tells_of_the_data: Sequence[str]
    """Entries of the header with captions, tags, prompts or folder names."""
    metadata: Mapping[str, str]


def inspect(path: Path, *, as_json: bool) -> None:
    """Prints it, for people or for programs."""
    inspection = inspected(path)
    if as_json:
        print(json.dumps(asdict(inspection), indent=2, ensure_ascii=False))
    else:
        _print(inspection)


def inspected(path: Path) -> Inspection:
    """Raises UserError for what is no sound adapter; NaN and infinity are refused there."""
    file, sha256 = read_adapter(path), digests(path)
    norms = {layer.name: norm_of(layer) for layer in file.layers}
    folder = path if path.is_dir() else path.parent
    contents = {name: opened(folder / name) for name in sha256 if name.endswith(".safetensors")}
    tensors = {name: one.tensors(one.entries) for name, one in contents.items()}
    return Inspection(
        path=str(path),
        bytes=sum((folder / name).stat().st_size for name in sha256),
        sha256=sha256,
        tensors_sha256={name: tensors_sha256(its) for name, its in tensors.items()},
        stated_hash_is_right=_stated_hash_is_right(file.metadata, [content_sha256(its) for its in tensors.values()]),
        dialect=file.dialect,
        family=file.family,
        dtypes=_dtypes(file.layers),
        blocks=[_block(name, layers, norms) for name, layers in grouped(file.layers).items()],
        largest_norm_layer=max(norms, key=norms.__getitem__),
        norm=math.hypot(*norms.values()),
        notes=file.notes,
        tells_of_the_data=tells_of_the_data(file.metadata),
        metadata=dict(sorted(file.metadata.items())),
    )


def _stated_hash_is_right(metadata: Mapping[str, str], hashes: Sequence[str]) -> bool | None:
    stated = [metadata[key].removeprefix("0x") for key in _HASHES if key in metadata]
    return all(one in hashes for one in stated) if stated and hashes else None


def _dtypes(layers: Iterable[LayerWeights]) -> dict[str, int]:
    spelt = {dtype: name for name, dtype in DTYPES.items()}
    found: Counter[str] = Counter()
    for layer in layers:
        for tensor in layer.tensors.values():
            found[spelt.get(tensor.dtype, str(tensor.dtype))] += tensor.numel()
    return dict(found.most_common())


def _block(name: str, layers: Sequence[LayerWeights], norms: Mapping[str, float]) -> Block:
    with_rank = [layer for layer in layers if layer.rank is not None]
    return Block(
        block=name,
        layers=len(layers),
        parts=dict(Counter(part_of(layer) for layer in layers)),
        types=sorted({type_of(layer) for layer in layers}),
        ranks=sorted({layer.rank for layer in with_rank if layer.rank is not None}),
        alphas=sorted({layer.alpha for layer in with_rank}),
        strengths=sorted({layer.scale for layer in layers}),
        parameters=sum(layer.count for layer in layers),
        largest_norm=max(norms[layer.name] for layer in layers),
    )


def type_of(layer: LayerWeights) -> str:
    """`LoRA`, `LoHa, Tucker`, …"""
    cores = {"lora_mid", "hada_t1", "lokr_t2"} & set(layer.tensors)
    return f"{layer.kind.name}, Tucker" if cores else layer.kind.name


def _print(inspection: Inspection) -> None:
    blocks = inspection.blocks
    right = {True: "as the header states", False: "NOT as the header states", None: "the header states none"}
    layers = Counter[str]()
    for block in blocks:
        layers[block.block.partition(".")[0]] += block.layers
    lines = {
        "file": f"{inspection.path}, {size(inspection.bytes)}",
        "keys of": f"{inspection.dialect}, for a base model of {inspection.family}",
        "type": "; ".join(dict.fromkeys(type_ for block in blocks for type_ in block.types)),
        "layers": ", ".join(f"{count} of the {network}" for network, count in layers.items()),
        "numbers": ", ".join(f"{count:,} in {dtype}" for dtype, count in inspection.dtypes.items())
        + "; no NaN, no infinity",
        "largest change": f"{max(block.largest_norm for block in blocks):.4g} in norm, {inspection.largest_norm_layer}",
        "whole change": f"{inspection.norm:.4g} in norm",
        **{f"SHA-256 of {name}": digest for name, digest in inspection.sha256.items()},
        **{f"of its tensors, {name}": digest for name, digest in inspection.tensors_sha256.items()},
        "hash of the content": right[inspection.stated_hash_is_right],
        "tells of the data": ", ".join(inspection.tells_of_the_data) or "no captions, tags or folder names",
    }
    print_lines(lines)
    for note in inspection.notes:
        say(f"Note: {note}")
    print()
    _print_blocks(blocks)
    print()
    metadata = {key: value for key, value in inspection.metadata.items() if key != HISTORY}
    print_table(
        ("entry", "value", "meaning"),
        [(key, shown(key, value), meaning(key) or "not known here") for key, value in metadata.items()],
        numbers_from=3,
    )
    for sentence in sentences(inspection.metadata):
        say(sentence)


def _print_blocks(blocks: Sequence[Block]) -> None:
    print_table(
        ("block", "of", "layers", "rank", "alpha", "strength", "parameters", "largest norm"),
        [
            (
                block.block,
                ", ".join(f"{count} {part}" for part, count in block.parts.items()),
                str(block.layers),
                span(block.ranks),
                span(block.alphas),
                span(block.strengths),
                f"{block.parameters:,}",
                f"{block.largest_norm:.4g}",
            )
            for block in blocks
        ],
        numbers_from=2,
    )
