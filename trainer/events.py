"""What happens around the steps of a run: it is measured, kept, drawn, and stopped when it is told to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NoReturn

import numpy as np
import structlog
from PIL import Image
from torch import Tensor

from loramill import v1
from store import be_patient
from trainer import checkpoint
from trainer.config import PreviewConfig, TrainConfig
from trainer.divergence import DivergenceGuard
from trainer.errors import Cancelled, Preempted
from trainer.gallery import Gallery, chosen_saves
from trainer.generations import generation_of_step
from trainer.loop import Training, shown_values
from trainer.measurements import Measurement
from trainer.metrics import TrainerMetrics, Work
from trainer.outputs import FINAL, EventFile, Output, Report, Saver, numbered
from trainer.png import pictures_of
from trainer.previews import draw_previews
from trainer.progress import Reporter
from trainer.record import RunRecord, now
from trainer.resuming import Start
from trainer.state import final_values, state_of
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
    training: Training
    first_values: Tensor
    """Of the adapter before the first step, (N,), in host memory."""
    story: Story
    checkpoint_every: int
    fingerprint: str
    report_seconds: float
    look: Callable[[], None]
    """Has the story say what there is to say of data and tags."""
    start: Start
    """Where the loop began, for the first time or after training was taken back."""
    guard: DivergenceGuard = field(default_factory=DivergenceGuard)
    last_report: float = field(default_factory=time.monotonic)
    measured_at: float = 0.0
    """Seconds of training up to the last measurement."""
    stopping: bool = False
    looked: bool = False

    @property
    def steps(self) -> int:
        """The last step, as far as it is known yet."""
        return self.training.last_step

    @property
    def gallery(self) -> Gallery:
        return self.story.gallery

    def go_on(self, start: Start) -> None:
        """The loop begins here."""
        self.start, self.measured_at = start, start.trained_seconds
        self.story.warnings.extend(start.warnings)
        self.reporter.length(start.step, self.training.steps, start.trained_seconds)
        self.story.generation = start.generation
        self.gallery.take_back(start.step)
        # In a line that has begun anew, what is stored of a step is drawn again before the next one is kept. Only what was drawn
        # of this very step may still be of the line that was given up.
        is_anew = start.generation.generation > 0 and start.step > start.generation.from_step
        self.gallery.read_back(start.step - 1 if is_anew else start.step)
        if self.gallery.plain:
            self.reporter.previewed(max(self.gallery.plain))
        known = read_metrics(self.record.runs, self.reporter.unstored) if start.step else []
        self.guard = DivergenceGuard(metric.loss for metric in known if metric.step <= start.step)

    def wants_measurements(self, step: int) -> bool:
        # Looked at once a step: a signal that comes later must not stop the run before this step is measured.
        self.stopping = self.stop.received
        due = time.monotonic() - self.last_report >= self.report_seconds
        # The device is waited for after the run's first step too: the time until then is told.
        first = step == self.start.step + 1
        return due or first or self.stopping or step == self.steps or self._keeps(step)

    def _keeps(self, step: int) -> bool:
        config = self.config
        occasions = (self.checkpoint_every, config.save_every)
        return config.previews.are_due(step) or any(every and step % every == 0 for every in occasions)

    def measured(self, measurements: list[Measurement], trained_seconds: float) -> None:
        self.last_report = time.monotonic()
        done = measurements[-1].step
        memory = self.metrics.read_memory()
        pace = (trained_seconds - self.start.trained_seconds) / max(1, done - self.start.step)
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
                    validation_loss=read.validation_loss,
                    memory_bytes=memory,
                    time=now(),
                )
                for read in measurements
            ],
            remaining=pace * (self.training.steps - done),
            trained_seconds=trained_seconds,
        )
        last = measurements[-1]
        self.metrics.loss.set(last.loss)
        self.metrics.learning_rate.set(last.learning_rate)
        self.metrics.gradient_norm.set(last.gradient_norm)
        self.metrics.step.set(last.step)
        self.metrics.target.set(self.steps)
        self.metrics.rate.set(last.images_per_second)
        self.metrics.steps.inc(len(measurements))
        self.metrics.images.inc(sum(read.images for read in measurements))
        for _ in measurements:
            self.metrics.step_seconds.observe((trained_seconds - self.measured_at) / len(measurements))
        self.measured_at = trained_seconds
        for read in measurements:
            self.guard.look(read.step, read.loss, read.names)

    def spending(self, work: Work) -> AbstractContextManager[None]:
        return self.metrics.spending(work)

    def after_step(self, step: int, trained_seconds: float) -> None:
        if self.stopping:
            self._stopped(step, trained_seconds)
        self._look(step, trained_seconds)
        if step == self.steps:
            return
        if step % self.checkpoint_every == 0:
            with self.spending("checkpoint"):
                self.commit_checkpoint(step, trained_seconds)
            self.record.check_current()
        self._draw_and_save(step, trained_seconds)

    def _look(self, step: int, trained_seconds: float) -> None:
        """Once in a run. Only the report needs what it finds, so that the first step does not wait for it."""
        if self.looked:
            return
        with self.spending("look"), self._interruptible(step, trained_seconds):
            self.look()
        self.looked = True
        if step < self.steps:
            self.reporter.phase(v1.PHASE_TRAINING, f"training for {self.steps} steps")

    def draw_before(self) -> None:
        """Previews without the adapter, where no earlier run has left them: a run that goes on has something to keep already."""
        if 0 not in self.gallery.plain:
            with self._interruptible(self.start.step, self.start.trained_seconds), self.saver.adapter.off():
                self.draw(0)

    def catch_up(self) -> None:
        """Draws and saves what a run that ended right behind its checkpoint has left undone there."""
        step = self.start.step
        if 0 < step < self.steps:
            saved = bool(self.config.save_every) and self.record.has_adapter(numbered(step, self._generation(step)))
            self._draw_and_save(step, self.start.trained_seconds, saved=saved)

    def _draw_and_save(self, step: int, trained_seconds: float, *, saved: bool = False) -> None:
        """Previews and a numbered adapter, where they are due and not there already."""
        config = self.config
        if config.previews.are_due(step) and step not in self.gallery.plain:
            with self._drawing(step, trained_seconds):
                self.draw(step)
        if config.save_every and step % config.save_every == 0 and not saved:
            if step in chosen_saves(config.save_every, self.training.steps):
                with self._drawing(step, trained_seconds):
                    self.draw_strengths(step)
            with self.spending("save"), self._showing(shown_values(self.training)):
                suffix, after = numbered(step, self._generation(step)), self.gallery.plain.get(step, ())
                self._save(suffix, step, is_partial=False, after=after, report=None)

    def _generation(self, step: int) -> int:
        return generation_of_step(step, self.start.generation)

    @contextmanager
    def _drawing(self, step: int, trained_seconds: float) -> Iterator[None]:
        shown = self._showing(shown_values(self.training))
        with self.spending("preview"), self._interruptible(step, trained_seconds), shown:
            yield

    def _showing(self, values: Tensor | None) -> AbstractContextManager[None]:
        return self.training.arena.showing(values)

    @contextmanager
    def _interruptible(self, step: int, trained_seconds: float) -> Iterator[None]:
        """Around what may take long and can be done again: a signal ends it at once."""
        try:
            with self.stop.interrupting():
                yield
        except Stopped:
            self._stopped(step, trained_seconds)

    def _stopped(self, step: int, trained_seconds: float) -> NoReturn:
        """SIGTERM: whatever comes next, the work so far is kept. Raises Stopped where there is none."""
        if step == 0:
            raise Stopped
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
                generation=self.start.generation.generation,
                trained_seconds=trained_seconds,
                numeric_fingerprint=self.fingerprint,
                tensors=state_of(self.training),
            ),
            checkpoint.job_sha256(self.record.assignment),
        )
        log.info("checkpoint", step=step)

    def draw(self, step: int) -> np.ndarray:
        """Previews with the adapter as it is now, kept in the gallery; as floats in [0, 1], (N, height, width, 3)."""
        drawn = self._drawn(self.config.previews, f"drawing previews after step {step}", step)
        if len(drawn):
            self.gallery.keep(step, pictures_of(drawn))
            self.reporter.previewed(step)
        return drawn

    def draw_strengths(self, step: int) -> None:
        """The first prompts at those of the spec's strengths that the gallery lacks."""
        config = self.config.previews
        first = replace(config, prompts=config.prompts[: config.strength_prompts])
        for at, strength in enumerate(config.strengths if first.prompts else ()):
            if self.gallery.at_strength(step, at) is None:
                with self.saver.adapter.at(strength):
                    drawn = self._drawn(first, f"drawing strength {strength:g} after step {step}", step)
                self.gallery.keep(step, pictures_of(drawn), at)

    def _drawn(self, config: PreviewConfig, what: str, step: int) -> np.ndarray:
        training = self.training
        if config.prompts:
            self.reporter.phase(v1.PHASE_PREVIEWING, what)
        drawn = draw_previews(training.base, training.words.of, config)
        if config.prompts and step < self.steps:
            self.reporter.phase(v1.PHASE_TRAINING, f"training for {self.steps} steps")
        return drawn

    def save_partial(self, step: int) -> None:
        """What there is of the adapter, without pictures: a run that is being stopped has seconds."""
        with self._showing(final_values(self.training)):
            self._save(FINAL, step, is_partial=True, after=(), report=None)

    def save_final(self, trained_seconds: float) -> None:
        validation = self.training.validation
        step = validation.best_step if validation is not None and validation.config.keep_best else self.steps
        self._look(self.steps, trained_seconds)
        with self._interruptible(self.steps, trained_seconds), self._showing(final_values(self.training)):
            self.draw(self.steps)
            self.draw_strengths(self.steps)
            self.reporter.phase(v1.PHASE_SAVING, "writing adapter and report")
            # A line of steps that was given up may have come further than this one.
            known = read_metrics(self.record.runs, self.reporter.unstored)
            self.story.metrics = [metric for metric in known if metric.step <= self.steps]
            self.story.warnings.extend(self._told_of_validation())
            report = partial(write_report, self.story, self.saver, self.steps, trained_seconds)
            after = self.gallery.plain.get(self.steps, ())
            self._save(FINAL, step, is_partial=False, after=after, report=report, events=self._event_file())

    def _event_file(self) -> EventFile | None:
        if not self.config.tensorboard:
            return None
        # Its libraries are loaded only where they are asked for.
        from trainer.event_file import write_event_file

        return partial(write_event_file, self.story.metrics, self.gallery, self.config.created)

    def _told_of_validation(self) -> Iterator[str]:
        validation = self.training.validation
        if validation is None:
            return
        if validation.ended_at is not None:
            yield (
                f"Training ended at step {validation.ended_at} of {self.training.steps}: in {validation.without_best} "
                f"validations nothing was better than the loss of {validation.best_loss:.5f} at step {validation.best_step}."
            )
        if validation.config.keep_best:
            yield f"The adapter is that of step {validation.best_step}, the best of all validations."

    def _save(
        self,
        suffix: str,
        step: int,
        *,
        is_partial: bool,
        after: Sequence[Image.Image],
        report: Report | None,
        events: EventFile | None = None,
    ) -> None:
        before = self.gallery.plain.get(0, ())
        saved = self.saver.save(
            Output(
                suffix=suffix,
                step=step,
                generation=self._generation(step),
                partial=is_partial,
                before=before,
                after=after,
                report=report,
                events=events,
            )
        )
        log.info("adapter saved", name=saved.name, step=step, tensors_sha256=saved.tensors_sha256)
