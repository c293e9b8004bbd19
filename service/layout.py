"""The diffusers layout of a base model: which files stand where. Names are relative to the base model's folder, with `/`."""

from __future__ import annotations

from collections.abc import Collection

WEIGHT_FILES = {
    "unet": "unet/diffusion_pytorch_model.safetensors",
    "vae": "vae/diffusion_pytorch_model.safetensors",
    "text_encoder": "text_encoder/model.safetensors",
    "text_encoder_2": "text_encoder_2/model.safetensors",
}
CONFIG_FILES = {
    "unet": "unet/config.json",
    "vae": "vae/config.json",
    "text_encoder": "text_encoder/config.json",
    "text_encoder_2": "text_encoder_2/config.json",
    "scheduler": "scheduler/scheduler_config.json",
}
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle")
"""How files end that run code when they are loaded: none ever is."""
MODEL_INDEX = "model_index.json"
LICENSES = ("LICENSE", "LICENSE.md", "LICENSE.txt")

_TOKENIZER_KINDS = (("vocab.json", "merges.txt"), ("tokenizer.json",))
"""transformers 4 saves the first kind, transformers 5 the second alone; either will do."""
_TOKENIZER_EXTRAS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_SECOND = frozenset({"text_encoder_2", "tokenizer_2"})
"""What SDXL alone has."""


def components_of(names: Collection[str]) -> tuple[str, ...]:
    """The networks that a base with these files has, or should have."""
    return tuple(component for component in WEIGHT_FILES if component not in _SECOND or _has_second(names))


def config_files(names: Collection[str]) -> tuple[str, ...]:
    """The configurations that a base with these files must have."""
    return tuple(name for component, name in CONFIG_FILES.items() if component not in _SECOND or _has_second(names))


def tokenizers_of(names: Collection[str]) -> tuple[str, ...]:
    """The folders of the tokenizers that a base with these files must have."""
    return ("tokenizer", "tokenizer_2") if _has_second(names) else ("tokenizer",)


def tokenizer_files(tokenizer: str) -> tuple[str, ...]:
    """All that is taken of a tokenizer, if it is there."""
    names = [*(name for kind in _TOKENIZER_KINDS for name in kind), *_TOKENIZER_EXTRAS]
    return tuple(f"{tokenizer}/{name}" for name in names)


def lacks_tokenizer(tokenizer: str, names: Collection[str]) -> str:
    """A sentence on a tokenizer that is missing; empty if it is there."""
    if any(all(f"{tokenizer}/{name}" in names for name in kind) for kind in _TOKENIZER_KINDS):
        return ""
    either = " or ".join(" and ".join(f"{tokenizer}/{name}" for name in kind) for kind in _TOKENIZER_KINDS)
    return f"The tokenizer is missing: a base model in the diffusers layout has {either}."


def _has_second(names: Collection[str]) -> bool:
    return any(name.partition("/")[0] in _SECOND for name in names)
