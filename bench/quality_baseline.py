"""The baseline of `bench/quality.py`: diffusers' LoRA script (`bench.lora_script`), saved and timed on the way."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from accelerate.utils import set_seed

from bench.lora_script import LoraScript
from bench.quality_record import Saved
from bench.quality_tasks import Shown

RANK = 4
"""The script's default."""
FILE = "pytorch_lora_weights.safetensors"


def train(
    shown: Sequence[Shown], base: Path, work: Path, *, rate: float, batch_size: int, seed: int, saves: Sequence[int]
) -> list[Saved]:
    """Adapters after each of the `saves` steps, in folders below `work`; the last save is the training's end."""
    data = work / "data"
    data.mkdir(parents=True)
    for number, one in enumerate(shown, start=1):
        one.picture.save(data / f"{number:02}.png")
        (data / f"{number:02}.txt").write_text(one.caption)
    began, saving = time.process_time(), 0.0
    set_seed(seed)
    training = LoraScript(base, data, rank=RANK, batch_size=batch_size, rate=rate, steps=saves[-1])
    saved = []
    for step in range(1, saves[-1] + 1):
        training.step()
        if step in saves:
            now = time.process_time()
            folder = work / f"{step:06}"
            training.save(folder)
            saved.append(Saved(step, now - began - saving, folder / FILE))
            saving += time.process_time() - now
    return saved
