"""What a run works with on its machine: a folder of its own, the device, and a page of metrics."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from trainer.errors import StorageFailed
from trainer.metrics import TrainerMetrics
from trainer.settings import TrainerSettings


@contextmanager
def scratch(settings: TrainerSettings) -> Iterator[Path]:
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


def device_of(settings: TrainerSettings) -> torch.device:
    """The device that the settings name, else the machine's; threads are set, and a GPU to repeat its numbers."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    device = torch.device(settings.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda":
        # Attention's memory-efficient kernel has no deterministic backward; flash and plain attention have.
        torch.backends.cuda.enable_mem_efficient_sdp(False)
        torch.use_deterministic_algorithms(True)
    return device


def serve_metrics(settings: TrainerSettings) -> TrainerMetrics:
    """What Prometheus is told of this run, on the port that the settings name, if any."""
    metrics = TrainerMetrics()
    if settings.metrics_port is not None:
        metrics.serve(settings.metrics_port, settings.metrics_address)
    return metrics
