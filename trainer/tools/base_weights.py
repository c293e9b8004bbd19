"""The weights of a whole model, read tensor by tensor: a folder in diffusers' layout, or one file in either code base's names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from trainer.adapters.targets import Layer
from trainer.errors import UserError
from trainer.formats import names
from trainer.formats.family import Family, family_by_names, family_of
from trainer.formats.grammar import geometry
from trainer.formats.names import NETWORKS, ModuleName
from trainer.formats.opening import Opened, opened

INDEX = "model_index.json"
"""What a folder in diffusers' layout has."""
WEIGHTS = {"unet": "diffusion_pytorch_model.safetensors"} | dict.fromkeys(NETWORKS[1:], "model.safetensors")

_PREFIXES = {
    "model.diffusion_model.": "unet",
    "cond_stage_model.transformer.": "text_encoder",
    "conditioner.embedders.0.transformer.": "text_encoder",
    **{f"{network}.": network for network in NETWORKS},
}
"""Of a network's tensors in a single file."""
OPENCLIP = "conditioner.embedders.1.model."
"""SDXL's second text encoder in a single file, whose attention has q, k and v in one tensor."""


class Place(NamedTuple):
    """Where a tensor lies."""

    file: Opened
    key: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.file.entries[self.key].shape


@dataclass(frozen=True, kw_only=True)
class BaseWeights:
    """UNet and text encoders of a model."""

    path: Path
    family: Family
    places: Mapping[str, Mapping[str, Place]]
    """By network and by name in it: of layers as in `layers` with `.weight` or `.bias` behind, of others as the file has it."""
    layers: Mapping[str, Mapping[str, Layer]]
    """By network and path, those that an adapter could have."""
    has_openclip: bool
    """Whether there is a second text encoder in names that are not read."""

    def tensor(self, network: str, name: str) -> Tensor:
        """Raises UserError for NaN and infinity."""
        file, key = self.places[network][name]
        tensor = file.tensors([key])[key]
        if not tensor.isfinite().all():
            raise UserError(f"{self.path.name} has NaN or infinity in {key}; use a sound model.")
        return tensor


def open_base(path: Path) -> BaseWeights:
    """Reads headers alone; raises UserError for what is no model of a known layout."""
    if path.is_dir():
        return _base(path, list(_in_folder(path)), has_openclip=False)
    file = opened(path)
    found = [
        (network, key.removeprefix(prefix), Place(file, key))
        for key in file.entries
        for prefix, network in _PREFIXES.items()
        if key.startswith(prefix)
    ]
    return _base(path, found, has_openclip=any(key.startswith(OPENCLIP) for key in file.entries))


def weight_files(folder: Path, network: str) -> list[Path]:
    """Of a network in diffusers' layout: one file, or its shards; of several variants the one without a name."""
    files = sorted((folder / network).glob("*.safetensors"))
    plain = [file for file in files if file.name == WEIGHTS[network]]
    shards = [file for file in files if "-of-" in file.name and file.name.count(".") == 1]
    return plain or shards or files[:1]


def _in_folder(folder: Path) -> Iterator[tuple[str, str, Place]]:
    if not (folder / INDEX).is_file():
        raise UserError(f"{folder} has no {INDEX}; give a folder in diffusers' layout, or one .safetensors file.")
    for network in NETWORKS:
        if not (folder / network).is_dir():
            continue
        files = weight_files(folder, network)
        if not files:
            raise UserError(f"{folder.name} has no safetensors in {network}; pickles are never opened.")
        for file in map(opened, files):
            yield from ((network, key, Place(file, key)) for key in file.entries)


def _base(path: Path, found: Sequence[tuple[str, str, Place]], *, has_openclip: bool) -> BaseWeights:
    places: dict[str, dict[str, Place]] = {}
    weights: dict[ModuleName, tuple[int, ...]] = {}
    for network, key, place in found:
        module, _, kind = key.rpartition(".")
        name = names.from_diffusers(f"{network}.{module}")
        if name is not None and kind == "weight":
            weights[name] = place.shape
        places.setdefault(network, {})[key if name is None else f"{name.path}.{kind}"] = place
    if "unet" not in places:
        raise UserError(f"{path.name} holds no UNet of Stable Diffusion; give a whole model, not a part or an adapter.")
    layers = {name: _layer(name, shape) for name, shape in weights.items()}
    return BaseWeights(
        path=path,
        family=family_of(family_by_names({name: name.path for name in layers}), layers),
        places=places,
        layers={
            network: {name.path: layer for name, layer in layers.items() if name.network == network}
            for network in places
        },
        has_openclip=has_openclip,
    )


def _layer(name: ModuleName, shape: tuple[int, ...]) -> Layer:
    if len(shape) not in (2, 4):
        raise UserError(f"{name.network}.{name.path} has a weight of shape {shape}, which no layer of its name has.")
    if len(shape) == 2:
        return Layer(shape[0], shape[1])
    known = geometry(name.path, projections_convolve=True)
    return Layer(shape[0], shape[1], (shape[2], shape[3]), known.stride, known.padding)
