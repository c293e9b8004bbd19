"""What comes before the first step: pictures and captions are read and encoded, the prior is drawn, the adapter put in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
import torch

from loramill import v1
from trainer.adapters.adapter import Adapter, put_adapter
from trainer.adapters.beginning import Beginning, begin_anew, begin_from
from trainer.adapters.targets import layers_of
from trainer.arena import Arena
from trainer.averaging import MovingAverage
from trainer.base_files import BaseFolder, fetch_base
from trainer.cache import Cache
from trainer.concepts.tag_check import TagFinding
from trainer.concepts.tag_measuring import Pictures, TagChecks
from trainer.config import TrainConfig
from trainer.confirmation import confirm_base
from trainer.data.dataset import Example, Reading, read_dataset
from trainer.data.images import Decoder
from trainer.data.order import Order
from trainer.data.views import View
from trainer.data_report.budget import Sample, sample
from trainer.data_report.job import Reporting
from trainer.data_report.job import store as store_report
from trainer.data_report.report import DataReport
from trainer.embeddings import Words
from trainer.errors import UserError
from trainer.families.base import Base
from trainer.fingerprint import numeric_fingerprint
from trainer.formats.matching import matched
from trainer.formats.reading import read_adapter
from trainer.gradient_checkpointing import compute_again
from trainer.latents import Posterior, encode_examples
from trainer.loop import Training, caption_variant, captions_of, framing_of
from trainer.loss_scaling import LossScale
from trainer.masks import read_masks
from trainer.materials import (
    blob_fetcher,
    component_digest,
    dataset_files,
    fetch_initial_adapter,
    read_manifest,
)
from trainer.optimizers import make_optimizer
from trainer.pivotal import put_new_tokens
from trainer.prior import PriorExample, draw_prior
from trainer.progress import Reporter
from trainer.record import RunRecord
from trainer.schedules import default_warmup
from trainer.stopping import StopSignal
from trainer.text.findings import text_warnings
from trainer.validation import HeldOut, Validation, default_distance, held_out_ids

log = structlog.get_logger()

ASKED = 4
"""Pictures that the base is asked about at once for each that training takes at once: without gradients it keeps far less."""


@dataclass(frozen=True)
class Encoded:
    """The dataset as the UNet takes it."""

    posteriors: Mapping[View, Posterior]
    words: Words
    captions: set[str]
    """Every variant of the examples' captions."""
    known: set[str]
    """Captions of what is to stay as the base knows it."""


@dataclass(frozen=True)
class Preparation:
    """Everything is made ready, can be watched, and can be interrupted."""

    config: TrainConfig
    record: RunRecord
    reporter: Reporter
    stop: StopSignal
    cache: Cache
    decoder: Decoder
    work: Path
    """A folder of the run's own."""

    def progress(self, what: str) -> Callable[[int, int], None]:
        def told(done: int, total: int) -> None:
            self.stop.check()
            self.reporter.count(what, done, total)

        return told

    def read_data(self) -> Reading:
        """The dataset, checked; raises UserError with every problem."""
        self.reporter.phase(v1.PHASE_CHECKING_DATA, "checking the dataset")
        assignment = self.record.assignment
        reading = read_dataset(
            dataset_files(read_manifest(assignment.dataset_manifest_uri)),
            blob_fetcher(assignment),
            self.work / "data",
            self.config.subsets,
            self.config.pictures,
            self.decoder,
            self.progress("checking pictures"),
        )
        for warning in reading.warnings:
            log.warning(warning)
        return reading

    def fetch_base(self, bases: Path | None) -> BaseFolder:
        """The base model's files; raises UserError where the store has not what the job was accepted with."""
        assignment = self.record.assignment
        name = assignment.base_model.name
        self.reporter.phase(v1.PHASE_LOADING_MODEL, f"fetching {name}")
        folder = fetch_base(assignment, self.work / "base", bases)
        self.reporter.phase(v1.PHASE_LOADING_MODEL, f"loading {name} from {folder.source}")
        return folder

    def encoded(self, base: Base, reading: Reading) -> Encoded:
        """Pictures and captions as the UNet takes them, found in the cache or put there. Call it while no adapter is in the base.

        VAE and text encoder compute in fp32 whatever the precision is.
        """
        config = self.config
        in_fp32 = numeric_fingerprint(base.device, torch.float32)
        manifest = read_manifest(self.record.assignment.base_model_uri + "manifest.json")
        self.reporter.phase(v1.PHASE_ENCODING, "encoding pictures and captions")
        posteriors = encode_examples(
            reading.examples,
            base,
            self.decoder,
            self.cache,
            vae_digest=component_digest(manifest, "vae"),
            fingerprint=in_fp32,
            mirrored=self._mirrored,
            progress=self.progress("encoding pictures"),
            work=self.work,
        )
        words = Words(
            base,
            self.cache,
            digests={encoder.name: component_digest(manifest, *encoder.folders) for encoder in base.text_encoders},
            fingerprint=in_fp32,
            # Whether an encoder's layers are trained or words that it reads: what it makes of captions changes.
            trained={*config.trained, *(encoder.name for encoder in base.text_encoders if config.text.pivotal)},
            work=self.work,
        )
        captions = {caption for example in reading.examples for caption in captions_of(config, example)}
        known = set(config.prior.captions) if config.prior else set()
        prompts = {text for one in config.previews.prompts for text in (one.prompt, one.negative_prompt)}
        words.prepare(captions | prompts, known, self.progress("encoding captions"))
        return Encoded(posteriors, words, captions, known)

    def training(self, base: Base, reading: Reading, fingerprint: str) -> tuple[Training, Adapter, list[str]]:
        """All that the loop needs, the adapter, and warnings: pictures and captions encoded, prior drawn, adapter in place.

        `fingerprint` is the UNet's.
        """
        config, device = self.config, base.device
        encoded = self.encoded(base, reading)
        posteriors, words, captions = encoded.posteriors, encoded.words, encoded.captions
        masks = read_masks(
            reading.examples,
            self.decoder,
            self.cache,
            factor=base.factor,
            mirrored=self._mirrored,
            progress=self.progress("reading masks"),
            work=self.work,
        )
        prior = self._prior(base, fingerprint)
        examples, held_out = self._parted(reading)
        order = self._order(examples)
        steps = config.optimization.steps or order.steps_of(config.optimization.epochs or 1)
        confirm_base(base, config, examples, posteriors, words)
        adapter = put_adapter(config, base, self._beginnings(base))
        base.keep({"unet", *words.trained})
        if config.optimization.gradient_checkpointing:
            compute_again(base.network(name) for name in {"unet", *config.trained})
        pivotal = put_new_tokens(config.text.pivotal, base, adapter, config.optimization.seed)
        arena = Arena([*adapter.groups(config.optimization.weight_decay), *pivotal.groups()], device)
        warmup, decay = config.optimization.warmup_steps, config.optimization.ema_decay
        training = Training(
            config=config,
            base=base,
            device=device,
            examples=examples,
            posteriors=posteriors,
            masks=masks,
            words=words,
            prior=prior,
            order=order,
            adapter=adapter,
            arena=arena,
            optimizer=make_optimizer(arena, config.optimization),
            average=MovingAverage(arena, decay) if decay else None,
            scale=LossScale() if config.optimization.precision == "fp16" else None,
            validation=self._validation(base, posteriors, held_out, steps),
            pivotal=pivotal,
            steps=steps,
            warmup=default_warmup(steps) if warmup is None else min(warmup, steps),
        )
        told = captions | encoded.known
        return (
            training,
            adapter,
            text_warnings(told, config.text.max_tokens, words.token_counts(told)),
        )

    def check_tags(self, base: Base, training: Training, fingerprint: str) -> list[TagFinding]:
        """What the base makes of the job's activation tags, on pictures of the dataset. Call it while the adapter is off."""
        config = self.config
        if not config.text.tags_to_check:
            return []
        self.reporter.phase(v1.PHASE_TRAINING, "checking the activation tag")
        first = training.examples[0]
        alike = [one for one in training.examples if one.bucket == first.bucket][:2]
        pictures = Pictures(
            latents=[base.scaled(training.posteriors[View(one.id, mirrored=False)].mean) for one in alike],
            framing=framing_of(first, View(first.id, mirrored=False)),
            key=[[one.sha256, one.resize, one.crops[0]] for one in alike],
        )
        depends_on = {"base": self.record.assignment.base_model.digest, "fingerprint": fingerprint}
        checks = TagChecks(base, pictures, self.cache, depends_on, at_once=ASKED * config.optimization.batch_size)
        return [checks.finding(tag) for tag in config.text.tags_to_check]

    def data_report(self, base: Base, training: Training, reading: Reading, fingerprint: str) -> DataReport:
        """What there is to say of the data, also stored for the service. Call it while the adapter is off."""
        self.reporter.phase(v1.PHASE_TRAINING, "looking at the data")
        visits = training.steps * self.config.optimization.batch_size * self.config.optimization.gradient_accumulation
        chosen = sample(len(reading.examples), visits)
        report = self.report(base, training.words, training.posteriors, reading, fingerprint, chosen)
        base.keep({"unet", *training.words.trained})
        store_report(report, self.work, self.record.put_file)
        return report

    def report(
        self,
        base: Base,
        words: Words,
        posteriors: Mapping[View, Posterior],
        reading: Reading,
        fingerprint: str,
        chosen: Sample,
    ) -> DataReport:
        """What there is to say of the data where the base is asked about what is `chosen`."""
        config, assignment = self.config, self.record.assignment
        reporting = Reporting(
            subsets=config.subsets,
            rules=config.pictures,
            base=base,
            base_name=assignment.base_model.name,
            base_digest=assignment.base_model.digest,
            fingerprint=fingerprint,
            at_once=ASKED * config.optimization.batch_size,
            decoder=self.decoder,
            cache=self.cache,
            progress=self.progress,
        )
        return reporting.made(
            assignment.spec.dataset.dataset,
            reading.examples,
            [caption_variant(config, example, 0) for example in reading.examples],
            words,
            posteriors,
            chosen,
        )

    def _mirrored(self, example: Example) -> bool:
        return self.config.subsets[example.subset].flip_probability > 0

    def _beginnings(self, base: Base) -> list[Beginning]:
        path = fetch_initial_adapter(self.record.assignment, self.work / "initial")
        if path is None:
            return begin_anew(self.config, base)
        file = read_adapter(path)
        for note in file.notes:
            log.warning(note)
        layers = {name: layers_of(base.network(name)) for name in base.network_names}
        return begin_from(matched(file.layers, layers), self.config)

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

    def _parted(self, reading: Reading) -> tuple[Sequence[Example], Sequence[Example]]:
        """The examples to train on, and those that are held out."""
        config = self.config.validation
        if config is None:
            return reading.examples, ()
        subsets = self.config.subsets
        if config.subset:
            ids = {one.id for one in reading.examples if subsets[one.subset].path_prefix == config.subset}
        else:
            mine = [one.id for one in reading.examples if not subsets[one.subset].class_images]
            ids = held_out_ids(mine, config.share, self.config.optimization.seed)
        trained = [one for one in reading.examples if one.id not in ids]
        if not trained:
            raise UserError(
                f"validation holds out all {len(ids)} examples, so that none is left to train on; add pictures, or hold out less."
            )
        return trained, [one for one in reading.examples if one.id in ids]

    def _validation(
        self, base: Base, posteriors: Mapping[View, Posterior], held_out: Sequence[Example], steps: int
    ) -> Validation | None:
        config, optimization = self.config.validation, self.config.optimization
        if config is None:
            return None
        return Validation(
            config=config,
            examples=[
                HeldOut(
                    id=one.id,
                    latents=base.scaled(posteriors[View(one.id, mirrored=False)].mean),
                    caption=caption_variant(self.config, one, 0),
                    framing=framing_of(one, View(one.id, mirrored=False)),
                )
                for one in held_out
            ],
            every=config.every_steps or default_distance(steps),
            seed=optimization.seed,
            batch_size=optimization.batch_size,
        )

    def _order(self, examples: Sequence[Example]) -> Order:
        return Order(
            buckets=[example.bucket for example in examples],
            repeats=[self.config.subsets[example.subset].repeats for example in examples],
            seed=self.config.optimization.seed,
            batch_size=self.config.optimization.batch_size,
            accumulation=self.config.optimization.gradient_accumulation,
        )
