"""Memory and time of posteriors that wait on the disk: `python -m bench.waiting [--pictures N] [--side S]`, one table.

Anonymous memory is what counts against a limit for good; the file's pages are the kernel's to take back.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from trainer.data.views import View
from trainer.latents import Posteriors
from trainer.tensor_file import TensorFile


def anonymous_mib() -> float:
    """Memory of this process that no file backs."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.waiting", description=__doc__.partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--folder", type=Path, default=Path("/tmp"))
    options = parser.parse_args()
    shape = (4, options.side // 8, options.side // 8)
    value = {"mean": torch.zeros(shape), "logvar": torch.zeros(shape)}
    of_all = options.pictures * 2 * 4 * np.prod(shape) / 2**20
    before = anonymous_mib()
    file: TensorFile[View] = TensorFile(options.folder)
    began = time.process_time()
    for number in range(options.pictures):
        file[View(f"{number}.png@{number:064x}", mirrored=False)] = value
    written = (time.process_time() - began) / options.pictures
    posteriors = Posteriors(file)
    views = list(posteriors)
    eps = np.zeros(shape, np.float32)
    began = time.process_time()
    for place in np.random.default_rng(0).permutation(len(views)):
        posteriors[views[place]].sample(eps)
    visited = (time.process_time() - began) / len(views)
    print(
        "| posteriors | their bytes | memory for them | CPU time of writing one | of visiting one |\n|---|---|---|---|---|"
    )
    print(
        f"| {options.pictures} of {options.side}×{options.side} | {of_all:.0f} MiB | {anonymous_mib() - before:.0f} MiB | "
        f"{1e6 * written:.0f} µs | {1e6 * visited:.0f} µs |"
    )


if __name__ == "__main__":
    main()
