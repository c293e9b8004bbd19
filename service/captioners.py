"""Models that caption pictures: which files of them are taken, and what their configuration says they are. Pure but for reading.

They are folders as transformers saves them, their weights as safetensors. Code that comes with a model is never run, and neither
are pickles.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from service.families import CAPTIONER, Found
from service.layout import LICENSES
from service.safetensors_header import HeaderError, read_header

CONFIG, WEIGHTS = "config.json", "model.safetensors"
PROCESSORS = ("preprocessor_config.json", "processor_config.json")
"""What says how a picture is shown to the model; base models for training have neither."""

_OPTIONAL = (
    *PROCESSORS,
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
    *LICENSES,
)
_LARGEST_JSON = 16 << 20

FORMS = {
    "tags": ("ForImageClassification",),
    "sentences": ("ForConditionalGeneration", "ForCausalLM", "ForImageTextToText", "VisionEncoderDecoderModel"),
}
"""What models make of a picture, by the end of their class's name; the trainer loads the same."""


def is_captioner(names: Collection[str]) -> bool:
    """Whether files of these names are a captioner's, if they are anything's."""
    return CONFIG in names and any(name in names for name in PROCESSORS)


def files_of(names: Collection[str]) -> list[str]:
    """All that is taken but the weights."""
    return [CONFIG, *(name for name in _OPTIONAL if name in names)]


def examine_captioner(files: Mapping[str, Path]) -> tuple[Found | None, list[str]]:
    """What the captioner is, or every reason why it cannot be used, a sentence each. `files` by name."""
    config, problems = _config(files[CONFIG]), list[str]()
    form = None
    if config is None:
        problems.append(f"{CONFIG} is no readable JSON object; download it again.")
    else:
        problems += _problems_of(config)
        form = form_of(config)
    try:
        if WEIGHTS not in files:
            problems.append(f"{WEIGHTS} is missing; a captioner as transformers saves it has it.")
        elif not read_header(files[WEIGHTS]).tensors:
            problems.append(f"{WEIGHTS} holds no tensor; download it again.")
    except HeaderError as error:
        problems.append(f"{WEIGHTS} {error}.")
    if problems or form is None:
        return None, problems
    return Found(CAPTIONER, 0, "", caption_form=form), []


def form_of(config: Mapping[str, Any]) -> str | None:
    """`tags` or `sentences`; None for a model that does neither."""
    kinds = config.get("architectures")
    for kind in kinds if isinstance(kinds, list) else ():
        for form, endings in FORMS.items():
            if str(kind).endswith(endings):
                return form
    return None


def _problems_of(config: Mapping[str, Any]) -> Iterator[str]:
    if "auto_map" in config:
        yield (
            "The captioner needs code of its own (auto_map in config.json), which is never run; import a model that transformers "
            "itself knows, such as the converted form of the same."
        )
    if form_of(config) is None:
        known = ", ".join(ending for endings in FORMS.values() for ending in endings)
        yield (
            f"{CONFIG} says that the model is {str(config.get('architectures'))[:100]}, which does not caption pictures; import "
            f"one of a kind that ends in {known}, or a base model in the diffusers layout."
        )


def _config(path: Path) -> dict[str, Any] | None:
    try:
        if path.stat().st_size > _LARGEST_JSON:
            return None
        config = json.loads(path.read_bytes())
    except (ValueError, RecursionError, OSError):
        return None
    return config if isinstance(config, dict) else None
