"""Which family a base model is of: found from the shapes of its weights, checked against its configurations. Pure.

Told apart by what the networks are made of, as in the papers' released weights: sd15 has one CLIP-L text encoder and 1x1
convolutions before its transformer blocks; sd2 has an OpenCLIP encoder of width 1024 and linear layers there; sdxl has two
text encoders and an embedding of sizes and crops.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.safetensors_header import Header

LATENT_CHANNELS = 4
_OPEN_CLIP_WIDTH = 1024
_PREDICTIONS = ("epsilon", "v_prediction")


@dataclass(frozen=True)
class Layout:
    """What is known of a base model before a weight is read."""

    folders: frozenset[str]
    unet: Header
    vae: Header
    text_encoder: Header
    configs: Mapping[str, Mapping[str, Any]]
    """`config.json` (scheduler: `scheduler_config.json`) by component."""


@dataclass(frozen=True)
class Found:
    """What the weights say."""

    family: str
    resolution: int
    """Pixels."""
    prediction_type: str


def other_family(folders: frozenset[str], unet: Header | None) -> str | None:
    """The family, by name, of a base that is not sd15; None if nothing speaks against sd15."""
    if "transformer" in folders:
        return "sd3 or flux (it has a transformer in the place of a UNet)"
    if "prior" in folders or "decoder" in folders:
        return "Stable Cascade (it has a prior or a decoder)"
    if "text_encoder_2" in folders or (unet is not None and unet.has("add_embedding.")):
        return "sdxl (it has a second text encoder, or an embedding of sizes)"
    if unet is not None and _has_linear_projections(unet):
        return "sd2 (its UNet has linear projections)"
    if unet is not None and _width_of_words(unet) == _OPEN_CLIP_WIDTH:
        return f"sd2 (its UNet attends to OpenCLIP's words of width {_OPEN_CLIP_WIDTH})"
    return None


def examine(layout: Layout) -> tuple[Found | None, list[str]]:
    """What the base model is, or every reason why it cannot be used, a sentence each."""
    family = other_family(layout.folders, layout.unet)
    if family is not None:
        return None, [f"The base model is of family {family}, which is not yet supported; import a base of sd15."]
    problems = [*_problems_of_unet(layout), *_problems_of_vae(layout)]
    prediction = layout.configs["scheduler"].get("prediction_type", "epsilon")
    if prediction not in _PREDICTIONS:
        allowed = " or ".join(_PREDICTIONS)
        problems.append(f"scheduler/scheduler_config.json has prediction_type {prediction!r}, but must have {allowed}.")
    side: Any = layout.configs["unet"].get("sample_size")
    if type(side) is not int or not 8 <= side <= 256:
        problems.append(f"unet/config.json has sample_size {side!r}, but must have a whole number from 8 to 256.")
    if problems:
        return None, problems
    return Found("sd15", side * _vae_factor(layout), prediction), []


def _problems_of_unet(layout: Layout) -> list[str]:
    problems = []
    first = layout.unet.shape("conv_in.weight")
    channels = first[1] if first is not None and len(first) == 4 else None
    if channels != LATENT_CHANNELS:
        kind = {9: " (an inpainting model)", 5: " (a depth model)", 8: " (an editing model)"}.get(channels or 0, "")
        problems.append(
            f"unet takes {channels} input channels{kind}, but an sd15 base takes {LATENT_CHANNELS}; "
            "import its text-to-image model."
        )
    stated = layout.configs["unet"].get("in_channels", LATENT_CHANNELS)
    if channels is not None and stated != channels:
        problems.append(
            f"unet/config.json says in_channels {stated!r}, but its weights have {channels}; they do not belong together."
        )
    width, hidden = _width_of_words(layout.unet), _width_of_encoder(layout.text_encoder)
    if hidden is None:
        problems.append(
            "text_encoder has no token embedding, so it is no CLIP text encoder; import a complete sd15 base."
        )
    elif width != hidden:
        problems.append(
            f"unet attends to words of width {width}, but text_encoder makes {hidden}: they do not belong together; "
            "import a complete sd15 base."
        )
    return problems


def _problems_of_vae(layout: Layout) -> list[str]:
    first = layout.vae.shape("decoder.conv_in.weight")
    channels = first[1] if first is not None and len(first) == 4 else None
    problems = []
    if channels != LATENT_CHANNELS:
        problems.append(f"vae has {channels} latent channels, but that of an sd15 base has {LATENT_CHANNELS}.")
    if _vae_factor(layout) != 8:
        problems.append(
            f"vae/config.json makes pictures smaller by {_vae_factor(layout)}, but that of an sd15 base by 8."
        )
    return problems


def _vae_factor(layout: Layout) -> int:
    blocks = layout.configs["vae"].get("block_out_channels")
    return 2 ** (len(blocks) - 1) if isinstance(blocks, list) and 1 <= len(blocks) <= 10 else 0


def _width_of_words(unet: Header) -> int | None:
    """Width of the text embeddings that cross-attention reads."""
    widths = {shape[1] for name, shape in unet.shapes.items() if name.endswith("attn2.to_k.weight") and len(shape) == 2}
    return widths.pop() if len(widths) == 1 else None


def _width_of_encoder(text_encoder: Header) -> int | None:
    # transformers 4 writes the first name, transformers 5 the second.
    names = ("text_model.embeddings.token_embedding.weight", "embeddings.token_embedding.weight")
    shape = text_encoder.shape(*names)
    return shape[1] if shape is not None and len(shape) == 2 else None


def _has_linear_projections(unet: Header) -> bool:
    return any(name.endswith(".proj_in.weight") and len(shape) == 2 for name, shape in unet.shapes.items())
