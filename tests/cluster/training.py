"""Small jobs for the cluster's tests, and how their course is followed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw

from loramill import v1
from loramill.client import Client
from loramill.errors import Unreachable

TERMINAL = frozenset({v1.TRAINING_JOB_STATE_SUCCEEDED, v1.TRAINING_JOB_STATE_FAILED, v1.TRAINING_JOB_STATE_CANCELLED})


def draw_pictures(folder: Path) -> Path:
    """Four pictures with captions."""
    for number, colour in enumerate(("red", "green", "blue", "orange"), 1):
        picture = Image.new("RGB", (64, 64), "white")
        ImageDraw.Draw(picture).ellipse((12, 12, 52, 52), fill=colour)
        picture.save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"a {colour} disc")
    return folder


def job_spec(dataset: str, *, steps: int = 8, compute_class: str = "gpu", checkpoint_every: int = 4) -> v1.TrainingSpec:
    """A job of some seconds. For one that is to be disturbed ask for more steps than it will come to."""
    return v1.TrainingSpec(
        base_model="baseModels/shapes",
        dataset=v1.DatasetSpec(dataset=dataset),
        concept=v1.ConceptSpec(kind=v1.CONCEPT_KIND_NEW, activation_tag="qzx"),
        adapter=v1.AdapterSpec(rank=4, alpha=4),
        optimization=v1.OptimizationSpec(steps=steps, batch_size=2, seed=3),
        previews=v1.PreviewSpec(prompts=[v1.PreviewPrompt(prompt="[tag]", seed=1)], inference_steps=1),
        checkpoints=v1.CheckpointSpec(every_steps=checkpoint_every),
        outputs=v1.OutputSpec(name="disc"),
        compute_class=compute_class,
    )


def job_id(job: v1.TrainingJob) -> str:
    return job.name.removeprefix("trainingJobs/")


def wait_for(
    client: Client, name: str, holds: Callable[[v1.TrainingJob], bool], seconds: float = 120.0
) -> v1.TrainingJob:
    """The job as soon as something holds of it. Asks again and again, so that a service that is away for a while is no end."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            job = client.get_job(name)
        except Unreachable:
            assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain; the service does not answer"
            continue
        if holds(job):
            return job
        told = f"{v1.TrainingJobState.Name(job.state)}, {v1.StateReason.Name(job.state_reason)}: {job.state_message}"
        assert job.state not in TERMINAL, f"{name} has ended: {told}"
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain; {name} is {told}"
        time.sleep(0.2)


def ended(job: v1.TrainingJob) -> bool:
    return job.state in TERMINAL


def finished(client: Client, name: str, seconds: float = 180.0) -> v1.TrainingJob:
    """The job when it has ended, however."""
    return wait_for(client, name, ended, seconds)


def trains(job: v1.TrainingJob) -> bool:
    """Whether its newest launch has done steps of its own."""
    return job.state_reason == v1.STATE_REASON_TRAINING and job.progress.step > 0


def has_step(step: int) -> Callable[[v1.TrainingJob], bool]:
    return lambda job: job.progress.step >= step


def waits_for(reason: v1.StateReason.ValueType) -> Callable[[v1.TrainingJob], bool]:
    return lambda job: job.state_reason == reason
