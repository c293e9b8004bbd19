"""The files of a base model in the diffusers layout, or of a captioner, on this machine: what they say that it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.captioners import examine_captioner, is_captioner
from service.families import Found, Layout, examine, other_family, unsupported
from service.importing.problems import unsuitable
from service.layout import CONFIG_FILES, WEIGHT_FILES, components_of, config_files
from service.safetensors_header import Header, HeaderError, read_header

_LARGEST_JSON = 16 << 20


def inspect(files: Mapping[str, Path]) -> Found:
    """`files` by their place in the layout. Raises ImportFailed with everything that is wrong with them."""
    if is_captioner(files.keys()):
        found, problems = examine_captioner(files)
        if found is None:
            raise unsuitable(problems)
        return found
    problems = []
    headers = {
        component: _header(WEIGHT_FILES[component], files, problems) for component in components_of(files.keys())
    }
    wanted = {component: name for component, name in CONFIG_FILES.items() if name in config_files(files.keys())}
    configs = {component: read_config(name, files, problems) for component, name in wanted.items()}
    folders = frozenset(name.partition("/")[0] for name in files if "/" in name)
    found = None
    unet, vae, text_encoder = headers["unet"], headers["vae"], headers["text_encoder"]
    if unet and vae and text_encoder and all(config is not None for config in configs.values()):
        whole = {component: config for component, config in configs.items() if config is not None}
        found, more = examine(Layout(folders, unet, vae, text_encoder, whole, headers.get("text_encoder_2")))
        problems += more
    elif family := other_family(folders, unet):
        problems.append(unsupported(family))
    if problems or found is None:
        raise unsuitable(problems)
    return found


def read_config(name: str, files: Mapping[str, Path], problems: list[str]) -> Mapping[str, Any] | None:
    """The JSON object in this place, or None and one more problem."""
    if name not in files:
        problems.append(f"{name} is missing; a base model in the diffusers layout has it.")
        return None
    try:
        if files[name].stat().st_size > _LARGEST_JSON:
            raise ValueError
        config = json.loads(files[name].read_bytes())
        if not isinstance(config, dict):
            raise ValueError
    except (ValueError, RecursionError, OSError):
        problems.append(f"{name} is no readable JSON object; download it again.")
        return None
    return config


def _header(name: str, files: Mapping[str, Path], problems: list[str]) -> Header | None:
    if name not in files:
        problems.append(f"{name} is missing; a base model in the diffusers layout has it.")
        return None
    try:
        return read_header(files[name])
    except (HeaderError, OSError) as error:
        problems.append(f"{name} {error}.")
        return None
