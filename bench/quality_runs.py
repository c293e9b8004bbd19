"""Does the runs of `bench/quality.py`: trains, measures and keeps."""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from bench import quality_baseline, quality_ours
from bench.quality_reader import accuracy, load_reader
from bench.quality_record import READER, Point, Run, Saved, keep
from bench.quality_rows import BATCH, BaselineRow, OurRow, saves_of
from bench.quality_score import Scoring
from bench.quality_tasks import Task, tasks
from bench.second_base import HELD_OUT, SHIPPED, second_base
from bench.shapes import THREADS
from tests.trainer.assignments import Place
from trainer.families.sd15 import Sd15Base


class Runner:
    """Does runs on one base, one after the other; base and reader are loaded once for each task."""

    def __init__(self, base: Path, folder: Path, tasks: Sequence[Task]) -> None:
        """`base` is a folder in the diffusers layout; all that is kept of it goes into `folder`."""
        torch.set_num_threads(THREADS)
        self._base, self._folder, self._tasks = base, folder, {task.name: task for task in tasks}
        self._place = Place(folder / "store")
        if not (self._place.folder / "bases/shapes/manifest.json").exists():
            self._place.put_base("shapes", base)
        self.vae = Sd15Base(base, torch.device("cpu"), torch.float32).vae
        self.reader = load_reader(self.vae, folder / "reader.safetensors")
        if not (folder / READER).exists():
            keep(folder / READER, accuracy(self.reader, self.vae))
        self._scorings: dict[str, Scoring] = {}

    def do(self, run: Run) -> list[Point]:
        """Trains and measures, unless that was done before."""
        done = run.points()
        if done is not None:
            return done
        task = self._tasks[run.task]
        points = [self._base_alone(task)]
        job = f"jobs/{run.file().stem}"
        shutil.rmtree(self._place.folder / job, ignore_errors=True)  # what a stopped bench left
        with tempfile.TemporaryDirectory() as work:
            saved = (
                self._train_ours(run.row, task, run.seed, job)
                if isinstance(run.row, OurRow)
                else self._train_baseline(run.row, task, run.seed, Path(work))
            )
            for one in saved:
                last = one.step == run.row.steps
                sheet = run.file().with_suffix(".png") if last else None
                found = self._scored(task).measured(one.file, with_known=last, picture=sheet)
                points.append(Point(step=one.step, seconds=one.seconds, **asdict(found)))
            shutil.rmtree(self._place.folder / job, ignore_errors=True)
        keep(run.file(), [asdict(point) for point in points])
        return points

    def _scored(self, task: Task) -> Scoring:
        if task.name not in self._scorings:
            self._scorings[task.name] = Scoring(self._base, task, self.reader)
        return self._scorings[task.name]

    def _base_alone(self, task: Task) -> Point:
        file = self._folder / task.name / "base.json"
        if not file.exists():
            found = self._scored(task).measured(None, with_known=True, picture=file.with_suffix(".png"))
            keep(file, asdict(Point(step=0, seconds=0.0, **asdict(found))))
        return Point(**json.loads(file.read_text()))

    def _train_ours(self, row: OurRow, task: Task, seed: int, job: str) -> list[Saved]:
        if not (self._place.folder / f"datasets/{task.name}/manifest.json").exists():
            self._place.put_dataset(task.name, dict(task.files()))
        spec = quality_ours.spec_of(row, task, seed)
        return quality_ours.train(spec, self._place, job, task.name, saves_of(row))

    def _train_baseline(self, row: BaselineRow, task: Task, seed: int, folder: Path) -> list[Saved]:
        shown = [one for concept in task.concepts for one in concept.pictures(with_tag=True)]
        return quality_baseline.train(
            shown, self._base, folder, rate=row.rate, batch_size=BATCH, seed=seed, saves=saves_of(row)
        )


@functools.cache
def runner(folder: Path, second: bool) -> Runner:
    """The only one of this process for a base, the shipped one or the second; what it keeps goes into `folder`."""
    if second:
        return Runner(second_base(), folder, tasks(HELD_OUT))
    return Runner(SHIPPED, folder, tasks())
