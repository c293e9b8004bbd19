"""What docs/decisions/0015 lays down: rows, lengths, seeds and rates of `bench/quality.py`, and how a rate is chosen. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

BATCH = 4
BASELINE_STEPS, OUR_STEPS, SAVES = 240, 120, 3
"""Ours has half as many; each is measured after every third."""
TUNING_SEED, SEEDS = 0, (1, 2, 3, 4, 5)
THRESHOLD = 50.0
"""Percent of the prompts of what is taught, to which steps and seconds are counted."""
DEFAULT_RATE = 1e-4
BASELINE_RATES = (DEFAULT_RATE, 3e-4, 1e-3, 3e-3, 1e-2)
TYPE_RATES = (5e-4, 1e-3, 2e-3)
ABLATION_SEEDS = (1, 2, 3)

# fmt: off
DEMO = {
    "adapter.type": "lora", "adapter.rank": "16", "adapter.alpha": "16", "adapter.targets": "all",
    "unet.learning_rate": "2e-3", "text_encoder.train": "true", "text_encoder.learning_rate": "1e-3",
    "optimization.schedule": "cosine",
}
# fmt: on
"""Of the demo's job (docs/decisions/0008), as `loramill job submit --set` takes it; all else is the service's presets'."""


@dataclass(frozen=True, kw_only=True)
class OurRow:
    """One of our adapters."""

    name: str
    title: str
    changes: tuple[tuple[str, str], ...]
    mirrored: bool = True
    prior: bool = True
    steps: int = OUR_STEPS


@dataclass(frozen=True, kw_only=True)
class BaselineRow:
    """diffusers' script at one rate."""

    name: str
    title: str
    rate: float
    steps: int = BASELINE_STEPS


Row = OurRow | BaselineRow


def ours(name: str, title: str, *, mirrored: bool = True, prior: bool = True, **changes: str) -> OurRow:
    """The demo's adapter with changes; two underscores stand for a dot in the name of a field."""
    changed = DEMO | {field.replace("__", "."): value for field, value in changes.items()}
    kept = tuple((field, value) for field, value in changed.items() if value)
    return OurRow(name=name, title=title, changes=kept, mirrored=mirrored, prior=prior)


def baseline(rate: float) -> BaselineRow:
    return BaselineRow(name=f"diffusers-{rate:g}", title=f"diffusers' script, rate {rate:g}", rate=rate)


def at_rate(row: OurRow, rate: float) -> OurRow:
    """With this rate of the UNet's layers, and half of it for the text encoder's, as the demo has them."""
    rates = {"unet.learning_rate": f"{rate:g}", "text_encoder.learning_rate": f"{rate / 2:g}"}
    return replace(row, name=f"{row.name}-{rate:g}", changes=tuple((dict(row.changes) | rates).items()))


OURS = ours("lora", "LoRA, ours")
BASELINES = tuple(baseline(rate) for rate in BASELINE_RATES)
DEFAULT = BASELINES[0]

# fmt: off
TYPES = (
    ours("loha",   "LoHa, rank 8",            adapter__type="loha",   adapter__rank="8", adapter__alpha="8",
         adapter__conv_rank="8", adapter__conv_alpha="8"),
    ours("lokr",   "LoKr, factor 2, full",    adapter__type="lokr",   adapter__rank="",  adapter__alpha="",
         adapter__lokr__factor="2", adapter__lokr__full_matrix="true"),
    ours("dylora", "DyLoRA, rank 16, frozen", adapter__type="dylora", adapter__dylora__unit="4"),
)
"""Their rates are chosen from TYPE_RATES. LoCon on all layers is the same adapter as LoRA on all layers."""

ABLATIONS = (
    ours("no-prior",     "no prior preservation",            prior=False),
    ours("not-mirrored", "not mirrored",                     mirrored=False),
    ours("frozen-words", "text encoder frozen",              text_encoder__train="false", text_encoder__learning_rate=""),
    ours("constant",     "constant rate",                    optimization__schedule="constant"),
    ours("attention",    "attention and MLP only",           adapter__targets="attention_mlp"),
    ours("lora-plus",    "LoRA+, ratio 16, a quarter of the rate", adapter__lora_plus_ratio="16", unet__learning_rate="5e-4",
         text_encoder__learning_rate="2.5e-4"),
    ours("min-snr",      "min-SNR, gamma 5",                 loss__min_snr_gamma="5"),
)
"""Each changes one thing of OURS."""
# fmt: on


def saves_of(row: Row) -> tuple[int, ...]:
    """The steps after which a row is measured."""
    return tuple(row.steps * part // SAVES for part in range(1, SAVES + 1))


def chosen_rate(losses: Mapping[float, float]) -> float:
    """The rate with the lowest validation loss at the end; the lower one of equals."""
    return min(sorted(losses), key=lambda rate: losses[rate])


def reached(places: Sequence[float], values: Sequence[float], wanted: float, *, rising: bool) -> float | None:
    """Where a quantity first is at `wanted`, read off linearly between `places`; None if it never is."""
    sign = 1 if rising else -1
    for place in range(len(values)):
        if sign * (values[place] - wanted) >= 0:
            if place == 0:
                return float(places[0])
            share = (wanted - values[place - 1]) / (values[place] - values[place - 1])
            return float(places[place - 1] + share * (places[place] - places[place - 1]))
    return None
