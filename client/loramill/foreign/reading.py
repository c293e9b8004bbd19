"""Reads a configuration of another program: which program's it is, and its keys with their values. Pure.

Command lines are read as a shell would, without running anything: quotation marks, `\\` and `^` at line ends, `#` comments,
`NAME=value` lines, whose variables are then filled in.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from typing import TYPE_CHECKING, Any

import yaml

from loramill.errors import SpecError
from loramill.foreign.ai_toolkit import AI_TOOLKIT
from loramill.foreign.diffusers_scripts import DIFFUSERS
from loramill.foreign.importing import flattened
from loramill.foreign.kohya import KOHYA
from loramill.foreign.onetrainer import ONETRAINER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loramill.foreign.draft import Program

PROGRAMS = (KOHYA, AI_TOOLKIT, ONETRAINER, DIFFUSERS)
_KOHYA_SCRIPTS = re.compile(r"(?:^|[\\/])(?:sdxl_)?train_network\.py$")
_DIFFUSERS_SCRIPTS = re.compile(r"train_(?:text_to_image_lora|dreambooth_lora)(?:_sdxl)?\.py$")
_SCRIPT = re.compile(r"[\w./\\:~-]*\.py$")
_ASSIGNMENT = re.compile(r"^\s*(?:export\s+|set\s+)?([A-Za-z_]\w*)=(.*)$")
_VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*)\}?|%([A-Za-z_]\w*)%")


def read_configuration(name: str, text: str) -> tuple[Program, dict[str, Any]]:
    """The program and the values by full key. Raises SpecError for what is none of those that are read."""
    ending = name.lower().rpartition(".")[2]
    if ending == "toml":
        return KOHYA, _toml(name, text)
    if ending == "json":
        return ONETRAINER, _onetrainer(name, text)
    if ending in ("yaml", "yml"):
        return AI_TOOLKIT, _ai_toolkit(name, text)
    return _command_line(name, text)


def _toml(name: str, text: str) -> dict[str, Any]:
    """Sections are only for the eye there: keys count without them."""
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{name} cannot be used:", [f"it is not TOML: {error}; correct it there."]) from None
    if "datasets" in parsed:
        raise SpecError(
            f"{name} is a dataset configuration: make a dataset of it with loramill dataset create {name}, and import the "
            "training's own arguments or --config_file.",
            [],
        )
    values: dict[str, Any] = {}
    for key, value in parsed.items():
        values |= value if isinstance(value, dict) else {key: value}
    return values


def _onetrainer(name: str, text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{name} cannot be used:", [f"it is not JSON: {error}; correct it there."]) from None
    if not isinstance(parsed, dict) or not ({"training_method", "model_type", "__version"} & set(parsed)):
        raise SpecError(
            f"{name} is no configuration of OneTrainer; of kohya's GUI, print the training command and import that.", []
        )
    if isinstance(parsed.get("optimizer"), str):  # before version 1, keys were flat
        parsed["optimizer"] = {"optimizer": parsed["optimizer"]}
    return flattened(parsed)


def _ai_toolkit(name: str, text: str) -> dict[str, Any]:
    try:
        parsed = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise SpecError(f"{name} cannot be used:", [f"it is not YAML: {' '.join(str(error).split())}"]) from None
    config = parsed.get("config") if isinstance(parsed, dict) else None
    processes = config.get("process") if isinstance(config, dict) else None
    if (
        not isinstance(config, dict)
        or not isinstance(processes, list)
        or not processes
        or not isinstance(processes[0], dict)
    ):
        raise SpecError(f"{name} is no configuration of ai-toolkit: it has no config.process.", [])
    values = flattened({key: value for key, value in parsed.items() if key != "config"})
    values |= {f"config.{key}": value for key, value in config.items() if key != "process"}
    return values | flattened(processes[0])


def _command_line(name: str, text: str) -> tuple[Program, dict[str, Any]]:
    try:
        words = list(_words(text))
    except ValueError as error:
        raise SpecError(f"{name} cannot be used:", [f"it is no command line: {error}"]) from None
    scripts = [(place, word) for place, word in enumerate(words) if _SCRIPT.search(word)]
    for place, word in scripts:
        if _KOHYA_SCRIPTS.search(word):
            return KOHYA, {"script": word} | _arguments(words[:place]) | _arguments(words[place + 1 :])
        if _DIFFUSERS_SCRIPTS.search(word):
            return DIFFUSERS, {"script": word} | _arguments(words[:place]) | _arguments(words[place + 1 :])
    if scripts:
        found = ", ".join(word for _, word in scripts)
        raise SpecError(
            f"{name} runs {found}, which is not read; of kohya's scripts train_network.py and sdxl_train_network.py are, of "
            "diffusers' train_text_to_image_lora.py, train_dreambooth_lora.py and both with _sdxl.",
            [],
        )
    values = _arguments(words)
    if not values:
        raise SpecError(f"{name} has no arguments such as --learning_rate 1e-4, and names no training script.", [])
    kohya = "network_module" in values or "network_dim" in values
    return (KOHYA if kohya else DIFFUSERS), values


def _words(text: str) -> Iterator[str]:
    """The words of the commands in a text, variables filled in."""
    variables: dict[str, str] = {}
    joined = re.sub(r"[\\^`]\s*\r?\n", " ", text)
    for line in joined.splitlines():
        if line.lstrip().lower().startswith(("#", "rem ", "::")):
            continue
        filled = _VARIABLE.sub(lambda match: variables.get(match[1] or match[2], match[0]), line)
        assignment = _ASSIGNMENT.match(filled)
        if assignment:
            variables[assignment[1]] = " ".join(shlex.split(assignment[2], comments=True))
        else:
            yield from shlex.split(filled, comments=True, posix=True)


def _arguments(words: list[str]) -> dict[str, Any]:
    """`--key value`, `--key=value`, `--key a b`, `--flag` → values by key; numbers stay as they were written."""
    values: dict[str, Any] = {}
    key = ""
    for word in words:
        if re.match(r"--[A-Za-z]", word):
            key, equals, text = word[2:].partition("=")
            key = key.replace("-", "_")
            values[key] = _scalar(text) if equals else True
        elif key:
            before = values[key]
            values[key] = (
                _scalar(word)
                if before is True
                else [*(before if isinstance(before, list) else [before]), _scalar(word)]
            )
    return values


def _scalar(text: str) -> Any:
    """A number where the text is one; else the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
