"""bfloat16 is the frozen UNet's arithmetic; the adapter is trained and saved in fp32 all the same."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.trainer.jobs import Jobs


def test_bf16_trains_and_draws_on_a_cpu(jobs: Jobs) -> None:
    change = {
        "optimization": {"precision": "PRECISION_BF16", "steps": 2},
        "concept": {"prior_preservation": {"captions": ["a star"], "images": 1}},
        "outputs": {"precision": "PRECISION_BF16"},
    }
    job = jobs.new("bf16", change)
    assert job.run() == 0
    assert "bfloat16" in job.file("report.html").read_text()
    for name in ("adapter.safetensors", "adapter.diffusers.safetensors"):
        tensors = load_file(job.file(name))
        assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
        assert all(tensor.isfinite().all() for tensor in tensors.values())
    ups = [tensor for key, tensor in load_file(job.file("adapter.safetensors")).items() if "lora_up" in key]
    assert all(up.abs().max() > 0 for up in ups), "every module was trained"
    picture = np.asarray(Image.open(job.run_folder / "previews/0000002/00.png"))
    assert picture.std() > 1
