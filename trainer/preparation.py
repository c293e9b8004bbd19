"""What comes before the first step: pictures and captions are read and encoded, the prior is drawn, the adapter put in place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
import torch

from loramill import v1
from trainer.adapters.adapter import Adapter, put_adapter
from trainer.adapters.beginning import Beginning, begin_anew, begin_from
from trainer.adapters.targets import layers_of
from trainer.arena import Arena
from trainer.base_files import BaseFolder, fetch_base
from trainer.cache import Cache
from trainer.config import TrainConfig
from trainer.data.dataset import Reading, read_dataset
from trainer.data.images import Decoder
from trainer.data.order import Order
from trainer.embeddings import Words
from trainer.families.base import Base
from trainer.fingerprint import numeric_fingerprint
from trainer.formats.matching import matched
from trainer.formats.reading import read_adapter
from trainer.latents import encode_examples
from trainer.loop import Training, captions_of
from trainer.materials import (
    blob_fetcher,
    component_digest,
    dataset_files,
    fetch_initial_adapter,
    read_manifest,
)
from trainer.optimizers import AdamW
from trainer.prior import PriorExample, draw_prior
from trainer.progress import Reporter
from trainer.record import RunRecord
from trainer.schedules import default_warmup
from trainer.stopping import StopSignal

log = structlog.get_logger()


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
            self.config.activation_tag,
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
        known = set(config.prior.captions) if config.prior else set()
        words.prepare(known if config.text_encoder.train else captions | known, self.progress("encoding captions"))
        prior = self._prior(base, fingerprint)
        order = self._order(reading)
        steps = config.optimization.steps or order.steps_of(config.optimization.epochs or 1)
        adapter = put_adapter(config, base, self._beginnings(base))
        arena = Arena(adapter.groups(config.optimization.weight_decay), device)
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
            adapter=adapter,
            arena=arena,
            optimizer=AdamW(arena, beta1=config.optimization.beta1, beta2=config.optimization.beta2),
            steps=steps,
            warmup=default_warmup(steps) if warmup is None else min(warmup, steps),
        )
        return training, adapter, _token_warnings(base, captions | known)

    def _beginnings(self, base: Base) -> list[Beginning]:
        path = fetch_initial_adapter(self.record.assignment, self.work / "initial")
        if path is None:
            return begin_anew(self.config, base)
        file = read_adapter(path)
        for note in file.notes:
            log.warning(note)
        layers = {name: layers_of(network) for name, network in base.networks.items()}
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
