"""A single-file checkpoint: which family it is of, where its networks stand in it, and what it says about its training. Pure.

The family is found from the weights: SDXL's UNet embeds sizes and pooled words (`label_emb`), sd2 has OpenCLIP's encoder or
linear layers around its transformers, sd15 neither. Then every tensor of the family must be there, in its shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.importing.family_configs import FamilyConfigs, Network
from service.importing.pieces import Piece
from service.importing.problems import unsuitable
from service.importing.training_hints import with_hints
from service.importing.weights import Weight, without_ones
from service.safetensors_header import Header, Tensor

FLOATS = frozenset({"F16", "BF16", "F32"})
"""Types of numbers that are trained on."""

_UNET, _EMA = "model.diffusion_model.", "model_ema."
_OPEN_CLIP, _SECOND_CLIP, _FIRST_OPEN_CLIP = (
    "cond_stage_model.model.",
    "conditioner.embedders.1.",
    "conditioner.embedders.0.model.",
)
_PARTS = {"unet": "UNet", "vae": "VAE", "text_encoder": "text encoder", "text_encoder_2": "second text encoder"}
_CHANNELS = {9: "an inpainting model", 5: "a depth model", 8: "an editing model"}
_OTHERS = {
    "double_blocks.": "flux",
    "joint_blocks.": "sd3",
    "lora_unet_": "an adapter: bring it with `loramill adapter upload`",
    "lora_te": "an adapter: bring it with `loramill adapter upload`",
    "control_model.": "a ControlNet",
}
"""What is no base of ours, by a part of its tensors' names."""
_WITHOUT_A_PLACE = (
    _EMA,
    "alphas_cumprod",
    "betas",
    "denoiser.",
    "first_stage_model.loss.",
    "log_one_minus_",
    "logvar",
    "lvlb_weights",
    "posterior_",
    "sqrt_",
    "v_pred",
    "ztsnr",
)
"""How tensors begin that belong to the training of the checkpoint, not to its networks."""
_UNUSED = (
    ".position_ids",
    ".logit_scale",
    "cond_stage_model.model.text_projection",
    "cond_stage_model.model.transformer.resblocks.",
)
"""Parts of names: tensors of text encoders that the published pipelines do not use, such as sd2's last layer."""


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint of a family."""

    family: FamilyConfigs
    """With what the checkpoint says in the place of the published model's."""
    pieces: Mapping[str, tuple[Piece, ...]]
    """The tensors of each network, named as in the diffusers layout."""
    notes: tuple[str, ...]


def examine_checkpoint(
    path: Path, header: Header, families: Mapping[str, FamilyConfigs], *, needs_vae: bool = True
) -> Checkpoint:
    """Raises ImportFailed with everything that is missing or wrong. `needs_vae`: whether the VAE in it is to be taken."""
    family = families[_family(header)]
    components = ["unet", *family.text_encoders, *(["vae"] if needs_vae else [])]
    networks = {component: _found(family.network(component), header) for component in components}
    problems = [problem for name, network in networks.items() for problem in _problems(name, network, header, family)]
    if problems:
        raise unsuitable(problems)
    pieces = {name: tuple(_pieces(path, network, header)) for name, network in networks.items()}
    family, hints = with_hints(family, header)
    return Checkpoint(family, pieces, (*hints, *_notes(networks, header)))


def examine_vae(path: Path, header: Header, family: FamilyConfigs) -> tuple[Piece, ...]:
    """The tensors of a VAE that is a single file, under LDM's names or diffusers' own. Raises ImportFailed."""
    network = family.network("vae")
    if header.has("decoder.mid_block."):
        network = Network("", tuple(Weight(weight.target, weight.target, weight.shape) for weight in network.weights))
    elif not header.has(network.prefix):
        network = Network("", network.weights)
    if not any(network.prefix + weight.source in header.tensors for weight in network.weights):
        raise unsuitable(["The VAE's file holds no VAE; name a file with one, or a folder in the diffusers layout."])
    problems = _problems("vae", network, header, family)
    if problems:
        raise unsuitable(problems)
    return tuple(_pieces(path, network, header))


def _family(header: Header) -> str:
    """By what its networks are made of. Raises ImportFailed for what is no base of ours."""
    for part, kind in _OTHERS.items():
        if header.has(part):
            raise unsuitable([f"The checkpoint is not of sd15, sd2 or sdxl, but {kind}."])
    if not header.has(_UNET) and not header.has(_EMA):
        raise unsuitable(
            [
                f"The file has no UNet ({_UNET}…), so it is no checkpoint of sd15, sd2 or sdxl; import a whole checkpoint."
            ]
        )
    if header.has("label_emb"):
        if header.has(_FIRST_OPEN_CLIP) and not header.has(_SECOND_CLIP):
            raise unsuitable(
                ["The checkpoint is SDXL's refiner, which no adapters are trained on; import SDXL's base."]
            )
        return "sdxl"
    flat = any(_is_flat(name, tensor) for name, tensor in header.tensors.items())
    return "sd2" if flat or header.has(_OPEN_CLIP) else "sd15"


def _is_flat(name: str, tensor: Tensor) -> bool:
    """Whether it is a linear layer before a transformer, where sd15 has a convolution."""
    return (
        name.startswith((_UNET, _EMA)) and name.endswith(("proj_in.weight", "proj_inweight")) and len(tensor.shape) == 2
    )


def _found(network: Network, header: Header) -> Network:
    """The network under the names that this checkpoint has for it."""
    if network.prefix == _UNET and not header.has(_UNET):
        # LDM keeps the moving average of the weights under their names without dots.
        flat = [
            Weight("diffusion_model" + weight.source.replace(".", ""), weight.target, weight.shape)
            for weight in network.weights
        ]
        return Network(_EMA, tuple(flat))
    older = network.prefix + "embeddings.token_embedding.weight"
    if older in header.tensors:  # saved by an early transformers, without `text_model.`
        shorter = [
            Weight(weight.source.removeprefix("text_model."), weight.target, weight.shape) for weight in network.weights
        ]
        return Network(network.prefix, tuple(shorter))
    return network


def _problems(component: str, network: Network, header: Header, family: FamilyConfigs) -> list[str]:
    """A sentence for each kind of thing that is wrong with a network."""
    part = _PARTS[component]
    wanted = {network.prefix + weight.source: weight for weight in network.weights}
    if not wanted.keys() & header.tensors.keys():
        remedy = "give one with vae_source_uri" if component == "vae" else "import a whole checkpoint"
        return [f"The {part} is missing ({network.prefix}…): {remedy}."]
    missing = [name for name in wanted if name not in header.tensors]
    there = [(name, header.tensors[name], weight) for name, weight in wanted.items() if name in header.tensors]
    others = [
        (name, tensor, weight) for name, tensor, weight in there if without_ones(tensor.shape) != weight.stored_shape
    ]
    types = sorted({tensor.dtype for _, tensor, _ in there} - FLOATS)
    return [*_missing(part, missing, wanted, family), *_shapes(part, others, family), *_types(part, types)]


def _missing(part: str, missing: Sequence[str], wanted: Mapping[str, Weight], family: FamilyConfigs) -> Iterator[str]:
    if missing:
        yield (
            f"The {part} lacks {len(missing)} of the {len(wanted)} tensors that one of {family.family} has, such as "
            f"{missing[0]}; import a whole checkpoint."
        )


def _shapes(part: str, others: Sequence[tuple[str, Tensor, Weight]], family: FamilyConfigs) -> Iterator[str]:
    if not others:
        return
    name, tensor, weight = others[0]
    if part == "UNet" and weight.target == "conv_in.weight" and len(tensor.shape) == 4 and tensor.shape[1] in _CHANNELS:
        kind = _CHANNELS[tensor.shape[1]]
        yield f"The {part} takes {tensor.shape[1]} input channels ({kind}); import the family's text-to-image model."
        return
    yield (
        f"The {part} has {len(others)} tensors of other shapes than one of {family.family}, such as {name[:100]}: "
        f"{list(tensor.shape)} in the place of {list(weight.stored_shape)}; import a checkpoint of the published architecture."
    )


def _types(part: str, types: Sequence[str]) -> Iterator[str]:
    if types:
        yield f"The {part} is stored as {', '.join(types)}, which is not trained on; import one in fp32, fp16 or bf16."


def _pieces(path: Path, network: Network, header: Header) -> Iterator[Piece]:
    for weight in network.weights:
        tensor = header.tensors[network.prefix + weight.source]
        first, last = tensor.first, tensor.last
        if weight.part is not None:
            third = (last - first) // 3
            first, last = first + weight.part * third, first + (weight.part + 1) * third
        yield Piece(weight.target, tensor.dtype, weight.shape, path, first, last, weight.transposed)


def _notes(networks: Mapping[str, Network], header: Header) -> Iterator[str]:
    if networks["unet"].prefix == _EMA:
        yield "The UNet is the moving average (EMA) of the training, the only one in the file."
    elif header.has(_EMA):
        yield "The file holds the UNet twice: its last weights were taken, their moving average (EMA) was left out."
    taken = {network.prefix + weight.source for network in networks.values() for weight in network.weights}
    left = [
        name
        for name in header.tensors
        if name not in taken
        and not name.startswith(_WITHOUT_A_PLACE)
        and not any(part in name for part in _UNUSED)
        and ("vae" in networks or not name.startswith("first_stage_model."))
    ]
    if left:
        yield f"{len(left)} tensors were left out, for which the family has no place, such as {left[0][:100]}."
