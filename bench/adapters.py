"""Adapter types compared on `builtin://shapes`: cost of a step, and what is drawn after training, over several seeds.

    python bench/adapters.py [--workers 2] [--high-rank]

The protocol is docs/decisions/0009-adapter-types-measured.md. Every training and every judgement is kept in build/bench, so that
a stopped run goes on where it was. Prints its tables as Markdown, and draws build/bench/adapter-types.png.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # nothing here is installed

from rich.console import Console

from bench.adapter_tables import cost_table, quality_table, rate_table
from bench.adapter_types import HIGH_RANK, JOINT, ROWS, SEEDS, TUNING_SEED, Result, Row, chosen_rate
from bench.pool import workers
from bench.shapes import OUT, Trial

COST_FILE, PICTURE = OUT / "adapter-cost.json", OUT / "adapter-types.png"

console = Console(width=160, highlight=False)


def known_before() -> float:
    """Known shapes that the base alone draws, in percent. Done by a worker."""
    from bench.judging import judge

    return judge(None, OUT / "base.json").kept


def result_of(trial: Trial) -> Result:
    """Trains and judges, unless that was done before. Done by a worker."""
    from bench.judging import judge
    from bench.shapes import train

    judgement = judge(train(trial), trial.folder() / "judgement.json")
    return Result(hearts=judgement.hearts, known=judgement.kept)


def cost_of(rows: Sequence[Row]) -> None:
    """Measures what steps cost, unless that was done before. Done by a worker."""
    if not COST_FILE.exists():
        from bench.adapter_cost import measured

        COST_FILE.write_text(json.dumps({name: asdict(cost) for name, cost in measured(rows).items()}))


def results_of(pool: Executor, trials: Sequence[Trial]) -> dict[Trial, Result]:
    """All of them, in any order, told as they come."""
    running = {pool.submit(result_of, trial): trial for trial in trials}
    found: dict[Trial, Result] = {}
    for future in as_completed(running):
        trial = running[future]
        found[trial] = future.result()
        told = f"{found[trial].hearts:.1f} % hearts, {found[trial].known:.1f} % known"
        console.print(f"{len(found)} of {len(trials)}: {trial.folder().name}: {told}", style="dim")
    return found


def chosen_rates(pool: Executor) -> tuple[dict[str, float], dict[str, dict[float, Result]]]:
    """By the row's name, and what they were chosen from."""
    before = pool.submit(known_before).result()
    trials = {(row.name, rate): row.trial(rate, TUNING_SEED) for row in ROWS for rate in row.rates}
    results = results_of(pool, list(trials.values()))
    by_rate = {row.name: {rate: results[trials[row.name, rate]] for rate in row.rates} for row in ROWS}
    rates = {name: chosen_rate(results, before) for name, results in by_rate.items()}
    return rates | {row.name: rates[row.rate_of] for row in (*HIGH_RANK, JOINT)}, by_rate


def scored(pool: Executor, rows: Sequence[Row], rates: Mapping[str, float]) -> dict[str, list[Result]]:
    """Results by the row's name, in the order of the seeds."""
    trials = {(row.name, seed): row.trial(rates[row.name], seed) for seed in SEEDS for row in rows}
    results = results_of(pool, list(trials.values()))
    return {row.name: [results[trials[row.name, seed]] for seed in SEEDS] for row in rows}


def draw_pictures(rows: Sequence[Row], rates: Mapping[str, float]) -> None:
    """What the first scored seed draws with each adapter."""
    from bench.adapter_pictures import Strip, comparison

    folders = {row.title: row.trial(rates[row.name], SEEDS[0]).folder() for row in rows}
    strips = [Strip(title, folder / "judgement.png") for title, folder in folders.items()]
    comparison([Strip("the base alone", OUT / "base.png"), *strips]).save(PICTURE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2, help="trainings beside each other, one thread each")
    parser.add_argument("--high-rank", action="store_true", help="train LoCon and LoHa at high rank too")
    options = parser.parse_args()
    rows = (*ROWS, *HIGH_RANK) if options.high_rank else ROWS
    with workers(options.workers, OUT / "bench.log") as pool:
        rates, tuned = chosen_rates(pool)
        results = scored(pool, rows, rates)
    with workers(1, OUT / "bench.log") as alone:
        alone.submit(cost_of, (*ROWS, *HIGH_RANK)).result()
    draw_pictures(rows, rates)
    console.print(rate_table(ROWS, tuned, rates))
    console.print(quality_table(rows, results, rates))
    console.print(cost_table((*ROWS, *HIGH_RANK), json.loads(COST_FILE.read_text())))


if __name__ == "__main__":
    main()
