"""The configurations of the families' published models, which single-file checkpoints do not carry: families/*.json."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.importing.text_weights import clip_weights, open_clip_weights
from service.importing.unet_weights import unet_weights
from service.importing.vae_weights import vae_weights
from service.importing.weights import Weight

Configs = Mapping[str, Mapping[str, Any]]

FOLDER = Path(__file__).parent / "families"

_SD15 = {"text_encoder": ("cond_stage_model.transformer.", clip_weights)}
_SD2 = {"text_encoder": ("cond_stage_model.model.", open_clip_weights)}
_SDXL = {
    "text_encoder": ("conditioner.embedders.0.transformer.", clip_weights),
    "text_encoder_2": ("conditioner.embedders.1.model.", open_clip_weights),
}
_TEXT_ENCODERS = {"sd15": _SD15, "sd2": _SD2, "sdxl": _SDXL}


@dataclass(frozen=True)
class Network:
    """One network of a family, as a single-file checkpoint holds it."""

    prefix: str
    """Before the names of its tensors there."""
    weights: tuple[Weight, ...]


@dataclass(frozen=True)
class FamilyConfigs:
    """A family's configurations by component, as in the diffusers layout."""

    family: str
    configs: Configs

    def network(self, component: str) -> Network:
        """`unet`, `vae`, `text_encoder` or `text_encoder_2`."""
        config = self.configs[component]
        if component == "unet":
            return Network("model.diffusion_model.", tuple(unet_weights(config)))
        if component == "vae":
            return Network("first_stage_model.", tuple(vae_weights(config)))
        prefix, weights = _TEXT_ENCODERS[self.family][component]
        return Network(prefix, tuple(weights(config)))

    @property
    def text_encoders(self) -> tuple[str, ...]:
        return tuple(_TEXT_ENCODERS[self.family])

    def changed(self, component: str, **values: Any) -> FamilyConfigs:
        """The same with other values in one configuration."""
        configs = copy.deepcopy(dict(self.configs))
        configs[component] = {**configs[component], **values}
        return FamilyConfigs(self.family, configs)


def read_families(folder: Path = FOLDER) -> dict[str, FamilyConfigs]:
    """By name."""
    return {family.family: family for family in _families(folder)}


def _families(folder: Path) -> Iterator[FamilyConfigs]:
    for name in _TEXT_ENCODERS:
        yield FamilyConfigs(name, json.loads((folder / f"{name}.json").read_text()))
