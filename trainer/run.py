"""The story of one run: from its assignment to its last word.

claim → data → base model → latents and words → adapter → checkpoint to go on from → loop → adapter, pictures, report → end
"""

from __future__ import annotations

import structlog
import torch

from loramill import v1
from store import open_store
from trainer.adapters.adapter import Adapter
from trainer.cache import Cache
from trainer.cache_folder import near_cache
from trainer.concepts.deciding import with_concepts_decided
from trainer.config import TrainConfig
from trainer.config_reading import read_config
from trainer.data.dataset import Reading
from trainer.data.images import Decoder
from trainer.errors import DeadlineExceeded, Diverged, OutOfMemory, UserError
from trainer.events import RunEvents
from trainer.families.base import Base
from trainer.families.registry import load_base, options_of
from trainer.fingerprint import numeric_fingerprint
from trainer.formats.metadata import Provenance
from trainer.gallery import Gallery
from trainer.loop import Training, train
from trainer.materials import read_manifest
from trainer.outputs import DTYPES, Saver
from trainer.preparation import Preparation
from trainer.previews import not_training
from trainer.progress import Reporter
from trainer.record import RunRecord
from trainer.resuming import resumed, taken_back
from trainer.settings import TrainerSettings
from trainer.stopping import StopSignal
from trainer.story import Story
from trainer.workplace import device_of, scratch, serve_metrics

log = structlog.get_logger()


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
    """What is done before there is anything to keep: data read, base loaded, pictures encoded, a checkpoint restored."""
    config, record, reporter = preparation.config, preparation.record, preparation.reporter
    metrics, device = serve_metrics(settings), device_of(settings)
    precision = config.optimization.precision or ("bf16" if device.type == "cuda" else "fp32")
    dtype = DTYPES[precision]
    _refuse_what_needs_a_gpu(config, device)
    reading = preparation.read_data()
    folder = preparation.fetch_base(settings.bases)
    base = load_base(config.family, folder.path, device, dtype, options_of(config))
    fingerprint = numeric_fingerprint(device, dtype)
    preparation, decided = with_concepts_decided(preparation, base, reading, fingerprint)
    config = preparation.config
    training, adapter, cut = preparation.training(base, reading, fingerprint)
    log.info("adapter in place", layers=adapter.counted(), parameters=training.arena.count)

    first_values = training.arena.values.detach().cpu().clone()
    start = resumed(training, record, fingerprint)
    warnings = [*reading.warnings, *folder.warnings, *cut]
    gallery = Gallery(config.previews, record, preparation.work, base_stays=not training.pivotal.wanted)
    story = Story(config, reading, warnings, fingerprint, training.order, gallery, decided)

    def look() -> None:
        with adapter.off(), not_training(base):
            story.told_of_tags(preparation.check_tags(base, training, fingerprint))
            story.data_report = preparation.data_report(base, training, reading, fingerprint)

    events = RunEvents(
        config=config,
        record=record,
        reporter=reporter,
        metrics=metrics,
        stop=preparation.stop,
        saver=_saver(preparation, reading, base, training, adapter),
        training=training,
        first_values=first_values,
        story=story,
        look=look,
        checkpoint_every=config.checkpoint_every or max(25, training.steps // 10),
        fingerprint=fingerprint,
        report_seconds=settings.report_seconds,
        start=start,
    )
    events.go_on(start)
    return training, events


def _trained(training: Training, record: RunRecord, reporter: Reporter, events: RunEvents) -> float:
    """Trains to the end, from the last good state once more if training diverges; the seconds of it."""
    while True:
        start = events.start
        try:
            events.catch_up()
            return train(training, start.step, start.trained_seconds, events, start.generation.rate_factor)
        except Diverged as error:
            values, seconds = events.first_values, reporter.trained_seconds
            events.go_on(taken_back(training, record, start.generation, values, seconds, error))
        except DeadlineExceeded:
            events.save_partial(reporter.step)
            raise


def run(record: RunRecord, settings: TrainerSettings, reporter: Reporter, stop: StopSignal) -> str:
    """Does the assignment; its last word when the adapter is committed. Raises a TrainerError, and Stopped before it trains."""
    config = read_config(record.assignment)
    uri = record.assignment.cache_uri
    cache = Cache(open_store(uri), near_cache(settings.caches, uri, settings.caches_gib))
    try:
        with scratch(settings) as work, Decoder() as decoder:
            with stop.interrupting():
                preparation = Preparation(config, record, reporter, stop, cache, decoder, work)
                training, events = _made_ready(preparation, settings)
            events.draw_before()
            reporter.phase(v1.PHASE_TRAINING, f"training for {training.order.told(training.steps)}")
            events.save_final(_trained(training, record, reporter, events))
    except torch.cuda.OutOfMemoryError as error:
        raise OutOfMemory(f"Memory did not suffice; use a smaller batch or resolution ({error}).") from error
    reporter.phase(v1.PHASE_ENDED, "done")
    return "The adapter is trained and saved."
