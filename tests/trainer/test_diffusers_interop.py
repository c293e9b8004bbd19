"""The adapter works where users use it: diffusers' own pipeline with the file loaded draws what the trainer drew."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open
from safetensors.torch import load_file

from tests.trainer.jobs import Job, Jobs
from trainer.config_reading import read_config


def _assert_all_arrived(pipeline: StableDiffusionPipeline, tensors: dict[str, torch.Tensor]) -> None:
    """Every tensor of a file has become one of the networks' adapters, none is dropped."""
    arrived = [
        tensor
        for network in (pipeline.unet, pipeline.text_encoder)
        for key, tensor in network.state_dict().items()
        if ".lora_A." in key or ".lora_B." in key
    ]
    sent = [tensor for key, tensor in tensors.items() if not key.endswith(".alpha")]
    assert sorted(tuple(tensor.shape) for tensor in arrived) == sorted(tuple(tensor.shape) for tensor in sent)
    assert all(tensor.abs().sum() > 0 for tensor in arrived)


def drawn_by_diffusers(pipeline: StableDiffusionPipeline, job: Job) -> np.ndarray:
    """The job's previews, (N, side, side, 3) floats in [0, 1], one call for each."""
    previews = read_config(job.assignment).previews
    pictures = [
        pipeline(
            prompt.prompt,
            negative_prompt=prompt.negative_prompt,
            height=64,
            width=64,
            num_inference_steps=previews.inference_steps,
            guidance_scale=previews.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(prompt.seed),
            output_type="np",
        ).images[0]
        for prompt in previews.prompts
    ]
    return np.stack(pictures)


CASES = {
    "alpha is not rank, with dropout": {"adapter": {"rank": 4, "alpha": 6, "dropout": 0.3}},
    "text encoder too, convolutions of another rank": {
        "adapter": {"targets": "ADAPTER_TARGETS_ALL", "rank": 4, "alpha": 2, "conv_rank": 2, "conv_alpha": 3},
        "text_encoder": {"train": True, "learning_rate": 1e-2},
    },
    "text encoder alone": {
        "unet": {"train": False},
        "text_encoder": {"train": True, "learning_rate": 3e-2},
    },
}


@pytest.mark.parametrize("case", CASES)
def test_diffusers_draws_the_same_picture_with_either_file(
    case: str, jobs: Jobs, tiny_base: Path, drawn_by_trainer: dict[int, np.ndarray]
) -> None:
    prompts = [{"prompt": "a red [tag]", "seed": 1}, {"prompt": "a star", "negative_prompt": "blue", "seed": 2}]
    job = jobs.new(
        f"interop {case}",
        {
            "unet": {"learning_rate": 2e-2},
            "optimization": {"steps": 3},
            "previews": {"prompts": prompts},
            **CASES[case],
        },
    )
    assert job.run() == 0
    before, after = drawn_by_trainer[0], drawn_by_trainer[3]
    assert np.abs(after - before).max() > 0.02, "the adapter must be seen, or the test proves nothing"

    pipeline = StableDiffusionPipeline.from_pretrained(tiny_base, safety_checker=None, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    np.testing.assert_allclose(drawn_by_diffusers(pipeline, job), before, atol=1e-4)
    for name in ("adapter.safetensors", "adapter.diffusers.safetensors"):
        pipeline.load_lora_weights(job.file(name))
        _assert_all_arrived(pipeline, load_file(job.file(name)))
        np.testing.assert_allclose(drawn_by_diffusers(pipeline, job), after, atol=1e-4)
        pipeline.unload_lora_weights()


def test_the_strength_is_in_every_loader_s_reach(finished: Job) -> None:
    """kohya's file says alpha beside each module; diffusers' file has it in the weights, and a header that says so."""
    kohya = load_file(finished.file("adapter.safetensors"))
    other = load_file(finished.file("adapter.diffusers.safetensors"))
    linear, conv = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q", "down_blocks.0.resnets.0.conv1"
    for path, strength in ((linear, 2 / 4), (conv, 3 / 2)):
        key = f"lora_unet_{path.replace('.', '_')}"
        down, up, alpha = (kohya[f"{key}.{part}"] for part in ("lora_down.weight", "lora_up.weight", "alpha"))
        assert float(alpha) / down.shape[0] == strength
        torch.testing.assert_close(other[f"unet.{path}.lora_A.weight"], down, rtol=0, atol=0)
        torch.testing.assert_close(other[f"unet.{path}.lora_B.weight"], up * strength)
    with safe_open(finished.file("adapter.diffusers.safetensors"), "pt") as file:
        header = json.loads(file.metadata()["lora_adapter_metadata"])
    assert header["unet.r"] == header["unet.lora_alpha"]
    assert header["unet.rank_pattern"] == header["unet.alpha_pattern"]
    assert header["text_encoder.r"] == 4
