"""Learning-rate schedules as diffusers' scheduler factory knows them, by the keys that a program gives them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loramill.foreign.rows import Unlike
from loramill.foreign.values import schedule, whole_ratio

if TYPE_CHECKING:
    from loramill.foreign.draft import Draft


def set_schedule(draft: Draft, name_key: str, warmup_key: str, cycles_key: str, power_key: str) -> None:
    """Schedule, warm-up, cycles and power. `constant` has no warm-up there; one cycle of restarts is a cosine."""
    name = str(draft.get(name_key)).lower()
    cycles = int(float(draft.get(cycles_key) or 1))
    try:
        chosen = schedule(name)
    except Unlike as error:
        draft.told(name_key, "unsupported", f"{error}.")
        return
    if chosen == "cosine_with_restarts" and cycles < 2:
        draft.set("optimization.schedule", "cosine", name_key, "one cycle is a cosine")
    else:
        draft.set("optimization.schedule", chosen, name_key)
        if chosen == "cosine_with_restarts":
            draft.set("optimization.schedule_cycles", cycles, cycles_key)
    if chosen == "polynomial":
        draft.set("optimization.schedule_power", draft.get(power_key) or 1, power_key)
    try:
        steps = 0 if name == "constant" else whole_ratio(draft.get(warmup_key) or 0)
    except Unlike as error:
        draft.told(warmup_key, "unsupported", f"{error}.")
        return
    draft.set(
        "optimization.warmup_steps", steps, warmup_key, "constant has no warm-up there" if name == "constant" else ""
    )
