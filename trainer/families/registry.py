"""Every family that this trainer knows. A family is imported only when a job needs it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import cast

import torch

from trainer.errors import UserError
from trainer.families.base import Base, BaseOptions

FAMILIES = {
    "sd15": "trainer.families.sd15:Sd15Base",
}
_AS_THE_BASE = BaseOptions()


def load_base(
    family: str, folder: Path, device: torch.device, dtype: torch.dtype, options: BaseOptions = _AS_THE_BASE
) -> Base:
    """The base model in `folder`, for the device; raises UserError for an unknown family or an unusable folder."""
    if family not in FAMILIES:
        raise UserError(f"Family {family!r} is not supported by this trainer; it can do: {', '.join(FAMILIES)}.")
    module, _, name = FAMILIES[family].partition(":")
    return cast("Base", getattr(importlib.import_module(module), name)(folder, device, dtype, options))
