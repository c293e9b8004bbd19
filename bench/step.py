"""Our step and start against the loop of diffusers' LoRA script: the same tiny base, adapter, pictures and machine, in one run.

    python -m bench.step [gradients] [steps] [starts] [adapters] [profile] [--threads N] [--rounds N]

- gradients: of one step from the same weights, latents, noise and timesteps; fails where they differ by more than 1e-5 of the
  largest. Also told where each side encodes the pictures itself: the VAE's last bits depend on how many it encodes at once.
- steps: a block of ours and one of theirs in turn, in one process, at batch sizes 1 and 4; on the wall, and the processor's time,
  which neighbours change less.
- starts: a process of ours and one of theirs in turn, from the start of the process to the end of its first optimizer step; ours
  on a dataset that the tenant's cache has (warm) and on one that it has not (cold). Their script keeps no cache.
- adapters: 16 adapters of 100 steps one after another on each side, a process each, ours and theirs in turn; the rate over the
  first one, the first four and all.
- profile: where the time of our start and step goes, and bounds of what could still be won.

The machine is named by the number of threads that torch has on both sides. A ratio is theirs over ours, of neighbours in time:
the geometric mean over the rounds, with its 95 % interval by Student's t over the logarithms. All else is wall time, so leave the
machine alone. Nothing is left out; the first round of each part only warms up, and is not counted.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # nothing here is installed

from bench.statistics import estimate
from bench.step_starts import Materials, Timed

if TYPE_CHECKING:
    from bench.step_rates import Spent

T = TypeVar("T")

PARTS = ("gradients", "steps", "starts", "adapters", "profile")
BATCH_SIZES = (1, 4)
BLOCK = 20
"""Steps of a side in a row."""
MOST_DIFFERENCE = 1e-5
ADAPTERS, ADAPTER_STEPS = (1, 4, 16), 100


@dataclass(frozen=True)
class Ratio:
    """Theirs over ours, and its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} ({self.low:.2f} to {self.high:.2f})"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """Of pairs that were measured one after the other."""
    logs = estimate([math.log(their / our) for our, their in zip(ours, theirs, strict=True)])
    return Ratio(math.exp(logs.mean), math.exp(logs.mean - logs.half), math.exp(logs.mean + logs.half))


def _row(what: str, unit: float, ours: Sequence[float], theirs: Sequence[float]) -> str:
    """One line of a table; `unit` is how many of the told unit a second has."""
    mine, other = (unit * sum(values) / len(values) for values in (ours, theirs))
    return f"| {what} | {mine:.4g} | {other:.4g} | {ratio(ours, theirs)} |"


def _in_turn(rounds: int, our: Callable[[int], T], their: Callable[[int], T]) -> tuple[list[T], list[T]]:
    """The first round is not counted."""
    pairs = [(our(number), their(number)) for number in range(rounds + 1)][1:]
    return [one for one, _ in pairs], [other for _, other in pairs]


def measured_gradients(materials: Materials) -> None:
    from bench.step_rates import gradient_error, our_training, their_training

    for size in BATCH_SIZES:
        with our_training(materials, f"gradients-{size}", size) as training:
            script = their_training(materials, size)
            difference = gradient_error(training, script, encoded_by_each=False)
            encoded = gradient_error(training, script, encoded_by_each=True)
        told = f"gradients at batch {size} differ by {difference:.1e} of the largest at most"
        print(f"{told}; by {encoded:.1e} where each side encodes the pictures itself", flush=True)
        if difference > MOST_DIFFERENCE:
            raise SystemExit(f"The two sides' gradients differ by {difference:.1e} of the largest, over 1e-5.")


def step_seconds(materials: Materials, size: int, rounds: int) -> tuple[list[Spent], list[Spent]]:
    """Of blocks of steps at a batch size, ours and theirs."""
    from bench.step_rates import our_seconds, our_training, their_seconds, their_training

    with our_training(materials, f"steps-{size}", size) as training:
        script = their_training(materials, size)
        return _in_turn(
            rounds,
            lambda number: our_seconds(training, number * BLOCK, BLOCK),
            lambda _: their_seconds(script, BLOCK),
        )


def measured_steps(materials: Materials, rounds: int) -> None:
    print("| step | ours, ms | diffusers' script, ms | theirs / ours |\n|---|---|---|---|")
    for size in BATCH_SIZES:
        pairs = step_seconds(materials, size, rounds)
        for place, clock in enumerate(("wall", "processor")):
            of_clock = [[one[place] for one in side] for side in pairs]
            print(_row(f"batch {size}, {clock}", 1000, *of_clock), flush=True)


def start_seconds(materials: Materials, what: str, caches: str, rounds: int) -> tuple[list[float], list[float]]:
    """From the beginnings of processes to the ends of their first steps, ours and theirs; `caches` has a place for the round."""
    return _in_turn(
        rounds,
        lambda number: materials.our_process(f"{what}-{number}", 2, caches=caches.format(number)).first_step,
        lambda number: materials.their_process(f"{what}-{number}", 2).first_step,
    )


def measured_starts(materials: Materials, rounds: int) -> None:
    print("| from process to first step | ours, s | diffusers' script, s | theirs / ours |\n|---|---|---|---|")
    materials.our_process("fills-the-cache", 2)
    for what, caches in (("warm", "caches"), ("cold", "cold-{}")):
        print(_row(what, 1, *start_seconds(materials, what, caches, rounds)), flush=True)


def measured_adapters(materials: Materials) -> None:
    ours: list[Timed] = []
    theirs: list[Timed] = []
    print(
        "| adapters one after another | ours, steps/s | diffusers' script, steps/s | ours / theirs |\n|---|---|---|---|"
    )
    for number in range(max(ADAPTERS)):
        ours.append(materials.our_process(f"adapter-{number}", ADAPTER_STEPS, caches="caches-of-adapters"))
        theirs.append(materials.their_process(f"adapter-{number}", ADAPTER_STEPS))
        if number + 1 in ADAPTERS:
            steps = (number + 1) * ADAPTER_STEPS
            mine, other = (steps / sum(one.end for one in side) for side in (ours, theirs))
            pairs = [one.end for one in ours], [one.end for one in theirs]
            told = str(ratio(*pairs)) if number else f"{mine / other:.2f}"
            print(f"| {number + 1} of {ADAPTER_STEPS} steps | {mine:.3g} | {other:.3g} | {told} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.step", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all where none is named")
    parser.add_argument("--threads", type=int, default=1, help="of torch, on both sides")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    parts = options.parts or PARTS
    materials = Materials(options.threads)
    if {"gradients", "steps", "profile"} & set(parts):
        import torch

        torch.set_num_threads(options.threads)
    if "gradients" in parts:
        measured_gradients(materials)
    if "steps" in parts:
        measured_steps(materials, options.rounds)
    if "starts" in parts:
        measured_starts(materials, options.rounds)
    if "adapters" in parts:
        measured_adapters(materials)
    if "profile" in parts:
        from bench.step_profile import print_profile

        print_profile(materials)


if __name__ == "__main__":
    main()
