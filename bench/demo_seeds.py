"""How far the demo's numbers can be trusted: its job with several seeds and other settings, trained and measured.

    python bench/demo_seeds.py --seeds 1 2 3 [--workers 2]
    python bench/demo_seeds.py --seeds 1 2 3 --set optimization.steps=150 --set unet.learning_rate=3e-3
    python bench/demo_seeds.py

A call trains the demo's job with each of the seeds, and with what `--set` changes in it, and prints all rows so far: the hearts
and the known shapes drawn after training, in percent of the demo's prompts, one number a seed. Everything is kept in
build/bench; what a call has trained and measured, the next does not do again. Remove the folder after a change of the trainer.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # demo and trainer are not installed

from rich.console import Console
from rich.table import Table

from bench.pool import workers
from bench.shapes import FAMILY, OUT, RESOLUTION, Trial, train
from deploy.examples.demo.demo import BASE, JOB_FILE, TAG
from loramill import v1
from loramill.spec import read_spec
from service.presets import resolve

ROWS = OUT / "demo-seeds"


class DemoTrial(Trial):
    """One training of the demo's job as it stands, but for the changes."""

    def spec(self) -> v1.TrainingSpec:
        spec = read_spec(
            JOB_FILE.read_text(), ["dataset.dataset=hearts", *self.changes, f"optimization.seed={self.seed}"]
        )
        base = v1.BaseModel(name=spec.base_model, family=FAMILY, resolution=RESOLUTION)
        return resolve(spec, base, self.seed)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came out of one training."""

    changes: str
    seed: int
    hearts: float
    """Prompts of the new word that gave a heart, in percent."""
    known: float
    """Prompts of known shapes that gave the shape, in percent."""
    seconds: float
    """Of one core, from reading the data to the saved adapter."""


def result_of(changes: Sequence[str], seed: int) -> Result:
    """Trains and measures, unless that was done before."""
    from deploy.examples.demo.measure import Measuring

    trial = DemoTrial("demo", tuple(changes), seed)
    file = ROWS / f"{trial.folder().name}.json"
    if not file.exists():
        began = time.process_time()
        adapter = train(trial)
        seconds = time.process_time() - began
        after = Measuring(BASE, TAG).after(adapter)
        result = Result(
            changes=" ".join(changes),
            seed=seed,
            hearts=100 * after.new.shares.shape,
            known=100 * after.known.shares.shape,
            seconds=seconds,
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        file.with_suffix(".part").write_text(json.dumps(asdict(result)))
        file.with_suffix(".part").rename(file)
    return Result(**json.loads(file.read_text()))


def print_table(results: Sequence[Result]) -> None:
    """A row for each settings, in the order in which they were first tried."""
    table = Table(title="The demo's job", title_justify="left")
    for heading in ("changed", "seeds", "hearts, %", "known, %", "seconds of a core"):
        table.add_column(heading, justify="left" if heading == "changed" else "right")
    for changes in dict.fromkeys(result.changes for result in results):
        row = sorted((result for result in results if result.changes == changes), key=lambda result: result.seed)
        table.add_row(
            changes.replace(" ", "\n") or "nothing",
            " ".join(str(result.seed) for result in row),
            " ".join(f"{result.hearts:.1f}" for result in row),
            " ".join(f"{result.known:.1f}" for result in row),
            f"{sum(result.seconds for result in row) / len(row):.0f}",
        )
    Console(width=120).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="*", default=[], help="seeds of training")
    parser.add_argument("--set", dest="changes", metavar="FIELD=VALUE", action="append", default=[])
    parser.add_argument("--workers", type=int, default=2, help="trainings beside each other, one thread each")
    arguments = parser.parse_args()
    with workers(arguments.workers, ROWS / "log") as pool:
        for done in [pool.submit(result_of, arguments.changes, seed) for seed in arguments.seeds]:
            done.result()
    files = sorted(ROWS.glob("*.json"), key=lambda file: file.stat().st_mtime)
    print_table([Result(**json.loads(file.read_text())) for file in files])


if __name__ == "__main__":
    main()
