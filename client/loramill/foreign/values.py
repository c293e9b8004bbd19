"""Words and numbers that several programs write alike, as ours. Each raises Unlike for what has no counterpart. Pure."""

from __future__ import annotations

import re
from typing import Any

from loramill.foreign.rows import Unlike

_OPTIMIZERS = {
    "adamw": "adamw",
    "adam": "adamw",
    "adamw8bit": "adamw_8bit",
    "adam8bit": "adamw_8bit",
    "adamw_8bit": "adamw_8bit",
    "adam_8bit": "adamw_8bit",
    "pagedadamw8bit": "adamw_8bit",
    "pagedadamw": "adamw",
    "pagedadamw32bit": "adamw",
    "adafactor": "adafactor",
    "lion": "lion",
    "lion8bit": "lion",
    "lion_8bit": "lion",
    "pagedlion8bit": "lion",
    "prodigy": "prodigy",
    "prodigyopt": "prodigy",
    "prodigy_plus_schedule_free": "prodigy",
    "adamwschedulefree": "schedule_free_adamw",
    "schedule_free_adamw": "schedule_free_adamw",
    "schedulefree_adamw": "schedule_free_adamw",
}
_ADAPTIVE = ("dadapt", "dadaptation", "dadaptadam", "dadaptlion", "dadaptsgd", "dadaptadan", "dadaptadagrad")

_SCHEDULES = {
    "constant": "constant",
    "constant_with_warmup": "constant",
    "linear": "linear",
    "cosine": "cosine",
    "cosine_with_restarts": "cosine_with_restarts",
    "cosine_with_hard_restarts": "cosine_with_restarts",
    "polynomial": "polynomial",
    "rex": "rex",
}
_SAMPLERS = {
    "ddim": "ddim",
    "euler": "euler",
    "eulerdiscrete": "euler",
    "eulera": "euler_ancestral",
    "eulerancestraldiscrete": "euler_ancestral",
    "heun": "heun",
    "heundiscrete": "heun",
    "dpmpp": "dpm_plus_plus_2m",
    "dpmpp2m": "dpm_plus_plus_2m",
    "dpmsolver++": "dpm_plus_plus_2m",
    "dpmsolvermultistep": "dpm_plus_plus_2m",
    "dpmppkarras": "dpm_plus_plus_2m_karras",
    "unipc": "unipc",
    "unipcmultistep": "unipc",
}

_PRECISIONS = {
    **dict.fromkeys(("no", "fp32", "float", "float32", "float_32", "none"), "fp32"),
    **dict.fromkeys(("fp16", "float16", "float_16", "half"), "fp16"),
    **dict.fromkeys(("bf16", "bfloat16", "bfloat_16"), "bf16"),
}


def optimizer(value: Any) -> str:
    """The optimizer of a name, in any case; the last part of a class's full name counts."""
    name = str(value).lower().rpartition(".")[2]
    if name in _OPTIMIZERS:
        return _OPTIMIZERS[name]
    if name.startswith(_ADAPTIVE):
        raise Unlike(f"is {value}; nearest is optimization.optimizer: prodigy, which finds its rate too")
    raise Unlike(f"is {value}; nearest is optimization.optimizer: adamw")


def schedule(value: Any) -> str:
    name = str(value).lower()
    if name in _SCHEDULES:
        return _SCHEDULES[name]
    raise Unlike(f"is {value}; nearest is optimization.schedule: cosine")


def precision(value: Any) -> str:
    name = str(value).lower()
    if name in _PRECISIONS:
        return _PRECISIONS[name]
    raise Unlike(f"is {value}; nearest is bf16")


def output_name(value: Any) -> str:
    """Letters, digits, `.`, `_`, `-`; others become `-`."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", re.split(r"[\\/]", str(value))[-1]).strip("-")[:100]
    return re.sub(r"\.(safetensors|pt|ckpt)$", "", name) or "adapter"


def whole_ratio(value: Any) -> int:
    """A number of steps; a share of the whole is not known before the start."""
    number = float(value)
    if 0 < number < 1:
        raise Unlike(f"is {value:g} of all steps, which are not known here; give optimization.warmup_steps")
    return int(number)


def sampler(value: Any) -> str:
    """The sampler of previews."""
    name = str(value).lower().replace("_", "").replace(" ", "").removeprefix("k").removesuffix("scheduler")
    if name not in _SAMPLERS:
        raise Unlike(f"is {value}, which draws no previews here; they are drawn by the base's own scheduler")
    return _SAMPLERS[name]


def not_none(value: Any) -> Any:
    """A number, where 0 and nothing mean the same."""
    return 0 if value in (None, "", "None") else value


def truth(value: Any) -> bool:
    return value if isinstance(value, bool) else str(value).strip().lower() in ("true", "1", "yes", "on")


def pairs(value: Any) -> dict[str, str]:
    """`["a=1", "b=2"]`, or the same in one text → a mapping."""
    items = value if isinstance(value, list) else re.split(r"\s+", str(value).strip())
    return {
        key.strip(): text.strip() for key, _, text in (str(item).strip("\"'").partition("=") for item in items) if key
    }
