"""The tables of `bench/quality.py`, as Markdown, from what is kept of its runs. Pure but for reading them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from bench.adapter_tables import table
from bench.quality_record import Point, Run
from bench.quality_rows import BASELINE_STEPS, OURS, SEEDS, THRESHOLD, Row, reached
from bench.statistics import Interval, bootstrap

Seeds = Mapping[int, Sequence[Point]]
"""The points of one row and task, by seed."""


@dataclass(frozen=True)
class Kept:
    """What was measured on one base."""

    folder: Path

    def seeds(self, task: str, row: Row, seeds: Sequence[int] = SEEDS) -> Seeds:
        """Of those runs that are done."""
        found = {seed: Run(self.folder, task, row, seed).points() for seed in seeds}
        return {seed: points for seed, points in found.items() if points is not None}


def filled(title: str, headings: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    made = table(title, *headings)
    for line in lines:
        made.add_row(*line)
    return made


def quality_table(kept: Kept, tasks: Mapping[str, str], rows: Mapping[str, Sequence[Row]]) -> Table:
    """A line for each task and row. Missing seeds are told, a row of which nothing was run too."""
    lines = []
    for task, title in tasks.items():
        for row in rows[task]:
            lines.append([title, row.title, *_cells(kept.seeds(task, row))])
    heads = [
        "task",
        "adapter",
        "seeds",
        "steps",
        "taught, %",
        "validation loss, ‰",
        "known shapes, points",
        "known loss, %",
        f"steps to {THRESHOLD:g} %",
        f"seconds to {THRESHOLD:g} %",
        "seconds in all",
    ]
    return filled("Means over seeds, with the bootstrap's 95 % intervals", heads, lines)


def _cells(seeds: Seeds) -> list[str]:
    if not seeds:
        return ["not run", *[""] * 8]
    ends = [points[-1] for points in seeds.values()]
    return [
        str(len(seeds)),
        str(ends[0].step),
        _mean([end.score for end in ends]),
        _mean([1000 * end.loss for end in ends]),
        _mean([lost(points) for points in seeds.values()]),
        _mean([drift(points) for points in seeds.values()]),
        _reach(seeds, lambda point: point.step),
        _reach(seeds, lambda point: point.seconds),
        f"{sum(end.seconds for end in ends) / len(ends):.0f}",
    ]


def lost(points: Sequence[Point]) -> float:
    """Points of known shapes that the base drew and the adapter does not; negative where it draws fewer."""
    before, after = points[0].known, points[-1].known
    assert before is not None
    assert after is not None
    return after - before


def drift(points: Sequence[Point]) -> float:
    """How much the error on pictures of known shapes has grown, in percent of the base's."""
    return 100 * (points[-1].known_loss / points[0].known_loss - 1)


def _mean(values: Sequence[float]) -> str:
    return str(bootstrap(values)) if len(values) > 1 else f"{values[0]:.1f}"


def _reach(seeds: Seeds, place: Callable[[Point], float]) -> str:
    """The mean over the seeds that come to THRESHOLD, and how many do where it is not all."""
    found = [
        reached([place(one) for one in points], [one.score for one in points], THRESHOLD, rising=True)
        for points in seeds.values()
    ]
    there = [one for one in found if one is not None]
    if not there:
        return "never"
    mean = f"{sum(there) / len(there):.0f}"
    return mean if len(there) == len(found) else f"{mean} ({len(there)} of {len(found)})"


def aim_table(kept: Kept, tasks: Mapping[str, str], script: Row | None) -> Table:
    """Ours after half the steps against the baseline at its best rate after all of them, seed by seed."""
    lines = []
    for task, title in tasks.items():
        mine, theirs = kept.seeds(task, OURS), kept.seeds(task, script) if script is not None else {}
        both = sorted(set(mine) & set(theirs))
        if len(both) < 2:
            lines.append([title, "not run", "", "", "", ""])
            continue
        losses = bootstrap([100 * (mine[seed][-1].loss / theirs[seed][-1].loss - 1) for seed in both])
        scores = bootstrap([mine[seed][-1].score - theirs[seed][-1].score for seed in both])
        shares = [_share_of_steps(mine[seed], theirs[seed]) for seed in both]
        there = [share for share in shares if share is not None]
        told = f"{sum(there) / len(there):.2f}" if there else "never"
        if there and len(there) < len(shares):
            told += f" ({len(there)} of {len(shares)})"
        met = _verdict(losses, scores)
        lines.append([title, str(len(both)), str(losses), str(scores), told, met])
    heads = [
        "task",
        "seeds",
        "loss, % of the baseline's more",
        "score, points more",
        "share of steps to its loss",
        "aim",
    ]
    return filled("Ours after half the steps, to the script at its best rate after all", heads, lines)


def _share_of_steps(mine: Sequence[Point], theirs: Sequence[Point]) -> float | None:
    """Our steps to the baseline's last loss, over its steps."""
    steps = reached([one.step for one in mine], [one.loss for one in mine], theirs[-1].loss, rising=False)
    return None if steps is None else steps / BASELINE_STEPS


def _verdict(losses: Interval, scores: Interval) -> str:
    """Met where the means of both are at least the baseline's; beyond doubt where both intervals say so."""
    if losses.mean > 0 or scores.mean < 0:
        return "missed"
    return "met, beyond doubt" if losses.high <= 0 and scores.low >= 0 else "met"


def tuning_table(found: Mapping[str, Mapping[float, Sequence[Point]]], chosen: Collection[str]) -> Table:
    """Of each rate at the tuning seed, by adapter. `chosen` are the names of rows with the rates that were chosen."""
    lines = []
    for name, points in found.items():
        for rate, ones in points.items():
            mark = "chosen" if f"{name}-{rate:g}" in chosen else ""
            end = ones[-1]
            lines.append([name, f"{rate:g}", f"{1000 * end.loss:.2f}", f"{end.score:.1f}", f"{drift(ones):.1f}", mark])
    heads = ["adapter", "rate", "validation loss, ‰", "taught, %", "known loss, %", ""]
    return filled("Rates, at the tuning seed", heads, lines)


def ablation_table(kept: Kept, title: str, task: str, rows: Sequence[Row], seeds: Sequence[int]) -> Table:
    """Each change's difference to OURS, seed by seed."""
    mine, lines = kept.seeds(task, OURS, seeds), []
    for row in rows:
        theirs = kept.seeds(task, row, seeds)
        both = sorted(set(mine) & set(theirs))
        if len(both) < 2:
            lines.append([row.title, "not run", "", "", "", ""])
            continue
        pairs = [(theirs[seed], mine[seed]) for seed in both]
        lines.append(
            [
                row.title,
                str(len(both)),
                str(bootstrap([one[-1].score - other[-1].score for one, other in pairs])),
                str(bootstrap([100 * (one[-1].loss / other[-1].loss - 1) for one, other in pairs])),
                str(bootstrap([lost(one) - lost(other) for one, other in pairs])),
                str(bootstrap([drift(one) - drift(other) for one, other in pairs])),
            ]
        )
    heads = ["changed", "seeds", "taught, points", "validation loss, %", "known shapes, points", "known loss, points"]
    return filled(f"One setting of ours changed, {title}: differences to ours, by seed", heads, lines)
