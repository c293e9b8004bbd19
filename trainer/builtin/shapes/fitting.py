"""The small training loop that makes the parts of `builtin://shapes`: AdamW, a one-cycle rate, an average, resumable.

Batches are drawn by step number, so that a resumed fit goes on exactly where it stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

SAVE_EVERY = 100


def one_cycle(step: int, steps: int, peak: float) -> float:
    """The learning rate of a step: a linear rise over the first tenth, then half a cosine down to 1 % of the peak."""
    rise = max(1, steps // 10)
    if step < rise:
        return peak * (step + 1) / rise
    share = (step - rise) / max(1, steps - rise)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))


def fit(
    name: str,
    model: torch.nn.Module,
    loss_of: Callable[[np.random.Generator], torch.Tensor],
    *,
    steps: int,
    peak: float,
    work: Path,
    seed: int,
    weight_decay: float = 0.01,
    average: float = 0.998,
) -> None:
    """Trains `model` in place for `steps` steps of `loss_of(generator of this step)` and leaves it with averaged weights.

    State is kept in `work/<name>.safetensors`; a second call goes on from there, and a finished fit is only loaded.
    """
    file = work / f"{name}.safetensors"
    parameters = dict(model.named_parameters())
    optimizer = torch.optim.AdamW(parameters.values(), lr=peak, weight_decay=weight_decay)
    averaged = {key: value.detach().clone() for key, value in parameters.items()}
    moments = {key: (torch.zeros_like(value), torch.zeros_like(value)) for key, value in parameters.items()}
    done = 0
    if file.exists():
        state = load_file(file)
        done = int(state["step"])
        for key, value in parameters.items():
            value.data.copy_(state[f"value.{key}"])
            averaged[key].copy_(state[f"average.{key}"])
            moments[key][0].copy_(state[f"first.{key}"])
            moments[key][1].copy_(state[f"second.{key}"])
    for key, value in parameters.items():
        optimizer.state[value] = {
            "step": torch.tensor(float(done)),
            "exp_avg": moments[key][0],
            "exp_avg_sq": moments[key][1],
        }
    began, losses = time.monotonic(), []
    model.train()
    for step in range(done, steps):
        for group in optimizer.param_groups:
            group["lr"] = one_cycle(step, steps, peak)
        torch.manual_seed(seed * 1_000_003 + step)
        loss = loss_of(np.random.Generator(np.random.Philox(key=[seed, step])))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        decay = min(average, (step + 1) / (step + 10))
        for key, value in parameters.items():
            averaged[key].lerp_(value.detach(), 1 - decay)
        losses.append(loss.item())
        if (step + 1) % 50 == 0:
            pace = (time.monotonic() - began) / (step + 1 - done)
            left = pace * (steps - step - 1) / 60
            print(
                f"{name} {step + 1}/{steps} loss {np.mean(losses[-50:]):.5f} {pace:.3f} s/step {left:.0f} min left",
                flush=True,
            )
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            state = {"step": torch.tensor(step + 1)}
            for key, value in parameters.items():
                state[f"value.{key}"] = value.detach()
                state[f"average.{key}"] = averaged[key]
                state[f"first.{key}"], state[f"second.{key}"] = moments[key]
            partial = file.with_suffix(".partial")
            save_file(state, partial)
            partial.replace(file)
    for key, value in parameters.items():
        value.data.copy_(averaged[key])
    model.eval()
