"""Trainings of the demo's hearts on `builtin://shapes`, for benchmarks: a job each, done by the trainer itself.

Store and jobs lie below one folder. A training that has ended there is not done again, so that a stopped benchmark goes on.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.json_format import MessageToDict

from deploy.examples.demo.dataset import write_dataset
from deploy.examples.demo.demo import BASE, JOB_FILE
from deploy.examples.demo.local_service import ROOT
from loramill import v1
from loramill.spec import read_spec
from service.presets import resolve
from tests.trainer.assignments import Place
from trainer.assignment import do_assignment
from trainer.stopping import StopSignal

OUT = ROOT / "build" / "bench"
FAMILY, RESOLUTION = "sd15", 64
THREADS = 1
"""Of each training. The networks are so small that two trainings side by side are done sooner than one after the other."""


class TrainingFailed(Exception):
    """The trainer's exit code was not 0."""


@dataclass(frozen=True)
class Trial:
    """One training: the demo's job with another adapter and other changes, written as `loramill job submit --set` takes them."""

    name: str
    changes: tuple[str, ...]
    seed: int

    def spec(self) -> v1.TrainingSpec:
        """Resolved as the service resolves it. What a benchmark has no use for is left out."""
        spec = read_spec(JOB_FILE.read_text(), ["dataset.dataset=hearts"])
        spec.ClearField("adapter")
        spec.MergeFrom(read_spec("", [*self.changes, f"optimization.seed={self.seed}"]))
        del spec.previews.prompts[1:]
        spec.checkpoints.every_steps = spec.optimization.steps
        spec.outputs.converted_rank = 0
        base = v1.BaseModel(name=spec.base_model, family=FAMILY, resolution=RESOLUTION)
        return resolve(spec, base, self.seed)

    def folder(self, root: Path = OUT) -> Path:
        """Of all that belongs to this training; another spec has another folder."""
        digest = hashlib.sha256(self.spec().SerializeToString(deterministic=True)).hexdigest()
        return root / "trials" / f"{self.name}-seed-{self.seed}-{digest[:8]}"


def put_materials(root: Path = OUT) -> Place:
    """The store of all trials, with base model and dataset in it."""
    place = Place(root / "store")
    if not (place.folder / "datasets/hearts/manifest.json").exists():
        place.put_base("shapes", BASE)
        with tempfile.TemporaryDirectory() as work:
            hearts = Path(work) / "hearts"
            write_dataset(hearts)
            place.put_dataset("hearts", {file.name: file.read_bytes() for file in hearts.iterdir()})
    return place


def run_job(place: Place, job: str, spec: v1.TrainingSpec, dataset: str) -> Path:
    """Has the trainer do a job: the folder of its adapters, below the job's own. Raises TrainingFailed."""
    shutil.rmtree(place.folder / job, ignore_errors=True)  # what a stopped benchmark left
    change = MessageToDict(spec, preserving_proto_field_name=True)
    change["concept"].setdefault("activation_tag", "")
    uri = place.put_job(job, change, dataset=dataset)
    os.environ.update(LORAMILL_TRAINER_THREADS=str(THREADS), LORAMILL_TRAINER_DEVICE="cpu")
    exit_code = do_assignment(uri, StopSignal())
    if exit_code != v1.EXIT_CODE_SUCCESS:
        end = place.folder / job / "runs/1/end.json"
        raise TrainingFailed(f"{job} ended with {exit_code}: {end.read_text() if end.exists() else 'no end'}")
    return place.folder / job / "runs/1/adapters"


def train(trial: Trial, root: Path = OUT) -> Path:
    """The adapter's file in kohya's format, the others beside it. It is trained unless it is there; raises TrainingFailed."""
    folder, spec = trial.folder(root), trial.spec()
    adapter = folder / f"{spec.outputs.name}.safetensors"
    if not adapter.exists():
        place = put_materials(root)
        job = f"jobs/{folder.name}"
        adapters = run_job(place, job, spec, "hearts")
        folder.parent.mkdir(parents=True, exist_ok=True)
        (adapters / "final").rename(folder)
        shutil.rmtree(place.folder / job)
    return adapter
