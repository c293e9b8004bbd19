"""The story of one run: from its assignment to its last word.

claim → data → base model → latents and words → adapter → checkpoint to go on from → loop → adapter, pictures, report → end
"""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
import torch

from loramill import v1
from store import open_store
from trainer.adapters.adapter import Adapter
from trainer.cache import Cache
from trainer.cache_folder import near_cache
from trainer.config import TrainConfig
from trainer.config_reading import read_config
from trainer.data.dataset import Reading
from trainer.data.images import Decoder
from trainer.errors import DeadlineExceeded, Diverged, OutOfMemory, StorageFailed, UserError
from trainer.events import RunEvents
from trainer.families.base import Base
from trainer.families.registry import load_base, options_of
from trainer.fingerprint import numeric_fingerprint
from trainer.formats.metadata import Provenance
from trainer.loop import Training, train
from trainer.materials import read_manifest
from trainer.metrics import TrainerMetrics
from trainer.outputs import DTYPES, Saver
from trainer.preparation import Preparation
from trainer.progress import Reporter
from trainer.record import RunRecord
from trainer.resuming import resumed, taken_back
from trainer.settings import TrainerSettings
from trainer.stopping import StopSignal
from trainer.story import Story

log = structlog.get_logger()


@contextmanager
def _scratch(settings: TrainerSettings) -> Iterator[Path]:
    """A folder of this run's own, while it lasts. Raises StorageFailed when the disk that it lies on is full."""
    if settings.work_dir is not None:
        settings.work_dir.mkdir(parents=True, exist_ok=True)
    try:
        # A thread of a run that was told to stop may still write there for a moment; that is no error of the run's.
        with tempfile.TemporaryDirectory(
            prefix="loramill-", dir=settings.work_dir, ignore_cleanup_errors=True
        ) as folder:
            yield Path(folder)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StorageFailed(
            f"The disk of {settings.work_dir or tempfile.gettempdir()}, where the trainer keeps base model, dataset and "
            "adapters while it works, is full; free some of it, or have the operator raise the ephemeral storage of the "
            "compute class."
        ) from error


def _device(settings: TrainerSettings) -> torch.device:
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    device = torch.device(settings.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda":
        # Attention's memory-efficient kernel has no deterministic backward; flash and plain attention have.
        torch.backends.cuda.enable_mem_efficient_sdp(False)
        torch.use_deterministic_algorithms(True)
    return device


def _refuse_what_needs_a_gpu(config: TrainConfig, device: torch.device) -> None:
    if config.optimization.optimizer == "adamw_8bit" and device.type == "cpu":
        raise UserError(
            "optimization.optimizer is ADAMW_8BIT, which saves memory on GPUs, and this trainer has none; choose ADAMW, or a "
            "compute class with a GPU."
        )


def _saver(preparation: Preparation, reading: Reading, base: Base, training: Training, adapter: Adapter) -> Saver:
    assignment = preparation.record.assignment
    return Saver(
        config=preparation.config,
        record=preparation.record,
        adapter=adapter,
        pivotal=training.pivotal,
        provenance=Provenance(
            base_name=assignment.base_model.name.removeprefix("baseModels/"),
            base_digest=assignment.base_model.digest,
            dataset_digest=read_manifest(assignment.dataset_manifest_uri).digest,
            initial_adapter_sha256=assignment.initial_adapter_sha256,
            family=base.facts,
            prediction_type=base.prediction_type,
            clip_skip=base.text_encoders[0].clip_skip,
            steps=training.steps,
            total_steps=training.steps,
            epochs=training.order.epoch_of(training.steps - 1) + 1,
            thumbnail=None,
        ),
        examples=reading.examples,
        work=preparation.work,
    )


def _made_ready(preparation: Preparation, settings: TrainerSettings) -> tuple[Training, RunEvents]:
    """All that is done before the first step: data read, base loaded, pictures encoded, a checkpoint restored, previews drawn."""
    config, record, reporter = preparation.config, preparation.record, preparation.reporter
    metrics, device = TrainerMetrics(), _device(settings)
    if settings.metrics_port is not None:
        metrics.serve(settings.metrics_port, settings.metrics_address)
    precision = config.optimization.precision or ("bf16" if device.type == "cuda" else "fp32")
    dtype = DTYPES[precision]
    _refuse_what_needs_a_gpu(config, device)
    reading = preparation.read_data()
    folder = preparation.fetch_base(settings.bases)
    base = load_base(config.family, folder.path, device, dtype, options_of(config))
    fingerprint = numeric_fingerprint(device, dtype)
    training, adapter, cut = preparation.training(base, reading, fingerprint)
    log.info("adapter in place", layers=adapter.counted(), parameters=training.arena.count)

    first_values = training.arena.values.detach().cpu().clone()
    with adapter.off():
        tags = preparation.check_tags(base, training, fingerprint)
        data_report = preparation.data_report(base, training, reading, fingerprint)
    start = resumed(training, record, fingerprint)
    warnings = [*reading.warnings, *folder.warnings, *cut, *(tag.sentence for tag in tags if not tag.is_good)]
    events = RunEvents(
        config=config,
        record=record,
        reporter=reporter,
        metrics=metrics,
        stop=preparation.stop,
        saver=_saver(preparation, reading, base, training, adapter),
        training=training,
        first_values=first_values,
        story=Story(config, reading, warnings, fingerprint, data_report, training.order, tags),
        checkpoint_every=config.checkpoint_every or max(25, training.steps // 10),
        fingerprint=fingerprint,
        report_seconds=settings.report_seconds,
        start=start,
    )
    events.go_on(start)
    with adapter.off():
        events.draw(0)
    return training, events


def _trained(training: Training, record: RunRecord, reporter: Reporter, events: RunEvents) -> float:
    """Trains to the end, from the last good state once more if training diverges; the seconds of it."""
    while True:
        start = events.start
        try:
            return train(training, start.step, start.trained_seconds, events, start.generation.rate_factor)
        except Diverged as error:
            values, seconds = events.first_values, reporter.trained_seconds
            events.go_on(taken_back(training, record, start.generation, values, seconds, error))
        except DeadlineExceeded:
            events.save_partial(reporter.step)
            raise


def run(record: RunRecord, settings: TrainerSettings, reporter: Reporter, stop: StopSignal) -> None:
    """Does the assignment; returns when its adapter is committed. Raises a TrainerError, and Stopped before the first step."""
    config = read_config(record.assignment)
    uri = record.assignment.cache_uri
    cache = Cache(open_store(uri), near_cache(settings.caches, uri, settings.caches_gib))
    try:
        with _scratch(settings) as work, Decoder() as decoder:
            with stop.interrupting():
                preparation = Preparation(config, record, reporter, stop, cache, decoder, work)
                training, events = _made_ready(preparation, settings)
            reporter.phase(v1.PHASE_TRAINING, f"training for {training.order.told(training.steps)}")
            events.save_final(_trained(training, record, reporter, events))
    except torch.cuda.OutOfMemoryError as error:
        raise OutOfMemory(f"Memory did not suffice; use a smaller batch or resolution ({error}).") from error
    reporter.phase(v1.PHASE_ENDED, "done")
