"""A training that is ready for the loop, without store, pictures or run around it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from google.protobuf.json_format import ParseDict

from loramill import v1
from store import open_store
from tests.trainer.assignments import CREATED, JOB, SMALL_SPEC, merged
from trainer.adapters.adapter import Adapter, put_adapter
from trainer.adapters.beginning import begin_anew
from trainer.arena import Arena
from trainer.averaging import MovingAverage
from trainer.cache import Cache
from trainer.config import TrainConfig
from trainer.config_reading import read_config
from trainer.data.buckets import Bucket
from trainer.data.dataset import Example
from trainer.data.order import Order
from trainer.data.views import View
from trainer.embeddings import Words
from trainer.families.base import Base
from trainer.latents import Posterior
from trainer.loop import Training
from trainer.loss_scaling import LossScale
from trainer.measurements import Measurement
from trainer.metrics import WORKS, Work
from trainer.optimizers import make_optimizer
from trainer.prior import PriorExample

CPU = torch.device("cpu")


def config_of(change: dict[str, object] | None = None) -> TrainConfig:
    """SMALL_SPEC with this change, read as the trainer reads it."""
    assignment = v1.Assignment(
        training_job=f"trainingJobs/{JOB}",
        launch=1,
        spec=ParseDict(merged(SMALL_SPEC, change or {}), v1.TrainingSpec()),
        base_model=v1.BaseModel(name="baseModels/shapes", family="sd15"),
    )
    assignment.job_create_time.FromDatetime(CREATED)
    return read_config(assignment)


def example(number: int, caption: str = "a red star") -> Example:
    return Example(
        id=f"{number}.png@{number:064x}",
        path=f"{number}.png",
        sha256=f"{number:064x}",
        file=Path(f"{number:064x}"),
        width=64,
        height=64,
        bucket=Bucket(64, 64),
        resize=(64, 64),
        crops=((0, 0, 64, 64),),
        subset=0,
        caption=caption,
    )


def new_training(base: Base, work: Path, change: dict[str, object] | None = None) -> tuple[Training, Adapter]:
    """Four examples and four prior examples with random latents; the adapter at its beginning."""
    config = config_of(change)
    optimization = config.optimization
    torch.manual_seed(1)
    examples = [example(number, f"a {color} star") for number, color in enumerate(("red", "blue", "green", "red"))]
    adapter = put_adapter(config, base, begin_anew(config, base))
    arena = Arena(adapter.groups(config.optimization.weight_decay), CPU)
    training = Training(
        config=config,
        base=base,
        device=CPU,
        examples=examples,
        posteriors={
            View(one.id, mirrored): Posterior(torch.randn(4, 8, 8), torch.randn(4, 8, 8) - 3)
            for one in examples
            for mirrored in (False, True)
        },
        masks={},
        words=Words(
            base,
            Cache(open_store(f"file://{work}/")),
            digests={encoder.name: "e" for encoder in base.text_encoders},
            fingerprint="f",
            trained=config.trained,
        ),
        prior=[PriorExample(f"a {color} heart", torch.randn(4, 8, 8)) for color in ("red", "blue", "green", "red")],
        order=Order(
            buckets=[one.bucket for one in examples],
            repeats=[1] * len(examples),
            seed=optimization.seed,
            batch_size=optimization.batch_size,
            accumulation=optimization.gradient_accumulation,
        ),
        adapter=adapter,
        arena=arena,
        optimizer=make_optimizer(arena, optimization),
        average=MovingAverage(arena, optimization.ema_decay) if optimization.ema_decay else None,
        scale=LossScale() if optimization.precision == "fp16" else None,
        steps=optimization.steps or 1,
        warmup=0,
    )
    return training, adapter


class Watched:
    """Events that only listen."""

    def __init__(self) -> None:
        self.measurements: list[Measurement] = []

    def wants_measurements(self, step: int) -> bool:
        return step > 0

    def measured(self, measurements: list[Measurement], trained_seconds: float) -> None:
        assert trained_seconds > 0
        self.measurements += measurements

    def spending(self, work: Work) -> AbstractContextManager[None]:
        assert work in WORKS
        return nullcontext()

    def after_step(self, step: int, trained_seconds: float) -> None:
        assert step > 0
        assert trained_seconds > 0
