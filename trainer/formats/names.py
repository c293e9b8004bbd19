"""How each dialect spells the name of a module: built and read here alone, without a base model at hand.

| dialect | UNet | text encoders |
|---|---|---|
| kohya, SD1.5 | `lora_unet_` + path, dots as underscores | `lora_te_text_model_encoder_…` |
| kohya, SDXL | `lora_unet_` + path in ldm's names, dots as underscores | `lora_te1_text_model_…`, `lora_te2_text_model_…` |
| lycoris | `lycoris_` + path, dots as underscores | the same |
| diffusers | `unet.` + path | `text_encoder.text_model.…`, `text_encoder_2.text_model.…` |
| peft | `base_model.model.` + path, a directory for each network | the same |
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from trainer.formats.grammar import is_text_layer, is_unet_layer, unflattened
from trainer.formats.ldm import from_ldm, is_ldm, to_ldm

Dialect = Literal["kohya", "lycoris", "diffusers", "peft"]

NETWORKS = ("unet", "text_encoder", "text_encoder_2")
PEFT_PREFIX = "base_model.model."
CONFIG, MODEL = "adapter_config.json", "adapter_model.safetensors"
"""The files of PEFT's directory."""

_KOHYA = {"lora_unet_": "unet", "lora_te_": "text_encoder", "lora_te1_": "text_encoder", "lora_te2_": "text_encoder_2"}
_LYCORIS = "lycoris_"


class ModuleName(NamedTuple):
    """A layer of a base model. `path` as transformers 5 says it: `text_model.` stands in `text_encoder_2` alone."""

    network: str
    path: str


def file_path(name: ModuleName) -> str:
    """transformers 5 dropped `text_model.` from CLIPTextModel's module names; every file keeps it."""
    if name.network == "unet" or name.path.startswith("text_model."):
        return name.path
    return f"text_model.{name.path}"


def _text(network: str, path: str) -> ModuleName | None:
    """A text encoder's layer, its name with or without `text_model.`."""
    short = path.removeprefix("text_model.")
    if not is_text_layer(short):
        return None
    return ModuleName(network, f"text_model.{short}" if network == "text_encoder_2" else short)


def _layer(network: str, path: str) -> ModuleName | None:
    """A layer by its network and its name in diffusers, in ldm, or in CLIP."""
    if network != "unet":
        return _text(network, path)
    found = from_ldm(path) if is_ldm(path) else path
    return ModuleName("unet", found) if found is not None and is_unet_layer(found) else None


def dialect_of(key: str) -> Dialect:
    """Which dialect a tensor's key is of, by its beginning."""
    if key.startswith(tuple(_KOHYA)):
        return "kohya"
    if key.startswith(_LYCORIS):
        return "lycoris"
    return "peft" if key.startswith(PEFT_PREFIX) else "diffusers"


def kohya(name: ModuleName, family: str) -> str:
    """The module's part of a key, before the first dot."""
    sdxl = family == "sdxl"
    if name.network == "unet":
        return "lora_unet_" + (to_ldm(name.path) if sdxl else name.path).replace(".", "_")
    prefix = {"text_encoder": "lora_te1_" if sdxl else "lora_te_", "text_encoder_2": "lora_te2_"}[name.network]
    return prefix + file_path(name).replace(".", "_")


def from_kohya(module: str) -> ModuleName | None:
    """Reads both families' names, and names of SDXL that are spelt as those of SD1.5, or the other way round."""
    for prefix, network in _KOHYA.items():
        if module.startswith(prefix):
            path = unflattened(module.removeprefix(prefix))
            return None if path is None else _layer(network, path)
    return None


def lycoris(name: ModuleName) -> str:
    """The module's part of a key, before the first dot; it does not tell the text encoders apart."""
    return _LYCORIS + file_path(name).replace(".", "_")


def from_lycoris(module: str) -> ModuleName | None:
    """A text encoder's layer is taken for one of `text_encoder`."""
    path = unflattened(module.removeprefix(_LYCORIS))
    return None if path is None else _layer("unet", path) or _layer("text_encoder", path)


def diffusers(name: ModuleName) -> str:
    """The key without its ending."""
    return f"{name.network}.{file_path(name)}"


def from_diffusers(module: str) -> ModuleName | None:
    """Without a network's name in front, the UNet's."""
    network, _, path = module.partition(".")
    return _layer(network, path) if network in NETWORKS else _layer("unet", module)


def peft(name: ModuleName) -> str:
    """The key without its ending, in the directory of the network.

    With the names of transformers 5: PEFT brings those of older files over for LoRA, but not for LoHa and LoKr.
    """
    return PEFT_PREFIX + name.path


def from_peft(module: str, network: str) -> ModuleName | None:
    """`network` is the directory's."""
    return _layer(network, module.removeprefix(PEFT_PREFIX))
