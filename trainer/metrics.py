"""What Prometheus can read from a trainer: base units, no labels, one process one job."""

from __future__ import annotations

import resource

import torch
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server


class TrainerMetrics:
    """The trainer's own registry; `serve` opens its port."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.loss = Gauge("loramill_training_loss", "Training loss of the last step.", registry=self.registry)
        self.steps = Counter("loramill_training_steps", "Optimizer steps of this process.", registry=self.registry)
        self.images = Counter(
            "loramill_training_images", "Pictures trained on by this process.", registry=self.registry
        )
        self.rate = Gauge(
            "loramill_training_images_per_second", "Pictures trained on per second.", registry=self.registry
        )
        self.step_seconds = Histogram(
            "loramill_training_step_seconds",
            "Duration of optimizer steps.",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=self.registry,
        )
        memory = Gauge("loramill_trainer_peak_memory_bytes", "Most host memory used so far.", registry=self.registry)
        memory.set_function(lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        if torch.cuda.is_available():
            device = Gauge(
                "loramill_trainer_peak_gpu_memory_bytes", "Most GPU memory used so far.", registry=self.registry
            )
            device.set_function(torch.cuda.max_memory_allocated)

    def serve(self, port: int, address: str) -> None:
        start_http_server(port, address, self.registry)
