"""The proof that adapters are what their files say, in one table.

Of each type, kind of layer and option:

- merged, file: the forward pass in training against that of the base layer with merged weights, and against that of an adapter
  read from the file that was written; fp32, the largest difference by the largest output;
- gradient: of every trained tensor and of the input against central differences, fp64, at numbers spread over each tensor, the
  largest difference by the largest gradient of the tensor;
- bf16: what a merge in bf16 loses of the output, measured as the first two;
- time: of the processor, for forward and backward pass of the layer, by that of a plain LoRA of rank 16 on the same layer, each
  the shortest of several that take turns.

One step of DyLoRA is proven at the rank that it drew, against that rank's own file.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

from trainer.adapters import dylora
from trainer.adapters.adapted_layer import AdaptedLayer, Behaviour
from trainer.adapters.weights import LayerWeights
from trainer.formats import kohya
from trainer.formats.files import write
from trainer.formats.reading import read_adapter
from trainer.tools.gradients import gradient_error
from trainer.tools.prove_cases import CASES, LAYERS, PLAIN, Case, adapted, inputs

OUTPUT_BOUND, GRADIENT_BOUND = 1e-5, 1e-8
"""Largest relative differences of outputs in fp32, and of gradients in fp64."""

SIDE, SMALL_SIDE = 16, 4
"""Of the pictures in places, for outputs and for gradients."""

_SECONDS, _LEAST_ROUNDS = 0.3, 5
"""How long a layer is timed."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured of one case; see above."""

    case: Case
    merged: float
    file: float
    gradient: float
    bf16: float
    time: float

    @property
    def passes(self) -> bool:
        # Each by itself, since no bound holds for NaN.
        return self.merged <= OUTPUT_BOUND and self.file <= OUTPUT_BOUND and self.gradient <= GRADIENT_BOUND


def prove(cases: Iterable[Case] = CASES) -> list[Row]:
    """Measures every case."""
    with _one_thread():
        return [_row(case) for case in cases]


def prove_adapters() -> None:
    """Proves that each type of adapter trains, merges and reads back as the same; exit code 1 where one does not."""
    rows = prove(track(CASES, description="Proving", console=Console(stderr=True), transient=True))
    console = Console()
    console.print(_table(rows))
    passed = sum(row.passes for row in rows)
    console.print(
        f"{passed} of {len(rows)} pass: merged and file within {OUTPUT_BOUND:g}, gradient within {GRADIENT_BOUND:g}."
    )
    if passed < len(rows):
        raise typer.Exit(1)


def _row(case: Case) -> Row:
    layer = LAYERS[case.layer][1]
    module, x = adapted(case, layer), inputs(layer, SIDE)
    weights = module.weights if case.cut is None else dylora.cut_off(module.weights, case.cut)
    merged = _merged(module, weights)
    in_bf16 = copy.deepcopy(merged).bfloat16().float()
    with torch.no_grad():
        trained = module(x)
        merged_error, file_error, bf16_error = (
            float((other(x) - trained).abs().max() / trained.abs().max())
            for other in (merged, _from_file(module, weights), in_bf16)
        )
    small = case.small()
    small_layer = replace(layer, outputs=48, inputs=36)
    return Row(
        case=case,
        merged=merged_error,
        file=file_error,
        gradient=gradient_error(
            adapted(small, small_layer, torch.float64), inputs(small_layer, SMALL_SIDE, torch.float64)
        ),
        bf16=bf16_error,
        time=_time_ratio(module, adapted(replace(case, config=PLAIN, cut=None), layer), x),
    )


def _merged(module: AdaptedLayer, weights: LayerWeights) -> nn.Module:
    """The base layer with the adapter in its own weights; fp32."""
    merged = cast("nn.Linear | nn.Conv2d", copy.deepcopy(module.base_layer))
    merged.weight += weights.delta()
    return merged


def _from_file(module: AdaptedLayer, weights: LayerWeights) -> AdaptedLayer:
    """The same base layer with an adapter read from a file that these weights were written to."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "adapter.safetensors"
        write(path, kohya.tensors([weights], torch.float32), {})
        (read,) = read_adapter(path).layers
    plan = replace(module.plan, size=replace(module.plan.size, alpha=read.alpha))
    return AdaptedLayer(module.base_layer, plan, read.tensors, Behaviour()).eval()


def _time_ratio(module: nn.Module, plain: nn.Module, x: Tensor) -> float:
    """Of forward and backward pass, in processor time; the two take turns, so that what else the machine does meets both."""
    times: dict[nn.Module, list[float]] = {module: [], plain: []}
    gradient = torch.ones_like(module(x))
    while len(times[plain]) < _LEAST_ROUNDS or sum(times[plain]) + sum(times[module]) < _SECONDS:
        for one, its_times in times.items():
            leaf = x.clone().requires_grad_()
            start = time.process_time()
            one(leaf).backward(gradient)
            its_times.append(time.process_time() - start)
    return min(times[module]) / min(times[plain])


@contextmanager
def _one_thread() -> Iterator[None]:
    """Threads that wait for a busy core would be measured instead."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _table(rows: Sequence[Row]) -> Table:
    table = Table(caption=f"Layers of 320 channels, 2 x {SIDE}² places, on one thread.")
    for name in ("type", "layer", "option"):
        table.add_column(name)
    for name in ("merged", "file", "gradient", "bf16", "time", ""):
        table.add_column(name, justify="right")
    for row in rows:
        errors = [f"{error:.0e}" for error in (row.merged, row.file, row.gradient, row.bf16)]
        verdict = "pass" if row.passes else "[red]FAIL"
        table.add_row(row.case.config.type, row.case.layer, row.case.option, *errors, f"{row.time:.2f}", verdict)
    return table
