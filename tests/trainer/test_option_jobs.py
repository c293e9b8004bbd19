"""Options through a whole job: from the assignment to adapter and report, uninterrupted and stopped on the way."""

from __future__ import annotations

import pytest

from loramill import v1
from store import open_store
from store.records import read_record
from tests.trainer.jobs import Job, Jobs
from trainer.events import RunEvents

VALIDATED: dict[str, object] = {
    "optimization": {
        "steps": 6,
        "batch_size": 1,
        "optimizer": "OPTIMIZER_ADAFACTOR",
        "ema_decay": 0.9,
        "gradient_checkpointing": True,
    },
    "loss": {"type": "LOSS_TYPE_HUBER", "threshold": 0.1, "threshold_schedule": "THRESHOLD_SCHEDULE_SNR"},
    "noise": {"offset": 0.05, "pyramid_levels": 2},
    "validation": {"share": 0.25, "every_steps": 2, "timesteps": 2, "keep_best": True},
    "unet": {"learning_rate": 1e-2},
    "previews": {"inference_steps": 1},
}
HALF: dict[str, object] = {
    "optimization": {"steps": 6, "batch_size": 1, "optimizer": "OPTIMIZER_LION", "precision": "PRECISION_FP16"},
    "adapter": {"dropout": 0.1},
    "previews": {"inference_steps": 1},
}


def metrics(job: Job) -> dict[int, v1.TrainingMetric]:
    store = open_store(job.assignment.run_uri)
    chunks = [
        read_record(store, f"metrics/{path.name}", v1.MetricChunk) for path in job.run_folder.glob("metrics/*.json")
    ]
    return {metric.step: metric for chunk in chunks if chunk is not None for metric in chunk.metrics}


def stopped_after(job: Job, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        commit = RunEvents.commit_checkpoint

        def commit_and_stop(events: RunEvents, at: int, trained_seconds: float) -> None:
            commit(events, at, trained_seconds)
            if at == step:
                events.stop.received = True

        patch.setattr(RunEvents, "commit_checkpoint", commit_and_stop)
        assert job.run() == v1.EXIT_CODE_PREEMPTED


@pytest.mark.parametrize(("name", "spec"), [("validated", VALIDATED), ("half", HALF)])
def test_stopped_and_started_again_it_is_the_same_adapter(
    name: str, spec: dict[str, object], jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = jobs.new(f"{name}-whole", spec)
    assert whole.run() == 0
    job = jobs.new(f"{name}-stopped", spec)
    stopped_after(job, 2, monkeypatch)
    again = job.launched_again()
    assert again.run() == 0
    assert again.adapter().tensors_sha256 == whole.adapter().tensors_sha256
    assert again.adapter().step == whole.adapter().step
    if name == "validated":
        measured = {
            step: metric.validation_loss
            for step, metric in metrics(whole).items()
            if metric.HasField("validation_loss")
        }
        assert sorted(measured) == [2, 4, 6]
        assert whole.adapter().step == min(measured, key=lambda step: measured[step])
        report = whole.file("report.html").read_text()
        assert "the best of all validations" in report
        assert "Validation loss, at fixed noise and timesteps" in report


def test_a_held_out_example_is_not_trained_on(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[str] = set()
    look = RunEvents.measured

    def look_and_note(events: RunEvents, measurements: list, trained_seconds: float) -> None:  # type: ignore[type-arg]
        seen.update(name for one in measurements for name in one.names)
        look(events, measurements, trained_seconds)

    monkeypatch.setattr(RunEvents, "measured", look_and_note)
    subsets = [{"path_prefix": "0", "captions": {}}, {"captions": {}}]
    change: dict[str, object] = {
        "dataset": {"subsets": subsets},
        "validation": {"subset": "0"},
        "optimization": {"steps": 6, "batch_size": 1},
        "previews": {"inference_steps": 1},
    }
    assert jobs.new("held-out", change).run() == 0
    assert seen == {"1.png", "2.png", "3.png"}


def test_moments_of_8_bits_are_refused_without_a_gpu(jobs: Jobs) -> None:
    job = jobs.new("narrow", {"optimization": {"optimizer": "OPTIMIZER_ADAMW_8BIT"}})
    assert job.run() == v1.EXIT_CODE_USER_ERROR
    assert "ADAMW_8BIT, which saves memory on GPUs" in job.end.message
