"""Files that a configuration names and that belong to it: `--config_file`, prompts to preview, OneTrainer's concepts and samples.

Pure but for `read`, which gives a file's text by the name that the configuration has for it, None where there is none.
"""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

from loramill.foreign.importing import flattened

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Read = Callable[[str], str | None]

_LISTS = {"concept_file_name": "concepts", "sample_definition_file_name": "samples"}
PROMPTS = "sample_prompts"
"""kohya's file of prompts; its lines take the key's place."""


def with_companions(values: Mapping[str, Any], read: Read) -> dict[str, Any]:
    """The values, with those of the files in the place of the files' names. What cannot be read stays a name."""
    merged = {**_configuration(values, read), **values}
    for key, name in _LISTS.items():
        entries = _json_list(merged, key, read) if not any(other.startswith(f"{name}[") for other in merged) else None
        if entries:
            merged.pop(key)
            merged |= flattened({name: entries})
    if isinstance(merged.get(PROMPTS), str):
        text = read(merged[PROMPTS])
        if text is not None:
            merged[PROMPTS] = [prompt for line in text.splitlines() if (prompt := parse_prompt(line))]
    return merged


def parse_prompt(line: str) -> dict[str, Any]:
    """`a cat --n blurry --d 1 --l 7.5 --s 20 --w 512` → prompt, negative_prompt, seed, guidance_scale, inference_steps; nothing
    of comments and empty lines. Sizes are left out: previews have one."""
    line = line.strip()
    if not line or line.startswith("#"):
        return {}
    prompt, _, rest = line.partition(" --")
    found: dict[str, Any] = {"prompt": prompt.strip()}
    options = re.split(r"\s--(?=[a-z]+\s)", f" --{rest}") if rest else []
    for option in options[1:]:
        name, _, value = option.partition(" ")
        if name == "n":
            found["negative_prompt"] = value.strip()
        elif name == "d" and value.strip().isdecimal():
            found["seed"] = int(value)
        elif name in ("l", "s") and re.fullmatch(r"[\d.]+", value.strip()):
            found["guidance_scale" if name == "l" else "inference_steps"] = float(value)
    return found


def _configuration(values: Mapping[str, Any], read: Read) -> dict[str, Any]:
    """What stands in `--config_file`, over which the command line's own arguments count."""
    name = values.get("config_file")
    if not isinstance(name, str):
        return {}
    text = read(name if name.endswith(".toml") else f"{name}.toml")
    try:
        parsed = tomllib.loads(text or "")
    except tomllib.TOMLDecodeError:
        return {}
    found: dict[str, Any] = {}
    for key, value in parsed.items():
        found |= value if isinstance(value, dict) else {key: value}
    return found


def _json_list(values: Mapping[str, Any], key: str, read: Read) -> list[dict[str, Any]] | None:
    name = values.get(key)
    text = read(name) if isinstance(name, str) and name else None
    try:
        parsed = json.loads(text) if text is not None else None
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, list) and all(isinstance(entry, dict) for entry in parsed) else None
