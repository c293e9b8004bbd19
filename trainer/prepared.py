"""What runs that do not train begin with: the dataset read and encoded, and the frozen base that is asked about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
import torch

from store import open_store
from trainer.cache import Cache
from trainer.cache_folder import near_cache
from trainer.config_reading import read_config
from trainer.data.dataset import Reading
from trainer.data.images import Decoder
from trainer.errors import OutOfMemory
from trainer.families.base import Base
from trainer.families.registry import load_base, options_of
from trainer.fingerprint import numeric_fingerprint
from trainer.outputs import DTYPES
from trainer.preparation import Encoded, Preparation
from trainer.progress import Reporter
from trainer.record import RunRecord
from trainer.settings import TrainerSettings
from trainer.stopping import StopSignal
from trainer.workplace import device_of, scratch, serve_metrics

log = structlog.get_logger()


@dataclass(frozen=True)
class Prepared:
    """All that the base can be asked with. No adapter is in it."""

    preparation: Preparation
    reading: Reading
    base: Base
    encoded: Encoded
    fingerprint: str
    """Of the UNet's arithmetic."""


@contextmanager
def prepared(record: RunRecord, settings: TrainerSettings, reporter: Reporter, stop: StopSignal) -> Iterator[Prepared]:
    """While it lasts there are a decoder and a folder of the run's own. Raises a TrainerError, and Stopped where told to."""
    config = read_config(record.assignment)
    uri = record.assignment.cache_uri
    cache = Cache(open_store(uri), near_cache(settings.caches, uri, settings.caches_gib))
    try:
        with scratch(settings) as work, Decoder() as decoder:
            preparation = Preparation(config, record, reporter, stop, cache, decoder, work)
            serve_metrics(settings)
            device = device_of(settings)
            dtype = DTYPES[config.optimization.precision or ("bf16" if device.type == "cuda" else "fp32")]
            reading = preparation.read_data()
            folder = preparation.fetch_base(settings.bases)
            for warning in folder.warnings:
                log.warning(warning)
            base = load_base(config.family, folder.path, device, dtype, options_of(config))
            encoded = preparation.encoded(base, reading)
            yield Prepared(preparation, reading, base, encoded, numeric_fingerprint(device, dtype))
    except torch.cuda.OutOfMemoryError as error:
        raise OutOfMemory(f"Memory did not suffice; use a smaller batch or resolution ({error}).") from error
