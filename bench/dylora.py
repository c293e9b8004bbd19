"""DyLoRA cut to a smaller rank, against plain LoRA of the same training that is reduced to that rank by SVD.

    python bench/dylora.py [--workers 2]

The protocol is docs/decisions/0010-dylora-at-half-rank.md; trainings that `bench/adapters.py` has done are not done again. Prints
its tables as Markdown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # nothing here is installed

from rich.console import Console
from rich.table import Table

from bench.adapter_tables import table
from bench.adapter_types import JOINT, ROWS, SAME_LAYERS, SEEDS, Result
from bench.adapters import chosen_rates, scored
from bench.pool import workers
from bench.shapes import OUT, Trial
from bench.statistics import estimate, paired

RANKS = (4, 8, 16)
"""The unit, half, and whole."""

Results = Mapping[str, Mapping[int, Sequence[Result]]]
"""By the row's name and the rank, in the order of the seeds."""

console = Console(width=160, highlight=False)


def result_at(trial: Trial, rank: int) -> Result:
    """Of a trial that was trained, at a smaller rank. Done by a worker."""
    from bench.judging import judge
    from bench.shapes import train

    whole = train(trial)
    cut = whole.with_name(f"{whole.stem}.rank-{rank:03d}.safetensors")
    if not cut.exists():  # the trainer writes these files of a DyLoRA alone
        reduce(whole, rank, cut)
    judgement = judge(cut, trial.folder() / f"judgement-rank-{rank:03d}.json")
    return Result(hearts=judgement.hearts, known=judgement.kept)


def reduce(whole: Path, rank: int, out: Path) -> None:
    """Every layer by its own SVD."""
    import torch

    from trainer.adapters.reduction import reduced
    from trainer.formats import kohya
    from trainer.formats.files import write
    from trainer.formats.reading import read_adapter

    layers, _ = reduced(read_adapter(whole).layers, rank)
    write(out, kohya.tensors(layers, torch.float32), {})


def by_rank(title: str, results: Mapping[str, Mapping[int, Sequence[float]]]) -> Table:
    """Means over seeds of one share, and each mode's difference to plain LoRA, paired by seed."""
    plain = results[SAME_LAYERS]
    modes = {name: shares for name, shares in results.items() if name != SAME_LAYERS}
    made = table(title, "rank", "plain LoRA", *modes, *(f"{mode}: to LoRA" for mode in modes))
    for rank in RANKS:
        estimates = [str(estimate(shares[rank])) for shares in (plain, *modes.values())]
        differences = [str(paired(shares[rank], plain[rank])) for shares in modes.values()]
        made.add_row(str(rank), *estimates, *differences)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2, help="trainings beside each other, one thread each")
    by_name = {row.name: row for row in (*ROWS, JOINT)}
    rows = [by_name[name] for name in (SAME_LAYERS, "dylora", "dylora-joint")]
    with workers(parser.parse_args().workers, OUT / "bench.log") as pool:
        rates, _ = chosen_rates(pool)
        same = dict.fromkeys(by_name, rates[SAME_LAYERS])
        whole = scored(pool, rows, same)
        cut = {
            (row.name, rank, seed): pool.submit(result_at, row.trial(same[row.name], seed), rank)
            for rank in RANKS[:-1]
            for seed in SEEDS
            for row in rows
        }
        results: Results = {
            row.name: {
                rank: [cut[row.name, rank, seed].result() for seed in SEEDS] if rank != RANKS[-1] else whole[row.name]
                for rank in RANKS
            }
            for row in rows
        }
    for title, share in (("Hearts, %", "hearts"), ("Known shapes, %", "known")):
        shares = {
            name: {rank: [getattr(one, share) for one in seeds] for rank, seeds in of_row.items()}
            for name, of_row in results.items()
        }
        console.print(by_rank(title, shares))


if __name__ == "__main__":
    main()
