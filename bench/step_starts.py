"""`bench.step`: processes of both sides, one after another; when each was started, did its first step, and was done.

Both sides have the same base, pictures, adapter, optimizer and number of threads, and neither draws pictures.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf.json_format import Parse

from deploy.examples.demo.dataset import write_dataset
from deploy.examples.demo.demo import BASE
from deploy.examples.demo.local_service import ROOT
from loramill import v1
from tests.trainer.assignments import Place

OUT = ROOT / "build" / "bench" / "step"
RANK, RATE = 4, 1e-4


@dataclass(frozen=True)
class Timed:
    """Of one process, in seconds from its start."""

    first_step: float
    end: float


class BenchFailed(Exception):
    """A side's process ended with an error."""


def spec(steps: int, batch_size: int) -> dict[str, object]:
    """Of our job, with the defaults of diffusers' script where that has any."""
    return {
        "dataset": {"dataset": "datasets/hearts"},
        "concept": {"activation_tag": ""},
        "adapter": {"rank": RANK, "alpha": RANK},
        "unet": {"learning_rate": RATE},
        "optimization": {
            "steps": steps,
            "batch_size": batch_size,
            "schedule": "SCHEDULE_CONSTANT",
            "warmup_steps": 0,
        },
        "previews": {"prompts": []},
        "checkpoints": {"every_steps": steps},
    }


@dataclass(frozen=True)
class Materials:
    """Base and pictures of both sides, below one folder that is emptied first."""

    threads: int
    folder: Path = OUT
    place: Place = field(init=False)
    pictures: Path = field(init=False)

    def __post_init__(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        object.__setattr__(self, "place", Place(self.folder / "store"))
        object.__setattr__(self, "pictures", self.folder / "hearts")
        write_dataset(self.pictures)
        self.place.put_base("shapes", BASE)
        self.place.put_dataset("hearts", {file.name: file.read_bytes() for file in self.pictures.iterdir()})

    def job(self, name: str, steps: int, batch_size: int, caches: str) -> str:
        """A job that was never run: its URI."""
        return self.place.put_job(f"jobs/{name}", spec(steps, batch_size), dataset="hearts", caches=caches)

    def our_process(self, name: str, steps: int, batch_size: int = 1, caches: str = "caches") -> Timed:
        """`python -m trainer` on a new job; `caches` names the folder of encoded pictures and captions."""
        uri = self.job(name, steps, batch_size, caches)
        began, ended = self._timed(["-m", "trainer", uri])
        written = (self.place.folder / f"jobs/{name}/runs/1/status.json").read_text()
        first: float = Parse(written, v1.RunStatus()).first_step_time.ToMicroseconds() / 1e6
        return Timed(first - began, ended - began)

    def their_process(self, name: str, steps: int, batch_size: int = 1) -> Timed:
        """`python -m bench.lora_script`."""
        out = self.folder / "script" / name
        options = [f"--steps={steps}", f"--rank={RANK}", f"--batch-size={batch_size}", f"--threads={self.threads}"]
        began, ended = self._timed(["-m", "bench.lora_script", str(BASE), str(self.pictures), str(out), *options])
        return Timed(float((out / "first-step").read_text()) - began, ended - began)

    def _timed(self, arguments: Sequence[str]) -> tuple[float, float]:
        """When the process was started and when it had ended, in seconds since the epoch."""
        environment = {
            **os.environ,
            "LORAMILL_TRAINER_THREADS": str(self.threads),
            "LORAMILL_TRAINER_DEVICE": "cpu",
            "HF_HUB_OFFLINE": "1",
        }
        began = time.time()
        done = subprocess.run(
            [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        ended = time.time()
        if done.returncode != 0:
            raise BenchFailed(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}")
        return began, ended
