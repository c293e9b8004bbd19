"""The samplers that previews can be drawn with: diffusers' scheduler for each, and what other programs call it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

SamplerName = Literal[
    "base", "ddim", "euler", "euler_ancestral", "heun", "dpm_plus_plus_2m", "dpm_plus_plus_2m_karras", "unipc"
]


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """One sampler."""

    scheduler: str
    """diffusers' class; empty for the base model's own."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What its configuration has else than the base's own scheduler."""
    a1111: str
    comfyui: tuple[str, str]
    """KSampler's `sampler_name` and `scheduler`."""


# fmt: off
SAMPLERS: Mapping[SamplerName, Sampler] = {
    # Other programs do not read the base's scheduler; DDIM is nearest to those that bases come with.
    "base":                    Sampler(scheduler="", a1111="DDIM", comfyui=("ddim", "normal")),
    "ddim":                    Sampler(scheduler="DDIMScheduler", a1111="DDIM", comfyui=("ddim", "normal")),
    "euler":                   Sampler(scheduler="EulerDiscreteScheduler", a1111="Euler", comfyui=("euler", "normal")),
    "euler_ancestral":         Sampler(scheduler="EulerAncestralDiscreteScheduler", a1111="Euler a",
                                       comfyui=("euler_ancestral", "normal")),
    "heun":                    Sampler(scheduler="HeunDiscreteScheduler", a1111="Heun", comfyui=("heun", "normal")),
    "dpm_plus_plus_2m":        Sampler(scheduler="DPMSolverMultistepScheduler", a1111="DPM++ 2M", comfyui=("dpmpp_2m", "normal"),
                                       options={"algorithm_type": "dpmsolver++", "solver_order": 2}),
    "dpm_plus_plus_2m_karras": Sampler(scheduler="DPMSolverMultistepScheduler", a1111="DPM++ 2M Karras",
                                       comfyui=("dpmpp_2m", "karras"),
                                       options={"algorithm_type": "dpmsolver++", "solver_order": 2, "use_karras_sigmas": True}),
    "unipc":                   Sampler(scheduler="UniPCMultistepScheduler", a1111="UniPC", comfyui=("uni_pc", "normal")),
}
# fmt: on


def scheduler_for(name: SamplerName, own: Any) -> Any:
    """diffusers' scheduler on the noise schedule of the base's `own`, which stays as it is."""
    sampler = SAMPLERS[name]
    if not sampler.scheduler:
        return own
    import diffusers

    return getattr(diffusers, sampler.scheduler).from_config(own.config, **sampler.options)
