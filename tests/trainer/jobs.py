"""Jobs of the tests: their launches run in this process, and what they left is read back from the store."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import structlog
import torch
from PIL import Image

from loramill import v1
from store import open_store, split_uri
from store.records import read_record
from tests.trainer.assignments import Place, put_launch
from trainer.__main__ import main
from trainer.events import RunEvents

SETTINGS = {"LORAMILL_TRAINER_THREADS": "1", "LORAMILL_TRAINER_DEVICE": "cpu"}
"""The same numbers in every process, whatever the machine."""


def small_dataset(pictures: int = 4) -> dict[str, bytes]:
    """Pictures of random blots, 64 × 64, with a caption each."""
    files = {}
    for number in range(pictures):
        coarse = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(coarse).resize((64, 64)).save(buffer, "PNG")
        files[f"{number}.png"] = buffer.getvalue()
        files[f"{number}.txt"] = f"a {'red' if number % 2 else 'blue'} star on a sky background".encode()
    return files


def keep_what_is_drawn(patch: pytest.MonkeyPatch) -> dict[int, np.ndarray]:
    """Where the floats behind the previews of jobs of this process are put from now on, by step."""
    drawn: dict[int, np.ndarray] = {}
    draw = RunEvents.draw

    def draw_and_keep(events: RunEvents, step: int) -> np.ndarray:
        drawn[step] = draw(events, step)
        return drawn[step]

    patch.setattr(RunEvents, "draw", draw_and_keep)
    return drawn


def terminate_once_asked_about(patch: pytest.MonkeyPatch, step: int) -> None:
    """SIGTERM comes at the worst moment: just after the trainer decided whether to read the step's measurements."""
    asked = RunEvents.wants_measurements

    def ask(events: RunEvents, at: int) -> bool:
        answer = asked(events, at)
        if at == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return answer

    patch.setattr(RunEvents, "wants_measurements", ask)


@contextmanager
def _as_in_a_process_of_its_own() -> Iterator[None]:
    """Leaves signals, environment, threads and logging as they were."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    environment, threads = dict(os.environ), torch.get_num_threads()
    os.environ.update({name: value for name, value in SETTINGS.items() if name not in os.environ})
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.environ.clear()
        os.environ.update(environment)
        torch.set_num_threads(threads)
        structlog.reset_defaults()


@dataclass(frozen=True)
class Job:
    """A job, seen from its newest launch."""

    uri: str

    @property
    def assignment(self) -> v1.Assignment:
        root, key = split_uri(self.uri)
        found = read_record(open_store(root), key, v1.Assignment)
        assert found is not None
        return found

    @property
    def folder(self) -> Path:
        """Of all its records."""
        return _path(self.assignment.control_uri).parent

    @property
    def run_folder(self) -> Path:
        return _path(self.assignment.run_uri)

    def run(self) -> int:
        """Does the newest launch; its exit code."""
        with _as_in_a_process_of_its_own():
            return main([self.uri])

    def launched_again(self) -> Job:
        """The same job with one launch more."""
        assignment = self.assignment
        assignment.launch += 1
        assignment.run_uri = f"{assignment.runs_uri}{assignment.launch}/"
        return replace(self, uri=put_launch(assignment))

    def cancel(self) -> None:
        (self.folder / "control" / "cancel.json").write_text('{"schemaVersion": 1}')

    @property
    def end(self) -> v1.End:
        found = read_record(open_store(self.assignment.run_uri), "end.json", v1.End)
        assert found is not None, "the run has not said its last word"
        return found

    @property
    def progress(self) -> v1.Progress:
        found = read_record(open_store(self.assignment.run_uri), "status.json", v1.RunStatus)
        assert found is not None, "the run has no status"
        return found.progress

    def adapter(self, suffix: str = "final") -> v1.Adapter:
        found = read_record(open_store(self.assignment.run_uri), f"adapters/{suffix}/manifest.json", v1.AdapterManifest)
        assert found is not None, f"adapter {suffix} is not committed"
        return found.adapter

    def adapters(self) -> list[str]:
        """Suffixes of the adapters that are committed."""
        return sorted(path.parent.name for path in self.run_folder.glob("adapters/*/manifest.json"))

    def file(self, name: str, suffix: str = "final") -> Path:
        """A file of an adapter, where it lies in the store."""
        return self.run_folder / "adapters" / suffix / name

    def checkpoints(self) -> list[str]:
        """Names of the checkpoints of this launch that count."""
        return sorted(path.parent.name for path in self.run_folder.glob("checkpoints/*/manifest.json"))

    def log(self) -> str:
        """Every log line of this launch."""
        return "".join(path.read_text() for path in sorted(self.run_folder.glob("logs/*.jsonl")))

    def metric_chunks(self) -> list[list[int]]:
        """The steps of every chunk of measurements, of all launches in order."""
        chunks = sorted(self.folder.glob("runs/*/metrics/*.json"))
        store = open_store(f"file://{self.folder}/")
        read = [read_record(store, str(path.relative_to(self.folder)), v1.MetricChunk) for path in chunks]
        return [[metric.step for metric in chunk.metrics] for chunk in read if chunk is not None]


def _path(uri: str) -> Path:
    return Path(uri.removeprefix("file://"))


@dataclass(frozen=True)
class Jobs:
    """Makes jobs on the same base and dataset, in one store."""

    place: Place

    def new(self, name: str, change: dict[str, object] | None = None, **options: object) -> Job:
        """A job that was never run, whoever else calls one so. `options` as `Place.put_job` takes them."""
        return Job(self.place.put_job(f"{name}-{uuid4().hex[:8]}", change, **options))
