"""One training step of each family is the same step written out with diffusers' and transformers' own parts: noise prediction,
target, loss, and the gradient of every tensor of the adapter."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from torch import Tensor

from tests.trainer.small_training import CPU, Watched, new_training
from trainer.draws import generator
from trainer.families.base import BaseOptions
from trainer.families.registry import load_base
from trainer.loop import Training, train

SEED = 7
SCALES = {"sd15": 0.18215, "sd2": 0.18215, "sdxl": 0.13025}
"""Of the VAEs."""
AS_THE_BASE = BaseOptions()
BOTH: dict[str, object] = {
    "text_encoder": {"train": True, "learning_rate": 1e-4},
    "text_encoder_2": {"train": True, "learning_rate": 3e-5},
}


@dataclass(frozen=True)
class Case:
    """A family with options, and what of it is trained."""

    family: str
    options: BaseOptions = AS_THE_BASE
    change: dict[str, object] = dataclasses.field(default_factory=dict)
    gamma: float = 0


V_ZERO = BaseOptions(prediction_type="v_prediction", zero_terminal_snr=True)
FIRST: dict[str, object] = {"text_encoder": BOTH["text_encoder"]}
SECOND_ALONE: dict[str, object] = {"unet": {"train": False}, "text_encoder_2": BOTH["text_encoder_2"]}

CASES = {
    "sd15, clip skip, text encoder": Case("sd15", BaseOptions(clip_skip=2), FIRST),
    "sd2": Case("sd2", gamma=5),
    "sd2, zero terminal SNR, text encoder": Case("sd2", V_ZERO, FIRST, gamma=5),
    "sd2, noise": Case("sd2", BaseOptions(prediction_type="epsilon", clip_skip=3)),
    "sdxl": Case("sdxl", gamma=5),
    "sdxl, both text encoders": Case("sdxl", change=BOTH),
    "sdxl, first text encoder": Case("sdxl", change=FIRST),
    "sdxl, second text encoder alone": Case("sdxl", change=SECOND_ALONE),
    "sdxl, velocity, zero terminal SNR, clip skip": Case(
        "sdxl", dataclasses.replace(V_ZERO, clip_skip=3), BOTH, gamma=5
    ),
}


def with_true_sizes(training: Training) -> Training:
    """The examples as if they were cut from larger pictures, each from its own."""
    examples = [
        dataclasses.replace(
            one, width=100 + number, height=80, resize=(80, 64), crops=((5 + number, 0, 69 + number, 64),)
        )
        for number, one in enumerate(training.examples)
    ]
    return dataclasses.replace(training, examples=examples)


def conditioning_by_hand(
    base: Any, case: Case, captions: list[str], sizes: list[list[int]]
) -> tuple[Tensor, dict[str, Any]]:
    """What diffusers' pipelines give their UNet, from transformers' own outputs."""
    skip = case.options.clip_skip
    if case.family == "sdxl":
        words: list[Tensor] = []
        pooled: Tensor | None = None
        for number, name in (("", "text_encoder"), ("_2", "text_encoder_2")):
            tokenizer = base.components.tokenizer(f"tokenizer{number}")
            tokens = tokenizer(captions, padding="max_length", max_length=77, return_tensors="pt").input_ids
            out = base.network(name)(tokens, output_hidden_states=True)
            words.append(out.hidden_states[-(skip or 2)])
            pooled = out[0]
        return torch.cat(words, -1), {
            "added_cond_kwargs": {"text_embeds": pooled, "time_ids": torch.tensor(sizes, dtype=torch.float32)}
        }
    network = base.network("text_encoder")
    tokenizer = base.components.tokenizer("tokenizer")
    tokens = tokenizer(captions, padding="max_length", max_length=77, return_tensors="pt").input_ids
    out = network(tokens, output_hidden_states=True)
    return network.final_layer_norm(out.hidden_states[-skip]) if skip else out[0], {}


def written_out(training: Training, case: Case) -> Tensor:
    """The loss of step 0: draws by their keys, everything else by diffusers, transformers and torch."""
    base: Any = training.base
    predicts = case.options.prediction_type or ("v_prediction" if case.family == "sd2" else "epsilon")
    config = {
        **base.pipeline().scheduler.config,
        "prediction_type": predicts,
        "rescale_betas_zero_snr": bool(case.options.zero_terminal_snr),
    }
    scheduler = DDPMScheduler.from_config(config)
    latents, noise, timesteps, captions, sizes = [], [], [], [], []
    (visits,) = training.order.batches_at(0)
    for visit in visits:
        one, number = training.examples[visit.example_index], visit.visit_number
        posterior = next(value for view, value in training.posteriors.items() if view.example_id == one.id)
        standard = generator(SEED, "posterior", one.id, number).standard_normal((4, 8, 8), dtype=np.float32)
        latents.append(
            (posterior.mean + (0.5 * posterior.logvar).exp() * torch.from_numpy(standard)) * SCALES[case.family]
        )
        drawn = generator(SEED, "noise", one.path, one.id, number).standard_normal((4, 8, 8), dtype=np.float32)
        noise.append(torch.from_numpy(drawn))
        timesteps.append(int(generator(SEED, "timestep", one.path, one.id, number).integers(1000)))
        captions.append(f"lumi, {one.caption}")
        sizes.append([one.height, one.width, 0, one.crops[0][0], 64, 64])
    x0, eps, t = torch.stack(latents), torch.stack(noise), torch.tensor(timesteps)
    words, told = conditioning_by_hand(base, case, captions, sizes)
    (predicted,) = base.unet(scheduler.add_noise(x0, eps, t), t, words, **told)
    wanted = eps if predicts == "epsilon" else scheduler.get_velocity(x0, eps, t)
    losses = torch.nn.functional.mse_loss(predicted, wanted, reduction="none").mean((1, 2, 3))
    if case.gamma:
        snr = compute_snr(scheduler, t)
        losses = losses * snr.clamp(max=case.gamma) / (snr if predicts == "epsilon" else snr + 1)
    return losses.mean()


@pytest.mark.parametrize("name", CASES)
def test_a_step_is_the_step_written_out(name: str, folders: dict[str, Path], tmp_path: Path) -> None:
    case = CASES[name]
    base = load_base(case.family, folders[case.family], CPU, torch.float32, case.options)
    change: dict[str, object] = {
        "adapter": {"targets": "ADAPTER_TARGETS_ALL"},
        "optimization": {"steps": 1, "max_gradient_norm": 0},
        "loss": {"min_snr_gamma": case.gamma},
        **case.change,
    }
    training, adapter = new_training(base, tmp_path, change)
    training = with_true_sizes(training)
    drawn = torch.randn(training.arena.count, generator=torch.Generator().manual_seed(3))
    training.arena.values.detach().add_(0.02 * drawn)  # away from the beginning, where half of the gradients are 0
    parameters = {
        f"{module.plan.name} {tensor}": parameter
        for module in adapter.modules
        for tensor, parameter in module.tensors.items()
    }
    loss = written_out(training, case)
    expected = float(loss.detach())
    gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)

    events = Watched()
    train(training, 0, 0.0, events)
    assert events.measurements[0].loss == pytest.approx(expected, rel=1e-5)
    largest = max(float(gradient.abs().max()) for gradient in gradients if gradient is not None)
    behind = set()
    for (one, parameter), gradient in zip(parameters.items(), gradients, strict=True):
        if gradient is None or not gradient.any():
            behind.add(one.partition(" ")[0].rpartition(".layers.")[2].partition(".")[0])
        reached = torch.zeros_like(parameter) if gradient is None else gradient
        torch.testing.assert_close(parameter.grad, reached, rtol=1e-5, atol=1e-5 * largest, msg=one)
    assert behind <= layers_behind(base, case), "a tensor that should be trained has no gradient"
    assert {module.plan.network for module in adapter.modules} == set(training.config.trained)


def layers_behind(base: Any, case: Case) -> set[str]:
    """The text encoders' last layers, which lie behind the one that is read."""
    skip = base.text_encoders[0].clip_skip
    layers = 3 if case.family != "sd15" else 2
    return {str(layer) for layer in range(layers - skip + 1, layers)}


def test_each_text_encoder_has_its_own_rate(folders: dict[str, Path], tmp_path: Path) -> None:
    base = load_base("sdxl", folders["sdxl"], CPU, torch.float32)
    training, adapter = new_training(base, tmp_path, dict(BOTH))
    rates = {module.plan.network: module.plan.learning_rate for module in adapter.modules}
    assert rates == {"unet": 1e-3, "text_encoder": 1e-4, "text_encoder_2": 3e-5}
    assert {group.learning_rate for group in adapter.groups(0.0)} == set(rates.values())
    assert list(training.config.trained) == list(rates)
