"""The story of one run: from its assignment to its last word.

claim → data → base model → latents and words → adapter → checkpoint to go on from → loop → adapter, pictures, report → end
"""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import numpy as np
import structlog
import torch

from loramill import v1
from store import open_store
from trainer import checkpoint
from trainer.adapters.lora import AdaptersOff
from trainer.adapters.registry import Adapter, put_adapter
from trainer.arena import Arena
from trainer.cache import Cache
from trainer.config import TrainConfig, read_config
from trainer.data.dataset import Reading, read_dataset
from trainer.data.images import Decoder
from trainer.data.order import Order
from trainer.embeddings import Words
from trainer.errors import Cancelled, DeadlineExceeded, Preempted
from trainer.families.base import Base
from trainer.families.registry import load_base
from trainer.fingerprint import numeric_fingerprint
from trainer.formats.metadata import Provenance
from trainer.latents import encode_examples
from trainer.loop import Training, captions_of, train
from trainer.materials import blob_fetcher, component_digest, dataset_files, fetch_base, read_manifest
from trainer.measurements import Measurement
from trainer.metrics import TrainerMetrics
from trainer.optimizers import AdamW
from trainer.outputs import FINAL, Output, Saver, picture, png
from trainer.previews import draw_previews
from trainer.prior import PriorExample, draw_prior
from trainer.progress import Reporter
from trainer.record import RunRecord, now
from trainer.schedules import default_warmup
from trainer.settings import TrainerSettings
from trainer.story import Story, read_metrics, write_report

log = structlog.get_logger()


class StopSignal:
    """Notices SIGTERM and SIGINT; the loop looks at it after each step."""

    def __init__(self) -> None:
        self.received = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._notice)

    def _notice(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.received = True


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
        return due or self.stopping or step == self.steps or self._keeps(step)

    def _keeps(self, step: int) -> bool:
        return any(every and step % every == 0 for every in (self.checkpoint_every, self.config.save_every))

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
            self.draw(step)
        if self.config.save_every and step % self.config.save_every == 0:
            after = self.story.previews.get(step, np.zeros((0,)))
            self._save(f"{step:06d}", step, partial=False, after=after, report=None)

    def _stopped(self, step: int, trained_seconds: float) -> None:
        """SIGTERM: whatever comes next, the work so far is kept."""
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
        self._save(FINAL, step, partial=True, after=np.zeros((0,)), report=None)

    def save_final(self, trained_seconds: float) -> v1.Adapter:
        self.draw(self.steps)
        self.reporter.phase(v1.PHASE_SAVING, "writing adapter and report")
        self.story.metrics = read_metrics(self.record.runs, self.reporter.unstored)
        report = write_report(self.story, self.saver, self.steps, trained_seconds)
        after = self.story.previews.get(self.steps, np.zeros((0,)))
        return self._save(FINAL, self.steps, partial=False, after=after, report=report)

    def _save(self, suffix: str, step: int, *, partial: bool, after: np.ndarray, report: str | None) -> v1.Adapter:
        before = self.story.previews.get(0, np.zeros((0,)))
        saved = self.saver.save(
            Output(suffix=suffix, step=step, partial=partial, before=before, after=after, report=report)
        )
        log.info("adapter saved", name=saved.name, step=step, tensors_sha256=saved.tensors_sha256)
        return saved


@contextmanager
def _scratch(settings: TrainerSettings) -> Iterator[Path]:
    if settings.work_dir is not None:
        settings.work_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="loramill-", dir=settings.work_dir) as folder:
        yield Path(folder)


@dataclass(frozen=True)
class Preparation:
    """What comes before the first step: everything is made ready, can be watched, and can be interrupted."""

    config: TrainConfig
    record: RunRecord
    reporter: Reporter
    stop: StopSignal
    cache: Cache
    decoder: Decoder

    def progress(self, what: str) -> Callable[[int, int], None]:
        def told(done: int, total: int) -> None:
            self._check_stop()
            self.reporter.count(what, done, total)

        return told

    def _check_stop(self) -> None:
        """Before the first step there is nothing to keep."""
        if not self.stop.received:
            return
        if self.record.cancel_requested():
            raise Cancelled("The job was cancelled before this run's first step.")
        raise Preempted("The trainer was told to stop before this run's first step.")

    def read_data(self, work: Path) -> Reading:
        """The dataset, checked; raises UserError with every problem."""
        self.reporter.phase(v1.PHASE_CHECKING_DATA, "checking the dataset")
        assignment = self.record.assignment
        reading = read_dataset(
            dataset_files(read_manifest(assignment.dataset_manifest_uri)),
            blob_fetcher(assignment),
            work,
            self.config.subsets,
            self.config.pictures,
            self.config.activation_tag,
            self.decoder,
            self.progress("checking pictures"),
        )
        for warning in reading.warnings:
            log.warning(warning)
        return reading

    def training(self, base: Base, reading: Reading, fingerprint: str) -> tuple[Training, Adapter, list[str]]:
        """All that the loop needs, the adapter, and warnings: pictures and captions encoded, prior drawn, adapter in place.

        `fingerprint` is the UNet's; VAE and text encoder compute in fp32 whatever the precision is.
        """
        config, device = self.config, base.alphas_cumprod.device
        in_fp32 = numeric_fingerprint(device, torch.float32)
        manifest = read_manifest(self.record.assignment.base_model_uri + "manifest.json")
        self.reporter.phase(v1.PHASE_ENCODING, "encoding pictures and captions")
        posteriors = encode_examples(
            reading.examples,
            base,
            self.decoder,
            self.cache,
            vae_digest=component_digest(manifest, "vae"),
            fingerprint=in_fp32,
            mirrored=config.pictures.flip_probability > 0,
            progress=self.progress("encoding pictures"),
        )
        words = Words(
            base,
            self.cache,
            encoder_digest=component_digest(manifest, "text_encoder", "tokenizer"),
            fingerprint=in_fp32,
            trained=config.text_encoder.train,
        )
        captions = {caption for example in reading.examples for caption in captions_of(config, example)}
        captions |= set(config.prior.captions) if config.prior else set()
        words.prepare(captions, self.progress("encoding captions"))
        prior = self._prior(base, fingerprint)
        order = self._order(reading)
        steps = config.optimization.steps or order.steps_of(config.optimization.epochs or 1)
        adapter = put_adapter(config, base)
        arena = Arena(adapter.groups(config), device)
        warmup = config.optimization.warmup_steps
        training = Training(
            config=config,
            base=base,
            device=device,
            examples=reading.examples,
            posteriors=posteriors,
            words=words,
            prior=prior,
            order=order,
            arena=arena,
            optimizer=AdamW(arena, beta1=config.optimization.beta1, beta2=config.optimization.beta2),
            steps=steps,
            warmup=default_warmup(steps) if warmup is None else min(warmup, steps),
        )
        return training, adapter, _token_warnings(base, captions)

    def _prior(self, base: Base, fingerprint: str) -> list[PriorExample]:
        if self.config.prior is None:
            return []
        return draw_prior(
            self.config.prior,
            self.config.previews,
            base,
            self.cache,
            side=self.config.pictures.resolution,
            seed=self.config.optimization.seed,
            base_digest=self.record.assignment.base_model.digest,
            fingerprint=fingerprint,
            progress=self.progress("drawing what the base knows"),
        )

    def _order(self, reading: Reading) -> Order:
        return Order(
            buckets=[example.bucket for example in reading.examples],
            repeats=[self.config.subsets[example.subset].repeats for example in reading.examples],
            seed=self.config.optimization.seed,
            batch_size=self.config.optimization.batch_size,
            accumulation=self.config.optimization.gradient_accumulation,
        )


def _token_warnings(base: Base, captions: set[str]) -> list[str]:
    room = base.max_tokens - 2
    long = sorted(caption for caption in captions if base.count_tokens(caption) > room)
    if not long:
        return []
    return [f"{len(long)} captions are longer than {room} tokens and are cut, such as {long[0][:80]!r}; shorten them."]


def _resume(training: Training, record: RunRecord, fingerprint: str) -> tuple[int, float, list[str]]:
    """Goes on from the best checkpoint of any run of this job; returns the steps and seconds already done, and warnings."""
    found = checkpoint.choose(record.runs, checkpoint.job_sha256(record.assignment))
    if found is None:
        return 0, 0.0, []
    warnings = []
    if found.numeric_fingerprint != fingerprint:
        warnings.append(
            f"Training went on at step {found.step} under another numeric fingerprint, so that the adapter is as good as "
            f"an uninterrupted one, but not the same bits: before {found.numeric_fingerprint!r}, now {fingerprint!r}."
        )
        log.warning(warnings[-1])
    training.arena.restore(found.tensors)
    training.optimizer.rewind(found.step)
    log.info("resumed", step=found.step)
    return found.step, found.trained_seconds, warnings


def run(
    record: RunRecord, settings: TrainerSettings, reporter: Reporter, stop: StopSignal, device: torch.device
) -> None:
    """Does the assignment; returns when its adapter is committed, raises a TrainerError otherwise."""
    assignment = record.assignment
    config = read_config(assignment)
    precision = config.optimization.precision or ("bf16" if device.type == "cuda" else "fp32")
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    cache, metrics = Cache(open_store(assignment.cache_uri)), TrainerMetrics()
    if settings.metrics_port is not None:
        metrics.serve(settings.metrics_port, settings.metrics_address)
    with _scratch(settings) as work, Decoder() as decoder:
        preparation = Preparation(config, record, reporter, stop, cache, decoder)
        reading = preparation.read_data(work / "data")
        reporter.phase(v1.PHASE_LOADING_MODEL, f"loading {assignment.base_model.name}")
        base = load_base(config.family, fetch_base(assignment, work / "base"), device, dtype)
        fingerprint = numeric_fingerprint(device, dtype)
        training, adapter, cut = preparation.training(base, reading, fingerprint)
        log.info("adapter in place", modules=len(adapter.modules), parameters=training.arena.count)

        start, trained_seconds, changed = _resume(training, record, fingerprint)
        reporter.length(start, training.steps, trained_seconds)
        saver = Saver(
            config=config,
            record=record,
            adapter=adapter,
            provenance=Provenance(
                base_name=assignment.base_model.name.removeprefix("baseModels/"),
                base_digest=assignment.base_model.digest,
                dataset_digest=read_manifest(assignment.dataset_manifest_uri).digest,
                architecture=base.architecture,
                prediction_type=base.prediction_type,
                steps=training.steps,
                total_steps=training.steps,
                epochs=training.order.epoch_of(training.steps - 1) + 1,
                thumbnail=None,
            ),
            examples=reading.examples,
            work=work,
        )
        story = Story(
            config=config, reading=reading, warnings=[*reading.warnings, *cut, *changed], fingerprint=fingerprint
        )
        events = RunEvents(
            config=config,
            record=record,
            reporter=reporter,
            metrics=metrics,
            stop=stop,
            saver=saver,
            arena=training.arena,
            base=base,
            story=story,
            steps=training.steps,
            checkpoint_every=config.checkpoint_every or max(25, training.steps // 10),
            fingerprint=fingerprint,
            report_seconds=settings.report_seconds,
            started_at=trained_seconds,
            started_step=start,
            measured_at=trained_seconds,
        )
        with AdaptersOff([base.unet, base.text_encoder]):
            events.draw(0)
        reporter.phase(v1.PHASE_TRAINING, f"training for {training.steps} steps")
        try:
            trained_seconds = train(training, start, trained_seconds, events)
        except DeadlineExceeded:
            events.save_partial(reporter.step)
            raise
        events.save_final(trained_seconds)
        reporter.phase(v1.PHASE_ENDED, "done")
