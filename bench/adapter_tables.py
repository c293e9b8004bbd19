"""The tables of `bench/adapters.py`, as Markdown. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from bench.adapter_types import PLAIN, SAME_LAYERS, Result, Row
from bench.statistics import estimate, paired


def table(title: str, *headings: str) -> Table:
    """The first column holds words, the others numbers."""
    made = Table(title=title, title_justify="left", box=box.MARKDOWN)
    for place, heading in enumerate(headings):
        made.add_column(heading, justify="right" if place else "left", overflow="fold")
    return made


def rate_table(rows: Sequence[Row], tuned: Mapping[str, Mapping[float, Result]], rates: Mapping[str, float]) -> Table:
    made = table("Seed 0: hearts / known shapes by rate", "adapter", "lowest rate", "middle", "highest", "chosen")
    for row in rows:
        cells = [f"{rate:g}: {one.hearts:.1f} / {one.known:.1f}" for rate, one in tuned[row.name].items()]
        made.add_row(row.title, *cells, f"{rates[row.name]:g}")
    return made


def quality_table(rows: Sequence[Row], results: Mapping[str, Sequence[Result]], rates: Mapping[str, float]) -> Table:
    """Means over seeds ± half of the 95 % interval; differences are paired by seed."""
    headings = ("adapter", "rate", "hearts, %", "known, %", "hearts: to LoRA", "hearts: to LoCon", "known: to LoCon")
    made = table("Over three seeds, ± 95 % by Student's t", *headings)
    hearts = {name: [one.hearts for one in of_row] for name, of_row in results.items()}
    known = {name: [one.known for one in of_row] for name, of_row in results.items()}
    for row in rows:
        differences = [
            "" if row.name == other else str(paired(values[row.name], values[other]))
            for values, other in ((hearts, PLAIN), (hearts, SAME_LAYERS), (known, SAME_LAYERS))
        ]
        estimates = [str(estimate(values[row.name])) for values in (hearts, known)]
        made.add_row(row.title, f"{rates[row.name]:g}", *estimates, *differences)
    return made


def cost_table(rows: Sequence[Row], costs: Mapping[str, Mapping[str, Any]]) -> Table:
    """Ratios to plain LoRA, and to LoCon, which has the layers of the others."""
    headings = (
        "adapter",
        "layers",
        "numbers",
        "step, ms",
        "time / LoRA",
        "time / LoCon",
        "memory, MiB",
        "memory / LoRA",
    )
    made = table("Cost of a step, one thread, fp32", *headings)
    for row in rows:
        cost = costs[row.name]
        made.add_row(
            row.title,
            str(cost["layers"]),
            f"{cost['numbers']:,}",
            f"{cost['milliseconds']:.0f}",
            f"{cost['times'][PLAIN]:.2f}",
            f"{cost['times'][SAME_LAYERS]:.2f}",
            f"{cost['megabytes']:.0f}",
            f"{cost['megabytes'] / costs[PLAIN]['megabytes']:.2f}",
        )
    return made
