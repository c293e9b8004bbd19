"""Any adapter file → plain tensors by layer. Files come from anywhere: everything is checked by name and shape before a number is
read, and whatever is wrong is said at once.

Read are safetensors files with the keys of kohya, LyCORIS and diffusers (its older ones too), PEFT's directories, one for a
network or a folder of them, and zips of those as this trainer writes them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trainer.adapters.weights import LayerWeights
from trainer.errors import UserError
from trainer.formats import archive, names
from trainer.formats.assembly import Modules, assembled, checked_layers, listed, modules_of
from trainer.formats.endings import foreign, taken_apart
from trainer.formats.family import Family, family_by_names, family_of
from trainer.formats.names import CONFIG, MODEL, Dialect, ModuleName, file_path
from trainer.formats.opening import Opened, opened
from trainer.formats.peft_settings import PeftSettings, peft_settings

LARGEST_CONFIG = 16 * 2**20
"""Bytes."""

_MOST_PROBLEMS = 20


@dataclass(frozen=True, kw_only=True)
class AdapterFile:
    """An adapter as a file holds it."""

    path: Path
    dialect: Dialect
    family: Family
    """Guessed from the names and widths of its layers."""
    layers: tuple[LayerWeights, ...]
    """In order of network and path, their numbers in the file's own types."""
    metadata: Mapping[str, str]
    """Of the header."""
    notes: tuple[str, ...]
    """What a user should know though nothing is wrong: sentences."""


@dataclass(frozen=True)
class _Part:
    """One safetensors file, and what is said of it beside it."""

    file: Opened
    settings: Mapping[str, PeftSettings]
    """By network; empty where nothing is said."""
    network: str | None
    """PEFT's directory's."""


def read_adapter(path: Path) -> AdapterFile:
    """Raises UserError with everything that is wrong with the file."""
    if path.is_dir():
        return _read(path, "peft", _peft_parts(path))
    if path.suffix.lower() == ".zip":
        with archive.unpacked(path) as folder:
            return _read(path, "peft", _peft_parts(folder))
    file = opened(path)
    dialect = _dialect(file)
    if dialect == "peft":
        return _read(path, "peft", [_peft_part(path.parent, file)])
    return _read(path, dialect, [_Part(file, _header_settings(file), None)])


def _dialect(file: Opened) -> Dialect:
    """The one dialect of all keys that are an adapter's; raises UserError where there are none or several."""
    found: dict[Dialect, str] = {}
    for key in file.entries:
        if taken_apart(key, names.dialect_of(key)) or foreign(key):
            found.setdefault(names.dialect_of(key), key)
    if not found:
        raise UserError(
            f"{file.path.name} holds no adapter: none of its {len(file.entries)} tensors is one of an adapter's, such as "
            f"{listed(file.entries)}; a whole checkpoint or an embedding is none."
        )
    if len(found) > 1:
        examples = ", ".join(f"{dialect} ({listed([key])})" for dialect, key in found.items())
        raise UserError(f"{file.path.name} mixes the keys of {len(found)} dialects: {examples}; convert it again.")
    return next(iter(found))


def _header_settings(file: Opened) -> dict[str, PeftSettings]:
    """What diffusers says in its header of ranks and alphas, by network."""
    if "lora_adapter_metadata" not in file.metadata:
        return {}
    where = f"The header's lora_adapter_metadata in {file.path.name}"
    described = _json(file.metadata["lora_adapter_metadata"], where)
    by_network: dict[str, dict[str, Any]] = {}
    for key, value in described.items():
        network, _, name = key.partition(".")
        by_network.setdefault(network, {})[name] = value
    return {network: peft_settings(config, where) for network, config in by_network.items() if "r" in config}


def _peft_parts(folder: Path) -> list[_Part]:
    folders = [folder] if (folder / MODEL).is_file() else [folder / name for name in names.NETWORKS]
    found = [_peft_part(one, opened(one / MODEL)) for one in folders if (one / MODEL).is_file()]
    if not found:
        raise UserError(
            f"{folder.name} holds no {MODEL}, neither itself nor in {', '.join(names.NETWORKS)}; give one of PEFT's directories."
        )
    return found


def _peft_part(folder: Path, file: Opened) -> _Part:
    """The directory's name says the network; where it does not, the keys do."""
    config = folder / CONFIG
    if not config.is_file() or config.stat().st_size > LARGEST_CONFIG:
        raise UserError(
            f"{file.path.name} has PEFT's keys, but no {CONFIG} of ordinary size beside it, which says alpha."
        )
    text = any(".encoder.layers." in key for key in file.entries)
    network = folder.name if folder.name in names.NETWORKS else "text_encoder" if text else "unet"
    where = f"{CONFIG} of {network}"
    return _Part(file, {network: peft_settings(_json(config.read_text(encoding="utf-8"), where), where)}, network)


def _json(text: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not JSON; save it again.") from error
    if not isinstance(found, dict):
        raise UserError(f"{where} is no object; save it again.")
    return found


def _read(path: Path, dialect: Dialect, parts: Sequence[_Part]) -> AdapterFile:
    modules = [modules_of(part.file.entries, dialect, part.network) for part in parts]
    guess = family_by_names({name: spelt for one in modules for name, spelt in one.spellings.items()})
    layers = [checked_layers(one, part.file.entries, guess) for one, part in zip(modules, parts, strict=True)]
    _refuse(path, [problem for one in modules for problem in one.problems])
    weights: list[LayerWeights] = []
    notes: list[str] = []
    for one, its, part in zip(modules, layers, parts, strict=True):
        found, without = _weights(path, part, one, its)
        weights += found
        if without:
            notes.append(f"{without} of {len(found)} modules have no alpha; alpha = rank is meant, a strength of 1.")
    return AdapterFile(
        path=path,
        dialect=dialect,
        family=family_of(guess, {name: layer for its in layers for name, layer in its.items()}),
        layers=tuple(sorted(weights, key=lambda layer: (names.NETWORKS.index(layer.network), layer.path))),
        metadata=parts[0].file.metadata,
        notes=(*notes, *_text_encoder_notes(weights)),
    )


def _weights(
    path: Path, part: _Part, modules: Modules, layers: Mapping[ModuleName, Any]
) -> tuple[list[LayerWeights], int]:
    tensors = part.file.tensors(key for keys in modules.keys.values() for key in keys.values())
    broken = [key for key, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        _refuse(path, [f"{len(broken)} tensors hold NaN or infinity: {listed(broken)}; the training had diverged."])
    settings = part.settings
    if not settings:
        return assembled(modules, layers, tensors, None)
    lacking = {name.network for name in layers} - set(settings)
    if lacking:
        _refuse(path, [f"Its header says ranks and alphas, but none for {', '.join(sorted(lacking))}."])
    return assembled(modules, layers, tensors, lambda name: settings[name.network].strength_of(file_path(name)))


def _refuse(path: Path, problems: Sequence[str]) -> None:
    if not problems:
        return
    shown = list(problems[:_MOST_PROBLEMS])
    if len(problems) > _MOST_PROBLEMS:
        shown.append(f"{len(problems) - _MOST_PROBLEMS} problems more are not shown.")
    raise UserError([f"{path.name} cannot be used as an adapter.", *shown])


def _text_encoder_notes(weights: Sequence[LayerWeights]) -> list[str]:
    """diffusers tells a text encoder's dialect by `out_proj`, and silently drops q, k and v where it lacks."""
    notes = []
    for network in names.NETWORKS[1:]:
        paths = [layer.path for layer in weights if layer.network == network]
        attention = any("self_attn" in path for path in paths)
        if attention and not any(path.endswith("out_proj") for path in paths):
            notes.append(f"The {network} has no out_proj, so that diffusers will silently drop its q, k and v.")
    return notes
