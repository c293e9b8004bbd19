"""A second base, made by the script that makes `builtin://shapes`, with other shapes held out: what is fixed on one is judged on
the other. It is trained once, outside the repository, and is not shipped.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from trainer.builtin.shapes import draw, scoring
from trainer.builtin.shapes.judge import load_judge

SHIPPED = Path(__file__).parents[1] / "trainer/builtin/shapes/base"
HELD_OUT = ("star", "cross")
KNOWN = tuple(shape for shape in draw.SHAPES if shape not in HELD_OUT)
SEED = 2
"""The recipe is the shipped base's; from another seed."""


def folder() -> Path:
    """Where it lies: below LORAMILL_BENCH_CACHE, else below the user's cache."""
    cache = os.environ.get("LORAMILL_BENCH_CACHE")
    return (Path(cache) if cache else Path.home() / ".cache/loramill-bench") / "second-base"


def second_base() -> Path:
    """The base's folder, in the diffusers layout; trained first where it is missing, going on where a training stopped."""
    made = folder() / "base"
    if not (made / "model_index.json").exists():
        subprocess.run(
            [
                *(sys.executable, "-m", "trainer.builtin.shapes.make"),
                *("--out", str(made), "--work", str(folder() / "work")),
                *("--seed", str(SEED), "--hold-out", ",".join(HELD_OUT)),
                # The shipped base's eyes met every shape; training them again would teach nothing.
                *("--vae", str(SHIPPED / "vae")),
            ],
            check=True,
        )
    return made


def known_words(base: Path) -> dict[str, float]:
    """How many of 72 prompts for its own shapes give the shape, by shape and of all: whether it is fit to judge on."""
    pipeline = scoring.load_pipeline(base)
    found = scoring.base_accuracy(load_judge(), pipeline, KNOWN, 72)
    return {name: shares["shape"] for name, shares in found.items()}


def main() -> None:
    torch.set_num_threads(1)
    base = second_base()
    print(base)
    print(", ".join(f"{name} {share:.0%}" for name, share in known_words(base).items()))


if __name__ == "__main__":
    main()
