"""Quality on `builtin://shapes`: what is learnt, what is forgotten, and in how many steps, against diffusers' LoRA script.

    python -m bench.quality [main] [types] [ablations] [--minutes 9]
    python -m bench.quality --second main

Three tasks of twelve pictures a concept: a shape that the base never met, a known shape restyled, both at once. The protocol is
docs/decisions/0015-quality-measured.md. `main` compares our LoRA with the script at its default rate and at the best of five;
`types` does the other adapters; `ablations` changes one setting of ours at a time. Every run that is done is a file in --out, so
that a stopped bench goes on where it was; --minutes begins no run after so many. --second does it on another base
(`bench.second_base`), which knows other shapes and is trained first if it is not there. Prints its tables as Markdown.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from bench.pool import workers
from bench.quality_record import READER, Point, Run
from bench.quality_rows import (
    ABLATION_SEEDS,
    ABLATIONS,
    BASELINE_RATES,
    DEFAULT,
    OURS,
    SEEDS,
    TUNING_SEED,
    TYPE_RATES,
    TYPES,
    Row,
    at_rate,
    baseline,
    chosen_rate,
)
from bench.quality_tables import Kept, ablation_table, aim_table, quality_table, tuning_table

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("main", "types", "ablations")
TITLES = {"new": "new shape", "restyled": "restyled", "both": "both at once"}
TUNED, ABLATED, TYPED = "both", "new", "new"
"""The tasks of the choice of the script's rate, of the ablations, and of the other types."""

SCRIPT = "diffusers"
"""What the baseline is called among the adapters that have rates to choose from."""

console = Console(width=220, highlight=False)


def tuned(kept: Kept, name: str) -> Mapping[float, list[Point]]:
    """Points at the tuning seed by rate, of those that are done."""
    task, found = TUNED if name == SCRIPT else TYPED, {}
    for rate, row in candidates(name).items():
        points = Run(kept.folder, task, row, TUNING_SEED).points()
        if points is not None:
            found[rate] = points
    return found


def candidates(name: str) -> Mapping[float, Row]:
    """Rows to choose a rate from, by rate: of the script, or of one of TYPES by its name."""
    if name == SCRIPT:
        return {rate: baseline(rate) for rate in BASELINE_RATES}
    row = next(row for row in TYPES if row.name == name)
    return {rate: at_rate(row, rate) for rate in TYPE_RATES}


def best(kept: Kept, name: str) -> Row | None:
    """The row with the chosen rate; None before all rates were tried."""
    found = tuned(kept, name)
    if len(found) < len(candidates(name)):
        return None
    return candidates(name)[chosen_rate({rate: points[-1].loss for rate, points in found.items()})]


def wanted(kept: Kept, parts: list[str]) -> Iterator[Run]:
    """The runs in their order. Rates are chosen as soon as what they are chosen from is done."""
    folder = kept.folder
    if "main" in parts:
        yield from (Run(folder, TUNED, row, TUNING_SEED) for row in candidates(SCRIPT).values())
        for task in TITLES:
            for seed in SEEDS:
                row = best(kept, SCRIPT)
                assert row is not None
                yield from (Run(folder, task, one, seed) for one in dict.fromkeys((OURS, row, DEFAULT)))
    if "ablations" in parts:
        for seed in ABLATION_SEEDS:
            yield from (Run(folder, ABLATED, row, seed) for row in (OURS, *ABLATIONS))
    if "types" in parts:
        for kind in TYPES:
            yield from (Run(folder, TYPED, row, TUNING_SEED) for row in candidates(kind.name).values())
        for seed in SEEDS:
            for kind in TYPES:
                row = best(kept, kind.name)
                assert row is not None
                yield Run(folder, TYPED, row, seed)


def do(kept: Kept, second: bool, parts: list[str], minutes: float) -> None:
    """All that is not done yet, as far as the time goes."""
    ends = time.monotonic() + 60 * minutes
    with workers(1, kept.folder / "bench.log") as pool:
        for run in wanted(kept, parts):
            if run.points() is not None:
                continue
            if time.monotonic() > ends:
                console.print("The time is over; the same command goes on.", style="dim")
                return
            began = time.monotonic()
            end = pool.submit(done, run, second).result()[-1]
            took = f"{end.seconds:.0f} s of a core, {time.monotonic() - began:.0f} s with all"
            told = f"{end.score:.1f} % taught, loss {1000 * end.loss:.2f} ‰, {took}"
            console.print(f"{run.task}, {run.row.title}, seed {run.seed}: {told}", style="dim")


def done(run: Run, second: bool) -> Sequence[Point]:
    """Done by a worker, which alone needs torch and a base."""
    from bench.quality_runs import runner

    return runner(run.folder, second).do(run)


def print_tables(kept: Kept) -> None:
    found = {name: tuned(kept, name) for name in (SCRIPT, *(kind.name for kind in TYPES))}
    bests = {name: best(kept, name) for name in found}
    script = bests[SCRIPT]
    compared = dict.fromkeys(row for row in (OURS, script, DEFAULT) if row is not None)
    rows = {
        task: [*compared, *((bests[kind.name] or kind for kind in TYPES) if task == TYPED else ())] for task in TITLES
    }
    if (kept.folder / READER).exists():
        right, other = json.loads((kept.folder / READER).read_text())
        console.print(f"The reader is right about {right:.1%} of squares with an inlay and {other:.1%} of all else.\n")
    for made in (
        tuning_table(found, {row.name for row in bests.values() if row is not None}),
        quality_table(kept, TITLES, rows),
        aim_table(kept, TITLES, script),
        ablation_table(kept, TITLES[ABLATED], ABLATED, ABLATIONS, ABLATION_SEEDS),
    ):
        console.print(made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"what to run: {', '.join(PARTS)}; default: nothing, the tables only")
    parser.add_argument("--minutes", type=float, default=10_000, help="begin no run after so many")
    parser.add_argument("--out", type=Path, default=ROOT / "build/bench/quality")
    parser.add_argument("--second", action="store_true", help="on the second base instead of the shipped one")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"parts are {', '.join(PARTS)}, not {', '.join(sorted(unknown))}")
    kept = Kept(options.out / ("second" if options.second else "shipped"))
    do(kept, options.second, options.parts, options.minutes)
    print_tables(kept)


if __name__ == "__main__":
    main()
