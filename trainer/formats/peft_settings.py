"""What PEFT's adapter_config.json says of rank and alpha; diffusers writes the same into the header of its own files."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer.errors import UserError

_LARGEST = 2**31
_PLAIN = re.compile(r"\^?[\w.]+\$?")
_TYPES = {"LORA": "lora_alpha", "LOHA": "alpha", "LOKR": "alpha"}
"""PEFT's types that are read here, and the field of each that holds alpha."""


@dataclass(frozen=True, kw_only=True)
class PeftSettings:
    """Rank and alpha of one network's layers. A pattern is a layer's name or the end of one."""

    rank: int
    alpha: float
    rank_pattern: Mapping[str, float]
    alpha_pattern: Mapping[str, float]
    rank_stabilized: bool

    def rank_of(self, path: str) -> float:
        return _matching(self.rank_pattern, path, self.rank)

    def strength_of(self, path: str) -> float:
        """What ΔW is multiplied by: alpha / r, or alpha / sqrt(r) (rsLoRA)."""
        rank = self.rank_of(path)
        return _matching(self.alpha_pattern, path, self.alpha) / (math.sqrt(rank) if self.rank_stabilized else rank)


def _matching(patterns: Mapping[str, float], path: str, otherwise: float) -> float:
    for pattern, value in patterns.items():
        plain = pattern.removesuffix("$")
        if path == plain.removeprefix("^") or (not plain.startswith("^") and path.endswith(f".{plain}")):
            return value
    return otherwise


def peft_settings(config: Mapping[str, Any], where: str) -> PeftSettings:
    """`where` names the configuration in sentences; raises UserError with everything that is wrong in it."""
    problems = []
    kind = config.get("peft_type", "LORA")
    if kind not in _TYPES:
        problems.append(f"{where} is of PEFT's type {kind!r:.40}; known are {', '.join(_TYPES)}.")
    if config.get("use_dora"):
        problems.append(f"{where} is of a DoRA, whose strength no loader agrees on; train or convert it as a LoRA.")
    field = _TYPES.get(str(kind), "alpha")
    for name in ("r", field):
        if not _is_number(config.get(name), positive=name == "r"):
            problems.append(f"{where} has {name} {config.get(name)!r:.40}, which must be a number.")
    patterns = {name: config.get(name) or {} for name in ("rank_pattern", "alpha_pattern")}
    for name, pattern in patterns.items():
        problems += _pattern_problems(pattern, f"{where} has a {name}", positive=name == "rank_pattern")
    if problems:
        raise UserError(problems)
    return PeftSettings(
        rank=int(config["r"]), alpha=float(config[field]), **patterns, rank_stabilized=bool(config.get("use_rslora"))
    )


def _is_number(value: Any, *, positive: bool) -> bool:
    # NaN and infinity fail the comparison.
    return type(value) in (int, float) and abs(value) < _LARGEST and (value > 0 or not positive)


def _pattern_problems(pattern: Any, beginning: str, *, positive: bool) -> list[str]:
    if not isinstance(pattern, Mapping):
        return [f"{beginning} that is no object."]
    # PEFT takes a pattern for a regular expression; one from anywhere may take for ever.
    strange = [key for key in pattern if not _PLAIN.fullmatch(key)]
    wrong = [key for key, value in pattern.items() if not _is_number(value, positive=positive)]
    return [f"{beginning} for {key!r:.80}, which is not the name of a layer." for key in strange[:3]] + [
        f"{beginning} for {key!r:.80} whose value is no number." for key in wrong[:3]
    ]
