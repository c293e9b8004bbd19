"""`bench.step`: single steps of both sides in one process, a block of each in turn, and whether their gradients are equal."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch
from torch import Tensor

from bench.lora_script import Draws, LoraScript
from bench.step_starts import RANK, RATE, Materials
from deploy.examples.demo.demo import BASE
from loramill import v1
from store import open_store, split_uri
from store.records import read_record
from trainer.cache import Cache
from trainer.config_reading import read_config
from trainer.data.images import Decoder
from trainer.draws import generator
from trainer.families.registry import load_base, options_of
from trainer.fingerprint import numeric_fingerprint
from trainer.logs import LogLines
from trainer.loop import Training, example_losses, train, training_batch
from trainer.measurements import Measurement
from trainer.metrics import Work
from trainer.preparation import Preparation
from trainer.progress import Reporter
from trainer.record import RunRecord
from trainer.stopping import StopSignal

MANY = 1_000_000
"""Steps of a training that is never done."""
CPU = torch.device("cpu")


class Unwatched:
    """Events of a run that reports to nobody; measurements are read where the loop must."""

    def wants_measurements(self, step: int) -> bool:  # noqa: ARG002
        return False

    def measured(self, measurements: list[Measurement], trained_seconds: float) -> None:
        pass

    def spending(self, work: Work) -> AbstractContextManager[None]:  # noqa: ARG002
        return nullcontext()

    def after_step(self, step: int, trained_seconds: float) -> None:
        pass


@contextmanager
def our_training(materials: Materials, name: str, batch_size: int) -> Iterator[Training]:
    """Made ready by the trainer itself, from a job of the store."""
    uri = materials.job(name, MANY, batch_size, "caches")
    root, key = split_uri(uri)
    assignment = read_record(open_store(root), key, v1.Assignment)
    assert assignment is not None
    config, record = read_config(assignment), RunRecord(assignment)
    work = materials.folder / "work" / name
    work.mkdir(parents=True)
    stop = StopSignal()
    for number, handler in ((signal.SIGTERM, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
        signal.signal(number, handler)  # nothing is worth keeping of a bench that is told to stop
    with Decoder() as decoder:
        preparation = Preparation(
            config,
            record,
            Reporter(record.run, LogLines(), 60.0),
            stop,
            Cache(open_store(assignment.cache_uri)),
            decoder,
            work,
        )
        reading = preparation.read_data()
        folder = preparation.fetch_base(None)
        base = load_base(config.family, folder.path, CPU, torch.float32, options_of(config))
        yield preparation.training(base, reading, numeric_fingerprint(CPU, torch.float32))[0]


def their_training(materials: Materials, batch_size: int) -> LoraScript:
    torch.manual_seed(0)
    return LoraScript(BASE, materials.pictures, rank=RANK, batch_size=batch_size, rate=RATE, steps=MANY)


Spent = tuple[float, float]
"""Seconds of a step: on the wall, and of the processor, which neighbours change less."""


def our_seconds(training: Training, first: int, steps: int) -> Spent:
    """Of each of `steps` steps, from step `first` on."""
    began = time.perf_counter(), time.process_time()
    train(dataclasses.replace(training, steps=first + steps), first, 0.0, Unwatched())
    return (time.perf_counter() - began[0]) / steps, (time.process_time() - began[1]) / steps


def their_seconds(script: LoraScript, steps: int) -> Spent:
    began = time.perf_counter(), time.process_time()
    for _ in range(steps):
        script.step()
    return (time.perf_counter() - began[0]) / steps, (time.process_time() - began[1]) / steps


def gradient_error(training: Training, script: LoraScript, *, encoded_by_each: bool) -> float:
    """Largest difference of the gradients of one step from the same weights, pictures, noise and timesteps, relative to the
    largest gradient. With `encoded_by_each` their VAE encodes the pictures again, one at a time; else they get our latents."""
    ours = _with_values(training)
    theirs = {
        name.removeprefix("module.").replace(".default.weight", ""): parameter
        for name, parameter in script.unet.named_parameters()
        if parameter.requires_grad
    }
    assert set(ours) == set(theirs), "the two sides train other layers"
    with torch.no_grad():
        for name, parameter in ours.items():
            theirs[name].copy_(parameter)
    visits = training.order.batches_at(0)[0]
    batch = training_batch(training, visits)
    training.arena.zero_gradients()
    torch.autograd.backward(example_losses(training, batch).mean())

    files = [Path(name) for name in batch.names]
    dataset = script._loader.dataset
    read = [dataset[[file.name for file in dataset._files].index(file.name)] for file in files]
    pixels = torch.stack([one["pixel_values"] for one in read])
    posterior = script.vae.encode(pixels).latent_dist
    eps = torch.stack(
        [
            torch.from_numpy(
                generator(
                    training.config.optimization.seed,
                    "posterior",
                    training.examples[visit.example_index].id,
                    visit.visit_number,
                ).standard_normal(tuple(posterior.mean.shape[1:]), dtype="float32")
            )
            for visit in visits
        ]
    )
    latents = (posterior.mean + posterior.std * eps) * script.vae.config.scaling_factor
    for parameter in theirs.values():
        parameter.grad = None
    draws = Draws(latents if encoded_by_each else batch.latents, batch.eps, batch.timesteps)
    torch.autograd.backward(script.loss(draws, torch.stack([one["input_ids"] for one in read])))
    largest = max(float(parameter.grad.abs().max()) for parameter in theirs.values())
    difference = max(float((parameter.grad - theirs[name].grad).abs().max()) for name, parameter in ours.items())
    return difference / largest


@torch.no_grad()
def _with_values(training: Training) -> dict[str, Tensor]:
    """Our trained tensors by PEFT's names, none of them 0: then none of their gradients is."""
    names = {"lora_down": "lora_A", "lora_up": "lora_B"}
    found: dict[str, Tensor] = {}
    torch.manual_seed(1)
    for module in training.adapter.modules:
        for name, tensor in module.tensors.items():
            if name == "lora_up":
                tensor.normal_(0, 0.02)
            found[f"{module.plan.path}.{names[name]}"] = tensor
    return found
