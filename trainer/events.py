"""What happens around the steps of a run: it is measured, kept, drawn, and stopped when it is told to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import NoReturn

import numpy as np
import structlog

from loramill import v1
from store import be_patient
from trainer import checkpoint
from trainer.arena import Arena
from trainer.config import TrainConfig
from trainer.errors import Cancelled, Preempted
from trainer.families.base import Base
from trainer.measurements import Measurement
from trainer.metrics import TrainerMetrics
from trainer.outputs import FINAL, Output, Report, Saver, picture, png
from trainer.previews import draw_previews
from trainer.progress import Reporter
from trainer.record import RunRecord, now
from trainer.stopping import STOPPING_SECONDS, Stopped, StopSignal
from trainer.story import Story, read_metrics, write_report

log = structlog.get_logger()


@dataclass
class RunEvents:
    """What happens around steps: reports, checkpoints, previews, numbered adapters, and stopping."""

    config: TrainConfig
    record: RunRecord
    reporter: Reporter
    metrics: TrainerMetrics
    stop: StopSignal
    saver: Saver
    arena: Arena
    base: Base
    story: Story
    steps: int
    checkpoint_every: int
    fingerprint: str
    report_seconds: float
    last_report: float = field(default_factory=time.monotonic)
    started_at: float = 0.0
    """Seconds of training that earlier runs have done."""
    started_step: int = 0
    measured_at: float = 0.0
    """Seconds of training up to the last measurement."""
    stopping: bool = False

    def wants_measurements(self, step: int) -> bool:
        # Looked at once a step: a signal that comes later must not stop the run before this step is measured.
        self.stopping = self.stop.received
        due = time.monotonic() - self.last_report >= self.report_seconds
        # The device is waited for after the run's first step too: the time until then is told.
        first = step == self.started_step + 1
        return due or first or self.stopping or step == self.steps or self._keeps(step)

    def _keeps(self, step: int) -> bool:
        config = self.config
        occasions = (self.checkpoint_every, config.save_every, config.previews.every_steps)
        return any(every and step % every == 0 for every in occasions)

    def measured(self, measurements: list[Measurement], trained_seconds: float) -> None:
        self.last_report = time.monotonic()
        done = measurements[-1].step
        pace = (trained_seconds - self.started_at) / max(1, done - self.started_step)
        self.reporter.trained(
            [
                v1.TrainingMetric(
                    step=read.step,
                    loss=read.loss,
                    prior_loss=read.prior_loss,
                    learning_rate=read.learning_rate,
                    gradient_norm=read.gradient_norm,
                    images_per_second=read.images_per_second,
                    loss_by_band=read.loss_by_band,
                    time=now(),
                )
                for read in measurements
            ],
            remaining=pace * (self.steps - done),
            trained_seconds=trained_seconds,
        )
        self.metrics.loss.set(measurements[-1].loss)
        self.metrics.rate.set(measurements[-1].images_per_second)
        self.metrics.steps.inc(len(measurements))
        self.metrics.images.inc(sum(read.images for read in measurements))
        for _ in measurements:
            self.metrics.step_seconds.observe((trained_seconds - self.measured_at) / len(measurements))
        self.measured_at = trained_seconds

    def after_step(self, step: int, trained_seconds: float) -> None:
        if self.stopping:
            self._stopped(step, trained_seconds)
        if step == self.steps:
            return
        if step % self.checkpoint_every == 0:
            self.commit_checkpoint(step, trained_seconds)
            self.record.check_current()
        if self.config.previews.every_steps and step % self.config.previews.every_steps == 0:
            with self._interruptible(step, trained_seconds):
                self.draw(step)
        if self.config.save_every and step % self.config.save_every == 0:
            after = self.story.previews.get(step, np.zeros((0,)))
            self._save(f"{step:06d}", step, is_partial=False, after=after, report=None)

    @contextmanager
    def _interruptible(self, step: int, trained_seconds: float) -> Iterator[None]:
        """Around what may take long and can be done again: a signal ends it at once."""
        try:
            with self.stop.interrupting():
                yield
        except Stopped:
            self._stopped(step, trained_seconds)

    def _stopped(self, step: int, trained_seconds: float) -> NoReturn:
        """SIGTERM: whatever comes next, the work so far is kept."""
        be_patient(STOPPING_SECONDS)
        if self.record.cancel_requested():
            self.save_partial(step)
            raise Cancelled(f"The job was cancelled at step {step} of {self.steps}; a partial adapter is saved.")
        self.commit_checkpoint(step, trained_seconds)
        raise Preempted(f"The trainer was told to stop at step {step} of {self.steps}; a checkpoint is saved.")

    def commit_checkpoint(self, step: int, trained_seconds: float) -> None:
        self.reporter.flush()
        checkpoint.commit(
            self.record.run,
            checkpoint.Checkpoint(
                step=step,
                generation=0,
                trained_seconds=trained_seconds,
                numeric_fingerprint=self.fingerprint,
                tensors=self.arena.state(),
            ),
            checkpoint.job_sha256(self.record.assignment),
        )
        log.info("checkpoint", step=step)

    def draw(self, step: int) -> None:
        """Previews with the adapter as it is now; each is also kept in the run's folder."""
        if not self.config.previews.prompts:
            return
        self.reporter.phase(v1.PHASE_PREVIEWING, f"drawing previews after step {step}")
        pictures = draw_previews(self.base, self.config.previews, self.config.pictures.resolution)
        self.story.previews[step] = pictures
        for place, values in enumerate(pictures):
            path = self.saver.work / "preview.png"
            path.write_bytes(png(picture(values)))
            self.record.put_file(f"previews/{step:07d}/{place:02d}.png", path)
        if step < self.steps:
            self.reporter.phase(v1.PHASE_TRAINING, f"training for {self.steps} steps")

    def save_partial(self, step: int) -> None:
        """What there is of the adapter, without pictures: a run that is being stopped has seconds."""
        self._save(FINAL, step, is_partial=True, after=np.zeros((0,)), report=None)

    def save_final(self, trained_seconds: float) -> None:
        with self._interruptible(self.steps, trained_seconds):
            self.draw(self.steps)
            self.reporter.phase(v1.PHASE_SAVING, "writing adapter and report")
            self.story.metrics = read_metrics(self.record.runs, self.reporter.unstored)
            report = partial(write_report, self.story, self.saver, self.steps, trained_seconds)
            after = self.story.previews.get(self.steps, np.zeros((0,)))
            self._save(FINAL, self.steps, is_partial=False, after=after, report=report)

    def _save(self, suffix: str, step: int, *, is_partial: bool, after: np.ndarray, report: Report | None) -> None:
        before = self.story.previews.get(0, np.zeros((0,)))
        saved = self.saver.save(
            Output(suffix=suffix, step=step, partial=is_partial, before=before, after=after, report=report)
        )
        log.info("adapter saved", name=saved.name, step=step, tensors_sha256=saved.tensors_sha256)
