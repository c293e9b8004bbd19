"""Every family that this trainer knows. A family is imported only when a job needs it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import cast

import torch

from trainer.config import TrainConfig
from trainer.errors import UserError
from trainer.families.base import Base, BaseOptions

FAMILIES = {
    "sd15": "trainer.families.sd15:Sd15Base",
    "sd2": "trainer.families.sd2:Sd2Base",
    "sdxl": "trainer.families.sdxl:SdxlBase",
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


def options_of(config: TrainConfig) -> BaseOptions:
    """What a job wants else than the base model says."""
    return BaseOptions(
        clip_skip=config.clip_skip,
        prediction_type=config.prediction_type,
        zero_terminal_snr=config.zero_terminal_snr,
        max_tokens=config.text.max_tokens,
    )
