"""Names and shapes of all tensors of the families' published models, against diffusers' and transformers' own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders import single_file_utils
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from service.importing.family_configs import FamilyConfigs, read_families
from service.importing.weights import Shape, Weight

FAMILIES = read_families()
PARAMETERS = {
    ("sd15", "unet"): 859_520_964,
    ("sd15", "vae"): 83_653_863,
    ("sd15", "text_encoder"): 123_060_480,
    ("sd2", "unet"): 865_910_724,
    ("sd2", "vae"): 83_653_863,
    ("sd2", "text_encoder"): 340_387_840,
    ("sdxl", "unet"): 2_567_463_684,
    ("sdxl", "vae"): 83_653_863,
    ("sdxl", "text_encoder"): 123_060_480,
    ("sdxl", "text_encoder_2"): 694_659_840,
}
"""As the papers and model cards have them: 860M, 865M and 2.6B for the UNets."""


def network(family: FamilyConfigs, component: str) -> Any:
    config = family.configs[component]
    with torch.device("meta"):
        if component == "unet":
            return UNet2DConditionModel.from_config(config)
        if component == "vae":
            return AutoencoderKL.from_config(config)
        kind = CLIPTextModelWithProjection if component == "text_encoder_2" else CLIPTextModel
        return kind(CLIPTextConfig(**config))


def shapes_of(network: Any) -> dict[str, Shape]:
    """By the names that both generations of transformers read: with `text_model.` before those of text encoders."""
    found = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    if isinstance(network, CLIPTextModel) and not any(name.startswith("text_model.") for name in found):
        return {f"text_model.{name}": shape for name, shape in found.items()}
    return found


@pytest.mark.parametrize(("name", "component"), PARAMETERS)
def test_every_tensor_of_the_published_models_has_its_place(name: str, component: str) -> None:
    family = FAMILIES[name]
    weights = family.network(component).weights
    ours = {weight.target: weight.shape for weight in weights}
    assert len(ours) == len(weights)
    assert ours == shapes_of(network(family, component))
    assert sum(map(math.prod, ours.values())) == PARAMETERS[name, component]


def as_stored(weights: Iterable[Weight], prefix: str) -> dict[str, torch.Tensor]:
    """A checkpoint's tensors on the meta device; fused ones once."""
    return {prefix + weight.source: torch.empty(weight.stored_shape, device="meta") for weight in weights}


@pytest.mark.parametrize("name", ["sd15", "sd2", "sdxl"])
def test_the_names_are_those_that_diffusers_own_conversion_reads_and_writes(name: str) -> None:
    family = FAMILIES[name]
    unet = family.network("unet")
    checkpoint = as_stored(unet.weights, unet.prefix)
    read = {source: torch.full((1,), float(number)) for number, source in enumerate(checkpoint)}
    converted = single_file_utils.convert_ldm_unet_checkpoint(dict(read), dict(family.configs["unet"]))
    numbers = {unet.prefix + weight.source: weight.target for weight in unet.weights}
    theirs = {list(read)[int(tensor.item())]: target for target, tensor in converted.items()}
    assert theirs == numbers

    vae = family.network("vae")
    stored = {vae.prefix + weight.source: torch.full((1, 1, 1), float(n)) for n, weight in enumerate(vae.weights)}
    back = single_file_utils.convert_ldm_vae_checkpoint(dict(stored), dict(family.configs["vae"]))
    assert {target: vae.weights[int(tensor.flatten()[0])].target for target, tensor in back.items()} == {
        weight.target: weight.target for weight in vae.weights
    }


def test_open_clips_fused_layers_are_split_as_diffusers_splits_them() -> None:
    """On a small encoder, with numbers."""
    published = FAMILIES["sdxl"]
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    family = published.changed("text_encoder_2", **sizes, projection_dim=8, vocab_size=12)
    encoder = family.network("text_encoder_2")
    stored: Mapping[str, torch.Tensor] = {
        encoder.prefix + weight.source: torch.randn(weight.stored_shape) for weight in encoder.weights
    }
    config = CLIPTextConfig(**family.configs["text_encoder_2"])
    theirs = single_file_utils.convert_open_clip_checkpoint(
        CLIPTextModelWithProjection(config), dict(stored), prefix=encoder.prefix
    )
    ours = {}
    for weight in encoder.weights:
        tensor = stored[encoder.prefix + weight.source]
        tensor = tensor.T if weight.transposed else tensor
        ours[weight.target] = tensor if weight.part is None else tensor.chunk(3)[weight.part]
    theirs = {name: tensor for name, tensor in theirs.items() if not name.endswith("position_ids")}
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
