"""What Prometheus can read from a trainer: base units, one process one job; which job that is, its pod says."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pynvml
import structlog
import torch
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, start_http_server

log = structlog.get_logger()

# Each counter and histogram would be told twice, once as the time at which it was made, which nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]

Work = Literal["data", "network", "update", "device", "checkpoint", "look", "preview", "save"]
"""What the time of training goes to. The host's: while it puts work before a GPU, that works on what came before, and `device`
is the waiting for it."""

WORKS: tuple[Work, ...] = ("data", "network", "update", "device", "checkpoint", "look", "preview", "save")


class TrainerMetrics:
    """The trainer's own registry; `serve` opens its port."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._peak_gpu_memory = 0
        self.loss = self._gauge("training_loss", "Training loss of the last step that was read.")
        self.learning_rate = self._gauge("training_learning_rate", "Learning rate of the last step that was read.")
        self.gradient_norm = self._gauge("training_gradient_norm", "Norm of the gradient before it was clipped.")
        self.step = self._gauge("training_step", "Steps of the job that are done, those of earlier launches included.")
        self.target = self._gauge("training_target_steps", "Steps that the job is to have.")
        self.rate = self._gauge("training_images_per_second", "Pictures trained on per second.")
        self.steps = Counter("loramill_training_steps", "Optimizer steps of this process.", registry=self.registry)
        self.images = Counter(
            "loramill_training_images", "Pictures trained on by this process.", registry=self.registry
        )
        self.step_seconds = Histogram(
            "loramill_training_step_seconds",
            "Duration of optimizer steps.",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=self.registry,
        )
        self._work = Counter(
            "loramill_training_work_seconds",
            "Time of the host that training took, by what it was for.",
            ["work"],
            registry=self.registry,
        )
        for work in WORKS:
            self._work.labels(work)
        self._checkpoint = Histogram(
            "loramill_training_checkpoint_stall_seconds",
            "For how long training stood still for a checkpoint.",
            buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            registry=self.registry,
        )
        self._gauge("trainer_peak_memory_bytes", "Most host memory used so far.").set_function(
            lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        )
        if torch.cuda.is_available():
            self._add_gpu()

    def read_memory(self) -> int:
        """Bytes: of the GPU the most in use since the last reading; of the process what it uses, where there is none."""
        if not torch.cuda.is_available():
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            return pages * resource.getpagesize()
        most: int = torch.cuda.max_memory_allocated()
        self._peak_gpu_memory = max(self._peak_gpu_memory, most)
        torch.cuda.reset_peak_memory_stats()
        return most

    @contextmanager
    def spending(self, work: Work) -> Iterator[None]:
        """Around what the time goes to."""
        began = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - began
            self._work.labels(work).inc(seconds)
            if work == "checkpoint":
                self._checkpoint.observe(seconds)

    def serve(self, port: int, address: str) -> None:
        start_http_server(port, address, self.registry)

    def _add_gpu(self) -> None:
        self._gauge("trainer_peak_gpu_memory_bytes", "Most GPU memory used so far.").set_function(
            lambda: max(self._peak_gpu_memory, torch.cuda.max_memory_allocated())
        )
        self._gauge("trainer_gpu_memory_bytes", "GPU memory in use by this process.").set_function(
            torch.cuda.memory_reserved
        )
        self._gauge("trainer_gpu_memory_total_bytes", "Memory of the GPU.").set_function(
            lambda: torch.cuda.mem_get_info()[1]
        )
        utilization = _utilization()
        if utilization is not None:
            self._gauge(
                "trainer_gpu_utilization_ratio", "Share of the last moment in which the GPU worked, from 0 to 1."
            ).set_function(utilization)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"loramill_{name}", text, registry=self.registry)


def _utilization() -> Callable[[], float] | None:
    """How busy the GPU is, by NVIDIA's management library; None where a container has none, or may not ask it."""
    try:
        torch.cuda.utilization()
    except (pynvml.NVMLError, RuntimeError) as error:
        log.info("the GPU's utilization is not measured", why=str(error))
        return None
    return lambda: torch.cuda.utilization() / 100
