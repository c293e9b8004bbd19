"""What the command line says, as plain data; nothing here loads torch."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainer.errors import UserError

Format = Literal["kohya", "diffusers", "peft"]
Precision = Literal["fp32", "bf16", "fp16"]

UNBOUNDED = sys.maxsize
"""A rank that no layer has."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How far each layer is reduced: to the lowest rank that keeps a share of its energy, and never above the largest."""

    rank: int = UNBOUNDED
    conv_rank: int = UNBOUNDED
    """Of a convolution wider than 1x1."""
    keep: float = 1.0

    def said(self) -> dict[str, float]:
        """Those that bound anything, by name."""
        found: dict[str, float] = {"rank": self.rank} if self.rank < UNBOUNDED else {}
        if self.conv_rank != self.rank:
            found["conv_rank"] = self.conv_rank
        return found | ({"keep": self.keep} if self.keep < 1 else {})


@dataclass(frozen=True)
class Weighted:
    """An adapter that is merged."""

    path: Path
    weight: float
    """What its change is multiplied by."""


def weighted(text: str) -> Weighted:
    """`file.safetensors:0.7`, or a path alone for 1; raises UserError for a weight that is no finite number."""
    path, colon, number = text.rpartition(":")
    if not colon or Path(text).exists():
        return Weighted(Path(text), 1.0)
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise UserError(f"{text} ends in {number!r}, which is no number to multiply an adapter by; write ADAPTER:0.7.")
    return Weighted(Path(path), weight)
