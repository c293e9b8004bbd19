"""Our side of `bench/quality.py`: jobs for the built-in base, resolved as the service resolves them and done by the trainer.

Rates, rank, layers and schedule are those of the demo's job (docs/decisions/0008), the same for every task.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from bench.quality_record import Saved
from bench.quality_rows import BATCH, OurRow, saves_of
from bench.quality_tasks import Task
from bench.shapes import FAMILY, RESOLUTION, run_job
from loramill import v1
from loramill.spec import read_spec
from service.presets import resolve
from tests.trainer.assignments import Place

NAME = "taught"
POLL_SECONDS = 0.1


def spec_of(row: OurRow, task: Task, seed: int) -> v1.TrainingSpec:
    """The resolved spec."""
    changes = [f"{field}={value}" for field, value in row.changes]
    asked = read_spec(yaml.safe_dump(_document(row, task)), [*changes, f"optimization.seed={seed}"])
    asked.optimization.steps, asked.optimization.batch_size = row.steps, BATCH
    asked.outputs.save_every, asked.checkpoints.every_steps = saves_of(row)[0], row.steps
    base = v1.BaseModel(name=asked.base_model, family=FAMILY, resolution=RESOLUTION)
    return resolve(asked, base, seed)


def _document(row: OurRow, task: Task) -> Mapping[str, object]:
    first, *further = [_concept(row, task, place) for place in range(len(task.concepts))]
    return {
        "base_model": "shapes",
        "dataset": {
            "dataset": task.name,
            "subsets": [
                {
                    "path_prefix": f"{concept.name}/",
                    "concept": concept.called if place else "",
                    # A heart, a square in the mirror is one still. A dropped caption teaches its picture to the empty prompt.
                    "flip_probability": 0.5 if row.mirrored else 0,
                    "captions": {"caption_dropout": 0},
                }
                for place, concept in enumerate(task.concepts)
            ],
        },
        "concept": first,
        "concepts": further,
        "previews": {"prompts": [{"prompt": task.concepts[0].called}], "strength_prompts": 0},
        "outputs": {"name": NAME, "converted_rank": 0},
    }


def _concept(row: OurRow, task: Task, place: int) -> Mapping[str, object]:
    concept = task.concepts[place]
    # The prior captions of all concepts are one list, so the first gives them all.
    prior: dict[str, object] = {"enabled": False}
    if row.prior and place == 0:
        prior = {"captions": task.prior_captions(), "images": len(task.prior_captions())}
    kind = (
        {"kind": "new", "activation_tag": concept.tag}
        if concept.tag
        else {"kind": "modified", "class_words": concept.shape}
    )
    return {**kind, "check_tag": False, "prior_preservation": prior}


def train(spec: v1.TrainingSpec, place: Place, job: str, dataset: str, saves: Sequence[int]) -> list[Saved]:
    """Adapters after each of the `saves` steps; they lie in the job's folder."""
    watch = _Watch(place.folder / job / "runs/1/adapters")
    try:
        adapters = run_job(place, job, spec, dataset)
    finally:
        watch.stop()
    suffixes = {step: f"{step:06}" if step < spec.optimization.steps else "final" for step in saves}
    return [
        Saved(step, watch.seen[suffix], adapters / suffix / f"{NAME}.safetensors") for step, suffix in suffixes.items()
    ]


class _Watch:
    """Notes how much time of a core had been spent when an adapter first lay in a folder."""

    def __init__(self, folder: Path) -> None:
        self.seen: dict[str, float] = {}
        self._folder, self._began, self._ended = folder, time.process_time(), threading.Event()
        self._thread = threading.Thread(target=self._look_again, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()
        self._look()

    def _look_again(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            self._look()

    def _look(self) -> None:
        for manifest in self._folder.glob("*/manifest.json"):
            self.seen.setdefault(manifest.parent.name, time.process_time() - self._began)
