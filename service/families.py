"""Which family a base model is of: found from the shapes of its weights, checked against its configurations. Pure.

Told apart by what the networks are made of, as in the papers' released weights: sdxl has two text encoders and an embedding of
sizes and crops; sd2 has an OpenCLIP encoder of width 1024 and linear layers before its transformer blocks; sd15 has one CLIP-L
text encoder and 1x1 convolutions there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from service.safetensors_header import Header

FAMILIES = ("sd15", "sd2", "sdxl")
CAPTIONER = "captioner"
"""In a family's place: a model that captions pictures."""
LATENT_CHANNELS = 4
_OPEN_CLIP_WIDTH = 1024
_PREDICTIONS = ("epsilon", "v_prediction")
_USUAL_PREDICTION = {"sd15": "epsilon", "sd2": "v_prediction", "sdxl": "epsilon"}
_SIZES = 6
"""Numbers that sdxl's UNet is told of a picture's sizes and crop."""
_TIME_WIDTH = 256
"""What each of them becomes, unless the configuration says something else."""


@dataclass(frozen=True)
class Layout:
    """What is known of a base model before a weight is read."""

    folders: frozenset[str]
    unet: Header
    vae: Header
    text_encoder: Header
    configs: Mapping[str, Mapping[str, Any]]
    """`config.json` (scheduler: `scheduler_config.json`) by component."""
    text_encoder_2: Header | None = None


@dataclass(frozen=True)
class Found:
    """What the weights say."""

    family: str
    resolution: int
    """Pixels."""
    prediction_type: str
    zero_terminal_snr: bool = False
    """Whether the noise schedule ends in pure noise."""
    caption_form: str = ""
    """Of a captioner: `sentences` or `tags`."""


def other_family(folders: frozenset[str], unet: Header | None) -> str | None:
    """The family, by name, of a base that is none of `FAMILIES`; None if nothing speaks against them."""
    if "transformer" in folders:
        return "sd3 or flux (it has a transformer in the place of a UNet)"
    if "prior" in folders or "decoder" in folders:
        return "Stable Cascade (it has a prior or a decoder)"
    if "text_encoder_2" in folders and "text_encoder" not in folders:
        return "sdxl's refiner (it has the second text encoder alone)"
    if unet is not None and unet.has("class_embedding."):
        return "an upscaler or an unCLIP model (its UNet has an embedding of classes)"
    return None


def unsupported(family: str) -> str:
    """The sentence for what `other_family` found."""
    return f"The base model is of family {family}, which is not supported; import a base of {', '.join(FAMILIES)}."


def family_of(layout: Layout) -> str:
    """One of `FAMILIES`."""
    if "text_encoder_2" in layout.folders or layout.unet.has("add_embedding."):
        return "sdxl"
    if _has_linear_projections(layout.unet) or _width_of_words(layout.unet) == _OPEN_CLIP_WIDTH:
        return "sd2"
    return "sd15"


def examine(layout: Layout) -> tuple[Found | None, list[str]]:
    """What the base model is, or every reason why it cannot be used, a sentence each."""
    other = other_family(layout.folders, layout.unet)
    if other is not None:
        return None, [unsupported(other)]
    family = family_of(layout)
    problems = [
        *_problems_of_unet(layout, family),
        *_problems_of_words(layout, family),
        *(_problems_of_sizes(layout) if family == "sdxl" else ()),
        *_problems_of_vae(layout, family),
    ]
    prediction = _prediction_type(layout, family)
    if prediction not in _PREDICTIONS:
        allowed = " or ".join(_PREDICTIONS)
        problems.append(f"scheduler/scheduler_config.json has prediction_type {prediction!r}, but must have {allowed}.")
    side: Any = layout.configs["unet"].get("sample_size")
    if type(side) is not int or not 8 <= side <= 256:
        problems.append(f"unet/config.json has sample_size {side!r}, but must have a whole number from 8 to 256.")
    if problems:
        return None, problems
    return Found(family, side * _vae_factor(layout), prediction, _zero_terminal_snr(layout)), []


def _prediction_type(layout: Layout, family: str) -> Any:
    """By the mark that people leave in the UNet's file, else by the scheduler, else what is usual in the family."""
    if _is_marked(layout.unet, "v_pred"):
        return "v_prediction"
    return layout.configs["scheduler"].get("prediction_type", _USUAL_PREDICTION[family])


def _zero_terminal_snr(layout: Layout) -> bool:
    return _is_marked(layout.unet, "ztsnr") or layout.configs["scheduler"].get("rescale_betas_zero_snr") is True


def _is_marked(header: Header, mark: str) -> bool:
    """Marks are empty tensors, or entries of the metadata."""
    return mark in header.tensors or mark in header.metadata


def _problems_of_unet(layout: Layout, family: str) -> Iterator[str]:
    first = layout.unet.shape("conv_in.weight")
    channels = first[1] if first is not None and len(first) == 4 else None
    if channels != LATENT_CHANNELS:
        kind = {9: " (an inpainting model)", 5: " (a depth model)", 8: " (an editing model)"}.get(channels or 0, "")
        yield (
            f"unet takes {channels} input channels{kind}, but a base of {family} takes {LATENT_CHANNELS}; "
            "import its text-to-image model."
        )
    stated = layout.configs["unet"].get("in_channels", LATENT_CHANNELS)
    if channels is not None and stated != channels:
        yield f"unet/config.json says in_channels {stated!r}, but its weights have {channels}; they do not belong together."


def _problems_of_words(layout: Layout, family: str) -> Iterator[str]:
    """What the UNet attends to must be as wide as what the text encoders make of a word."""
    encoders = {"text_encoder": layout.text_encoder}
    if family == "sdxl":
        if layout.text_encoder_2 is None:
            yield (
                "unet has an embedding of sizes, as those of sdxl have, but text_encoder_2 is missing; "
                "import a complete sdxl base."
            )
            return
        encoders["text_encoder_2"] = layout.text_encoder_2
    widths = {name: _width_of_encoder(header) for name, header in encoders.items()}
    for name, made in widths.items():
        if made is None:
            yield f"{name} has no token embedding, so it is no CLIP text encoder; import a complete {family} base."
    made_of_all = sum(made for made in widths.values() if made is not None)
    width = _width_of_words(layout.unet)
    if None not in widths.values() and width != made_of_all:
        yield (
            f"unet attends to words of width {width}, but {' and '.join(widths)} make{'s' if len(widths) == 1 else ''} "
            f"{made_of_all}: they do not belong together; import a complete {family} base."
        )


def _problems_of_sizes(layout: Layout) -> Iterator[str]:
    """sdxl's UNet is told the pooled text of the second text encoder, and six sizes."""
    told, second = layout.unet.shape("add_embedding.linear_1.weight"), layout.text_encoder_2
    if told is None or len(told) != 2:
        yield (
            "text_encoder_2 is there, as in a base of sdxl, but unet has no embedding of sizes (add_embedding); "
            "import a complete sdxl base."
        )
        return
    pooled = second.shape("text_projection.weight") if second is not None else None
    if second is not None and pooled is None:
        yield ("text_encoder_2 has no text_projection, so it makes no pooled text; import a complete sdxl base.")
    width: Any = layout.configs["unet"].get("addition_time_embed_dim") or _TIME_WIDTH
    if pooled is not None and type(width) is int and told[1] != pooled[0] + _SIZES * width:
        yield (
            f"unet is told {told[1]} numbers beside the words, but pooled text and sizes are {pooled[0] + _SIZES * width}: "
            "unet and text_encoder_2 do not belong together; import a complete sdxl base."
        )


def _problems_of_vae(layout: Layout, family: str) -> Iterator[str]:
    first = layout.vae.shape("decoder.conv_in.weight")
    channels = first[1] if first is not None and len(first) == 4 else None
    if channels != LATENT_CHANNELS:
        yield f"vae has {channels} latent channels, but that of a base of {family} has {LATENT_CHANNELS}."
    if _vae_factor(layout) != 8:
        yield f"vae/config.json makes pictures smaller by {_vae_factor(layout)}, but that of a base of {family} by 8."


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
