"""`bench.step profile`: where the time of a start and of a step goes, and what could be won by doing the rest otherwise.

Bounds, not promises: a fused LoRA operation cannot win more than all that the adapter's operations take; a captured graph not
more than what a step costs whatever its batch holds; several jobs on one base share exactly that.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from google.protobuf.json_format import Parse

from bench.step_rates import our_training
from bench.step_starts import Materials
from loramill import v1
from trainer.data.order import Visit
from trainer.loop import Training, caption_variant, example_losses, training_batch

ROUNDS, SIZES, JOBS = 30, (1, 2, 4, 8), (4, 16)
PHASES = {
    v1.PHASE_CHECKING_DATA: "process: Python, the claim, imports",
    v1.PHASE_LOADING_MODEL: "data: fetched, decoded, checked",
    v1.PHASE_ENCODING: "model: fetched, its digests checked, read",
    v1.PHASE_TRAINING: "encoding: pictures and captions, or what the cache has of them; the adapter put in place",
}
"""By the phase that begins where the part ends."""
GROUPS = {
    "convolutions": ("convolution", "conv2d"),
    "matrix products": ("addmm", "aten::mm", "bmm", "linear", "matmul"),
    "attention": ("attention",),
    "norms": ("norm",),
    "activations": ("silu", "gelu", "sigmoid"),
    "copies and changes of shape": (
        "copy",
        "cat",
        "contiguous",
        "clone",
        "slice",
        "view",
        "transpose",
        "permute",
        "expand",
    ),
}


@dataclass(frozen=True)
class Line:
    """What a step of B examples takes: fixed + each · B, in seconds."""

    fixed: float
    each: float

    def of(self, count: int) -> float:
        return self.fixed + self.each * count


def start_phases(materials: Materials, name: str, caches: str) -> Mapping[str, float]:
    """Seconds of each part of one start of ours; the last is up to the end of the first step."""
    began = time.time()
    timed = materials.our_process(name, 2, caches=caches)
    status = Parse((materials.place.folder / f"jobs/{name}/runs/1/status.json").read_text(), v1.RunStatus())
    found, before = {}, began
    for phase, what in PHASES.items():
        end = next(one.time.ToMicroseconds() / 1e6 for one in status.phase_starts if one.phase == phase)
        found[what], before = end - before, end
    return found | {"first step": began + timed.first_step - before}


def step_parts(training: Training) -> Mapping[str, float]:
    """Milliseconds of a step's parts, medians."""
    spent: dict[str, list[float]] = {}
    for step in range(ROUNDS):
        for visits in training.order.batches_at(step):
            for name, seconds in _parts_of(training, visits):
                spent.setdefault(name, []).append(1000 * seconds)
    return {name: statistics.median(values) for name, values in spent.items()}


def _parts_of(training: Training, visits: Sequence[Visit]) -> Iterator[tuple[str, float]]:
    marks = [time.perf_counter()]
    training.arena.zero_gradients()
    batch = training_batch(training, visits)
    marks.append(time.perf_counter())
    losses = example_losses(training, batch)
    marks.append(time.perf_counter())
    torch.autograd.backward(losses.mean())
    marks.append(time.perf_counter())
    training.arena.clip_gradients(1.0)
    training.optimizer.step(1.0)
    marks.append(time.perf_counter())
    names = ("draws and batch", "network forward, loss", "backward", "clipping, optimizer")
    yield from zip(names, np.diff(marks).tolist(), strict=True)


def operations(training: Training) -> Mapping[str, float]:
    """Share of the processor's time in each kind of operation over some steps, as torch's profiler sees it."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for step in range(10):
            list(_parts_of(training, training.order.batches_at(step)[0]))
    spent: dict[str, float] = {}
    for event in profile.key_averages():
        group = next((name for name, words in GROUPS.items() if any(word in event.key for word in words)), "all else")
        spent[group] = spent.get(group, 0.0) + event.self_cpu_time_total
    whole = sum(spent.values())
    return {name: value / whole for name, value in sorted(spent.items(), key=lambda item: -item[1])}


def _network(training: Training, count: int) -> Callable[[], None]:
    """Forward and backward of the adapted network on `count` examples; where the adapter is off, backward to its input alone."""
    base = training.base
    torch.manual_seed(0)
    latents = torch.randn(count, base.latent_channels, 8, 8, requires_grad=True)
    times = torch.arange(count) * 100
    caption = caption_variant(training.config, training.examples[0], 0)
    told = base.framed(training.words.of([caption] * count), [])

    def once() -> None:
        torch.autograd.backward(base.predict(latents, times, told).square().mean())

    return once


def _seconds(work: Mapping[str, Callable[[], None]]) -> dict[str, float]:
    """Medians; all take turns, so that whatever else the machine does meets all of them."""
    spent: dict[str, list[float]] = {name: [] for name in work}
    for number in range(ROUNDS + 3):
        for name, once in work.items():
            began = time.perf_counter()
            once()
            if number >= 3:
                spent[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in spent.items()}


def fixed_and_each(training: Training) -> Line:
    """By least squares over the batch sizes."""
    found = _seconds({str(size): _network(training, size) for size in SIZES})
    each, fixed = np.polyfit(SIZES, [found[str(size)] for size in SIZES], 1)
    return Line(float(fixed), float(each))


def share_of_lora(training: Training) -> float:
    """Of forward and backward at batch 1: what the adapter's operations take of it."""
    whole = _network(training, 1)

    def base_alone() -> None:
        with training.adapter.off():
            whole()

    found = _seconds({"adapted": whole, "alone": base_alone})
    return 1 - found["alone"] / found["adapted"]


def print_profile(materials: Materials) -> None:
    materials.our_process("profile-fills-the-cache", 2)
    print("| a start | cold, s | warm, s |\n|---|---|---|")
    cold, warm = (
        start_phases(materials, "profile-cold", "profile-cold"),
        start_phases(materials, "profile-warm", "caches"),
    )
    for what, seconds in cold.items():
        print(f"| {what} | {seconds:.2f} | {warm[what]:.2f} |")
    print(f"| in all | {sum(cold.values()):.2f} | {sum(warm.values()):.2f} |")
    with our_training(materials, "profile", 1) as training:
        for network in training.base.loaded_networks.values():
            network.train()
        parts = step_parts(training)
        print("\n| a step at batch 1 | ms | share |\n|---|---|---|")
        for what, milliseconds in parts.items():
            print(f"| {what} | {milliseconds:.2f} | {milliseconds / sum(parts.values()):.0%} |")
        print("\n| operations of a step | share |\n|---|---|")
        for what, share in operations(training).items():
            print(f"| {what} | {share:.0%} |")
        line, lora = fixed_and_each(training), share_of_lora(training)
    print(
        f"\nforward and backward: {1000 * line.fixed:.2f} ms whatever the batch holds, and {1000 * line.each:.2f} ms an example"
    )
    print("\n| what could be won at batch 1 | at most |\n|---|---|")
    print(f"| a fused LoRA operation: all of the adapter's own operations | {1 / (1 - lora):.2f} × |")
    print(f"| one captured graph per bucket: all that does not depend on the batch | {line.of(1) / line.each:.2f} × |")
    for jobs in JOBS:
        print(f"| {jobs} jobs on one base, a pass for all | {jobs * line.of(1) / line.of(jobs):.2f} × |")
