"""What a step costs, by adapter: time and memory of the trainer's own loop, one thread, fp32.

The adapters take turns, a step each, so that whatever else the machine does meets all of them. Pictures are random latents:
what is on them costs nothing.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from google.protobuf.json_format import MessageToDict

from bench.adapter_types import PLAIN, SAME_LAYERS, TUNING_SEED, Row
from bench.memory import NewTensors
from deploy.examples.demo.demo import BASE
from tests.trainer.small_training import Watched, new_training
from trainer.families.registry import load_base
from trainer.loop import Training, captions_of, train

ROUNDS, UNMEASURED = 40, 4
BYTES_PER_NUMBER = 3 * 4
"""Gradient and two moments of a trained number, fp32; the number itself is one of the network's."""
PLACES = ("unet", "optimization", "concept", "adapter")
"""What the measured trainings have of a trial's spec."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one adapter's step."""

    layers: int
    numbers: int
    """Trained parameters."""
    milliseconds: float
    """Median over all rounds."""
    times: Mapping[str, float]
    """Median over all rounds of this step's time over that of another row's step in the same round, by that row's name."""
    megabytes: float
    """Most that the tensors of a step take at a time, weights, gradients and moments included."""


def measured(rows: Sequence[Row]) -> dict[str, Cost]:
    """By the row's name."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as work:
        trainings = {row.name: _training(row, Path(work) / row.name) for row in rows}
        seconds = np.array(
            [[_step(training, number) for training in trainings.values()] for number in range(UNMEASURED + ROUNDS)]
        )[UNMEASURED:]
        memory = {name: _peak(training, UNMEASURED + ROUNDS) for name, training in trainings.items()}
    names = list(trainings)
    return {
        name: Cost(
            layers=len(training.adapter.modules),
            numbers=training.arena.count,
            milliseconds=1000 * float(np.median(seconds[:, place])),
            times={
                other: float(np.median(seconds[:, place] / seconds[:, names.index(other)]))
                for other in (PLAIN, SAME_LAYERS)
            },
            megabytes=memory[name] / 2**20,
        )
        for place, (name, training) in enumerate(trainings.items())
    }


def _training(row: Row, work: Path) -> Training:
    """Ready for any step of many."""
    work.mkdir()
    spec = MessageToDict(row.trial(1e-3, TUNING_SEED).spec(), preserving_proto_field_name=True)
    base = load_base("sd15", BASE, torch.device("cpu"), torch.float32)
    training, _ = new_training(base, work, {place: spec[place] for place in PLACES})
    captions = {caption for example in training.examples for caption in captions_of(training.config, example)}
    training.words.prepare(captions, {example.caption for example in training.prior}, lambda *_: None)
    return training


def _step(training: Training, number: int) -> float:
    """Seconds of step `number`."""
    return train(dataclasses.replace(training, steps=number + 1), number, 0.0, Watched())


def _peak(training: Training, number: int) -> int:
    """Bytes."""
    new = NewTensors()
    with new:
        _step(training, number)
    networks = training.base.loaded_networks.values()
    weights = sum(tensor.nbytes for network in networks for tensor in network.parameters())
    return new.peak + weights + training.arena.count * BYTES_PER_NUMBER
