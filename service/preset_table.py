"""The presets: one row per family, adapter type and purpose, each with where it comes from. Pure data.

What is usual in the field for each case. The noise offset of styles, whose brightness matters most, is the one that kohya's
documentation has for sdxl; text encoders of sdxl have a tenth of the UNet's rate, as there and in the guides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from loramill import v1

LORA, LOCON, LOHA, LOKR, DYLORA = (
    v1.ADAPTER_TYPE_LORA,
    v1.ADAPTER_TYPE_LOCON,
    v1.ADAPTER_TYPE_LOHA,
    v1.ADAPTER_TYPE_LOKR,
    v1.ADAPTER_TYPE_DYLORA,
)
SUBJECT, STYLE, CONCEPT = v1.PURPOSE_SUBJECT, v1.PURPOSE_STYLE, v1.PURPOSE_CONCEPT


@dataclass(frozen=True)
class AdapterPreset:
    """One row of the table."""

    rank: int
    alpha_per_rank: float
    conv_rank_per_rank: float
    targets: v1.AdapterTargets.ValueType
    unet_rate: float
    text_encoder_rate: float
    steps: int
    noise_offset: float
    source: str


KOHYA = "kohya-ss/sd-scripts, documentation"
LYCORIS = "KohakuBlueleaf/LyCORIS, example configurations"
CHARACTERS = "Civitai article 9148 and SeaArt's guide, characters"
STYLES = "Civitai article 8713 and SeaArt's guide, styles"
KOHYA_CHARACTERS = f"{KOHYA}; steps: {CHARACTERS}"
LYCORIS_CHARACTERS = f"{LYCORIS}; steps: {CHARACTERS}"
LYCORIS_STYLES = f"{LYCORIS}; steps: {STYLES}"

_ATTENTION_MLP, _ALL = v1.ADAPTER_TARGETS_ATTENTION_MLP, v1.ADAPTER_TARGETS_ALL

# fmt: off
_ROWS: Mapping[tuple[str, v1.AdapterType.ValueType, v1.Purpose.ValueType], AdapterPreset] = {
    #                                        ran α/r  c/r  targets         unet  text  steps offset  source
    ("sd15", LORA, CONCEPT):   AdapterPreset(16, 1.0, 1.0, _ATTENTION_MLP, 1e-4, 5e-5, 1000, 0.0,    KOHYA),
    ("sd15", LORA, SUBJECT):   AdapterPreset(16, 1.0, 1.0, _ATTENTION_MLP, 1e-4, 5e-5, 1500, 0.0,    KOHYA_CHARACTERS),
    ("sd15", LORA, STYLE):     AdapterPreset(32, 1.0, 1.0, _ATTENTION_MLP, 1e-4, 5e-5, 3000, 0.0357, STYLES),
    ("sd15", LOCON, CONCEPT):  AdapterPreset(16, 0.5, 0.5, _ALL,           1e-4, 5e-5, 1000, 0.0,    LYCORIS),
    ("sd15", LOCON, SUBJECT):  AdapterPreset(16, 0.5, 0.5, _ALL,           1e-4, 5e-5, 1500, 0.0,    LYCORIS_CHARACTERS),
    ("sd15", LOCON, STYLE):    AdapterPreset(16, 0.5, 0.5, _ALL,           1e-4, 5e-5, 3000, 0.0357, LYCORIS_STYLES),
    ("sd15", LOHA, CONCEPT):   AdapterPreset(8,  0.5, 0.5, _ATTENTION_MLP, 2e-4, 2e-4, 1000, 0.0,    LYCORIS),
    ("sd15", LOHA, SUBJECT):   AdapterPreset(8,  0.5, 0.5, _ATTENTION_MLP, 2e-4, 2e-4, 1500, 0.0,    LYCORIS_CHARACTERS),
    ("sd15", LOHA, STYLE):     AdapterPreset(8,  0.5, 0.5, _ATTENTION_MLP, 2e-4, 2e-4, 3000, 0.0357, LYCORIS_STYLES),
    ("sd15", LOKR, CONCEPT):   AdapterPreset(8,  0.5, 0.5, _ATTENTION_MLP, 2e-4, 1e-4, 1000, 0.0,    LYCORIS),
    ("sd15", LOKR, SUBJECT):   AdapterPreset(8,  0.5, 0.5, _ATTENTION_MLP, 2e-4, 1e-4, 1500, 0.0,    LYCORIS_CHARACTERS),
    ("sd15", LOKR, STYLE):     AdapterPreset(8,  0.5, 0.5, _ATTENTION_MLP, 2e-4, 1e-4, 3000, 0.0357, LYCORIS_STYLES),
    ("sd15", DYLORA, CONCEPT): AdapterPreset(64, 1.0, 1.0, _ATTENTION_MLP, 1e-4, 5e-5, 1500, 0.0,    LYCORIS),
    ("sd15", DYLORA, SUBJECT): AdapterPreset(64, 1.0, 1.0, _ATTENTION_MLP, 1e-4, 5e-5, 2000, 0.0,    LYCORIS_CHARACTERS),
    ("sd15", DYLORA, STYLE):   AdapterPreset(64, 1.0, 1.0, _ATTENTION_MLP, 1e-4, 5e-5, 4000, 0.0357, LYCORIS_STYLES),
    ("sdxl", LORA, CONCEPT):   AdapterPreset(32, 0.5, 0.5, _ATTENTION_MLP, 1e-4, 1e-5, 1500, 0.0,    KOHYA),
    ("sdxl", LORA, SUBJECT):   AdapterPreset(32, 0.5, 0.5, _ATTENTION_MLP, 3e-4, 3e-5, 2000, 0.0,    CHARACTERS),
    ("sdxl", LORA, STYLE):     AdapterPreset(32, 1.0, 1.0, _ATTENTION_MLP, 1e-4, 1e-5, 3000, 0.0357, STYLES),
    ("sdxl", LOCON, CONCEPT):  AdapterPreset(16, 0.5, 0.5, _ALL,           1e-4, 1e-5, 1500, 0.0,    LYCORIS),
    ("sdxl", LOCON, SUBJECT):  AdapterPreset(16, 0.5, 0.5, _ALL,           1e-4, 1e-5, 2000, 0.0,    LYCORIS_CHARACTERS),
    ("sdxl", LOCON, STYLE):    AdapterPreset(16, 0.5, 0.5, _ALL,           1e-4, 1e-5, 3000, 0.0357, LYCORIS_STYLES),
    ("sdxl", LOHA, CONCEPT):   AdapterPreset(8,  0.5, 0.5, _ATTENTION_MLP, 2e-4, 2e-5, 1500, 0.0,    LYCORIS),
    ("sdxl", LOHA, SUBJECT):   AdapterPreset(8,  0.5, 0.5, _ATTENTION_MLP, 2e-4, 2e-5, 2000, 0.0,    LYCORIS_CHARACTERS),
    ("sdxl", LOHA, STYLE):     AdapterPreset(8,  0.5, 0.5, _ATTENTION_MLP, 2e-4, 2e-5, 3000, 0.0357, LYCORIS_STYLES),
    ("sdxl", LOKR, CONCEPT):   AdapterPreset(8,  0.5, 0.5, _ATTENTION_MLP, 2e-4, 2e-5, 1500, 0.0,    LYCORIS),
    ("sdxl", LOKR, SUBJECT):   AdapterPreset(8,  0.5, 0.5, _ATTENTION_MLP, 2e-4, 2e-5, 2000, 0.0,    LYCORIS_CHARACTERS),
    ("sdxl", LOKR, STYLE):     AdapterPreset(8,  0.5, 0.5, _ATTENTION_MLP, 2e-4, 2e-5, 3000, 0.0357, LYCORIS_STYLES),
    ("sdxl", DYLORA, CONCEPT): AdapterPreset(64, 0.5, 0.5, _ATTENTION_MLP, 1e-4, 1e-5, 2000, 0.0,    LYCORIS),
    ("sdxl", DYLORA, SUBJECT): AdapterPreset(64, 0.5, 0.5, _ATTENTION_MLP, 1e-4, 1e-5, 2500, 0.0,    LYCORIS_CHARACTERS),
    ("sdxl", DYLORA, STYLE):   AdapterPreset(64, 0.5, 0.5, _ATTENTION_MLP, 1e-4, 1e-5, 4000, 0.0357, LYCORIS_STYLES),
}
# fmt: on

_OF_SD2 = {
    ("sd2", adapter_type, purpose): replace(preset, source=f"as sd15: {preset.source}")
    for (family, adapter_type, purpose), preset in _ROWS.items()
    if family == "sd15"
}
"""sd2's UNet has the same layers, and nobody documents others."""

PRESETS = {**_ROWS, **_OF_SD2}

FAMILIES = frozenset(family for family, _, _ in PRESETS)


def preset_for(
    family: str, adapter_type: v1.AdapterType.ValueType, purpose: v1.Purpose.ValueType = CONCEPT
) -> AdapterPreset:
    """KeyError if there is none."""
    return PRESETS[family, adapter_type, purpose]
