from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
from PIL import Image

from tests.trainer.jobs import Job
from tests.trainer.tools.conftest import Tool

DRAWING = ("--steps", 3, "--guidance", 3, "--width", 64, "--height", 64)


def pictures_of(page: Path) -> dict[str, list[np.ndarray]]:
    """Pixels by column, in order of the prompts."""
    found: dict[str, list[np.ndarray]] = {}
    for data, name in re.findall(r'base64,([^"]+)"[^>]* alt="([^:]+): ', page.read_text()):
        found.setdefault(name, []).append(np.asarray(Image.open(io.BytesIO(base64.b64decode(data))), dtype=int))
    return found


def stored(job: Job, name: str) -> np.ndarray:
    return np.asarray(Image.open(job.run_folder / "previews" / name), dtype=int)


def test_files_are_drawn_beside_each_other_as_jobs_draw_them(
    finished: Job, tiny_base: Path, tool: Tool, tmp_path: Path
) -> None:
    first, last = finished.file("adapter.safetensors", "000004"), finished.file("adapter.diffusers.safetensors")
    page = tmp_path / "page.html"
    prompts = ("--prompt", "a red lumi", "--prompt", "a star", "--seed", 0, "--seed", 5)
    ended = tool("compare-adapters", first, last, f"{last}:0", "--base", tiny_base, *prompts, *DRAWING, "--out", page)
    assert ended.code == 0, ended.err
    drawn = pictures_of(page)
    assert list(drawn) == [
        "without adapter",
        "adapter",
        "adapter.diffusers",
        "adapter.diffusers at 0",
    ]
    assert all(len(pictures) == 4 for pictures in drawn.values()), "each prompt with each seed"
    for name, column in (("0000000", "without adapter"), ("0000004", "adapter"), ("0000006", "adapter.diffusers")):
        assert np.abs(drawn[column][0] - stored(finished, f"{name}/00.png")).max() <= 1
    assert np.abs(drawn["adapter"][0] - drawn["without adapter"][0]).max() > 4
    for without, at_nothing in zip(drawn["without adapter"], drawn["adapter.diffusers at 0"], strict=True):
        np.testing.assert_array_equal(at_nothing, without, "the base is left as it was, to the bit")

    again = tool("compare-adapters", first, last, "--base", tiny_base, *prompts, *DRAWING, "--out", page)
    assert again.code == 64
    assert "--force" in again.err


def test_what_cannot_be_compared_is_said(finished: Job, tiny_base: Path, tool: Tool, tmp_path: Path) -> None:
    file = finished.file("adapter.safetensors")
    asked = ("--base", tiny_base, "--prompt", "a star", *DRAWING, "--out", tmp_path / "page.html")
    twice = tool("compare-adapters", file, file, *asked)
    assert (twice.code, "named twice" in twice.err) == (64, True)
    odd = tool("compare-adapters", file, *asked, "--width", 100)
    assert (odd.code, "multiples of 8" in odd.err) == (2, True)
    assert not (tmp_path / "page.html").exists()
