"""Options in the loop, on a tiny base: what they do to a step, and that a resume gives the same bits with each of them."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor
from torch.nn import functional

from tests.trainer.small_training import CPU, Watched, new_training
from tests.trainer.test_loop import scatter
from trainer.config_fitting import ValidationConfig
from trainer.data.views import View
from trainer.draws import generator
from trainer.families.sd15 import Sd15Base
from trainer.gradient_checkpointing import compute_again
from trainer.loop import Training, conditioning_of, example_losses, train, training_batch
from trainer.noise import add_noise
from trainer.state import final_values, restore, state_of
from trainer.validation import HeldOut, Validation, held_out_ids


@pytest.fixture(scope="module")
def loaded(tiny_base: Path) -> Sd15Base:
    return Sd15Base(tiny_base, CPU, torch.float32)


@pytest.fixture
def base(loaded: Sd15Base) -> Sd15Base:
    """A copy, since each test puts its own adapter into it."""
    return copy.deepcopy(loaded)


COMBINATIONS: dict[str, dict[str, object]] = {
    "huber, EMA, Adafactor": {
        "loss": {"type": "LOSS_TYPE_HUBER", "threshold_schedule": "THRESHOLD_SCHEDULE_EXPONENTIAL"},
        "optimization": {"optimizer": "OPTIMIZER_ADAFACTOR", "ema_decay": 0.9, "schedule": "SCHEDULE_REX"},
        "noise": {"offset": 0.1, "timestep_sampling": "TIMESTEP_SAMPLING_LOGIT_NORMAL"},
    },
    "smooth L1, Prodigy, dropout": {
        "loss": {"type": "LOSS_TYPE_SMOOTH_L1", "soft_min_snr_gamma": 5},
        "optimization": {"optimizer": "OPTIMIZER_PRODIGY", "schedule": "SCHEDULE_POLYNOMIAL"},
        "noise": {"pyramid_levels": 2, "input_perturbation": 0.1},
        "adapter": {"dropout": 0.2},
        "unet": {"learning_rate": 1.0},
    },
    "debiased, schedule-free, validation": {
        "loss": {"debiased": True},
        "optimization": {"optimizer": "OPTIMIZER_SCHEDULE_FREE_ADAMW", "schedule": "SCHEDULE_CONSTANT"},
        "validation": {"share": 0.25, "every_steps": 1, "timesteps": 2, "keep_best": True},
    },
}


def training_of(base: Sd15Base, work: Path, change: dict[str, object]) -> Training:
    optimization = {"steps": 4, "batch_size": 2, **change.get("optimization", {})}  # type: ignore[dict-item]
    training, _ = new_training(base, work, {**change, "optimization": optimization})
    config = training.config.validation
    return training if config is None else dataclasses.replace(training, validation=validation_of(training, config))


def validation_of(training: Training, config: ValidationConfig) -> Validation:
    batch = training_batch(training, training.order.batches_at(0)[0])
    examples = [
        HeldOut(id=name, latents=latents, caption=caption, framing=framing)
        for name, latents, caption, framing in zip(
            batch.names, batch.latents, batch.captions, batch.framings, strict=True
        )
    ]
    return Validation(config=config, examples=examples, every=config.every_steps or 1, seed=3, batch_size=3)


@pytest.mark.parametrize("name", COMBINATIONS)
def test_a_resume_gives_the_same_bits(name: str, loaded: Sd15Base, tmp_path: Path) -> None:
    class KeptAt2(Watched):
        kept: bytes = b""

        def after_step(self, step: int, trained_seconds: float) -> None:
            super().after_step(step, trained_seconds)
            if step == 2:
                self.kept = save(state_of(whole))

    events, change = KeptAt2(), COMBINATIONS[name]
    whole = training_of(copy.deepcopy(loaded), tmp_path, change)
    train(whole, 0, 0.0, events)

    again = training_of(copy.deepcopy(loaded), tmp_path, change)
    restore(again, load(events.kept), 2)
    train(again, 2, 1.0, Watched())
    assert torch.equal(again.arena.values, whole.arena.values)
    shown = final_values(whole), final_values(again)
    assert all(one is None for one in shown) or torch.equal(*shown)  # type: ignore[arg-type]
    first = training_of(copy.deepcopy(loaded), tmp_path, change).arena.values
    assert not torch.equal(first, whole.arena.values)


def gradients(training: Training) -> Tensor:
    for network in training.base.loaded_networks.values():
        network.train()
    training.arena.zero_gradients()
    torch.manual_seed(5)
    example_losses(training, training_batch(training, training.order.batches_at(0)[0])).sum().backward()
    return training.arena.gradients.clone()


def test_gradient_checkpointing_gives_the_same_gradients_with_dropout(base: Sd15Base, tmp_path: Path) -> None:
    change: dict[str, object] = {
        "adapter": {"dropout": 0.3, "rank_dropout": 0.3, "targets": "ADAPTER_TARGETS_ATTENTION"},
        "text_encoder": {"train": True, "learning_rate": 1e-3},
    }
    training = training_of(base, tmp_path, change)
    scatter(training)
    plain = gradients(training)
    assert plain.abs().max() > 0

    forwards = []
    block = training.base.network("unet").up_blocks[-1].resnets[-1]
    block.register_forward_pre_hook(lambda *_: forwards.append(1))
    compute_again(training.base.loaded_networks.values())
    torch.testing.assert_close(gradients(training), plain, rtol=1e-5, atol=1e-7)
    assert len(forwards) == 2, "the block is computed a second time"


def test_a_masked_part_of_a_picture_teaches_nothing(base: Sd15Base, tmp_path: Path) -> None:
    training = training_of(base, tmp_path, {})
    mask = torch.zeros(8, 8)
    mask[:, :4] = 1.0
    masks = {View(one.id, mirrored=False): mask for one in training.examples}
    masked = dataclasses.replace(training, masks=masks)
    batch = training_batch(masked, training.order.batches_at(0)[0])
    abar = base.alphas_cumprod[batch.timesteps]
    with torch.no_grad():
        losses = example_losses(masked, batch)
        noisy = add_noise(batch.latents, batch.eps, abar)
        prediction = base.predict(noisy, batch.timesteps, conditioning_of(masked, batch))
    written_out = (prediction - batch.eps)[:, :, :, :4].square().mean((1, 2, 3))
    torch.testing.assert_close(losses, written_out, rtol=1e-5, atol=1e-6)


def test_perturbed_inputs_keep_the_target(base: Sd15Base, loaded: Sd15Base, tmp_path: Path) -> None:
    training = training_of(base, tmp_path, {"noise": {"input_perturbation": 0.5}})
    plain = training_of(copy.deepcopy(loaded), tmp_path, {})
    visits = training.order.batches_at(0)[0]
    batch, other = training_batch(training, visits), training_batch(plain, visits)
    assert torch.equal(batch.eps, other.eps)
    assert other.seen is other.eps
    with torch.no_grad():
        noisy = add_noise(batch.latents, batch.seen, base.alphas_cumprod[batch.timesteps])
        prediction = base.predict(noisy, batch.timesteps, conditioning_of(training, batch))
        torch.testing.assert_close(
            example_losses(training, batch), (prediction - batch.eps).square().mean((1, 2, 3)), rtol=1e-5, atol=1e-6
        )


def test_a_step_in_fp16_moves_the_adapter_as_one_in_fp32(base: Sd15Base, tiny_base: Path, tmp_path: Path) -> None:
    half = Sd15Base(tiny_base, CPU, torch.float16)
    moved = {}
    for precision, one in (("PRECISION_FP32", base), ("PRECISION_FP16", half)):
        training = training_of(one, tmp_path, {"optimization": {"precision": precision, "steps": 1}})
        assert (training.scale is not None) is (precision == "PRECISION_FP16")
        first = training.arena.values.detach().clone()
        scatter(training)
        train(training, 0, 0.0, Watched())
        moved[precision] = training.arena.gradients.clone()
        assert torch.isfinite(training.arena.values).all()
        assert not torch.equal(first, training.arena.values)
    difference = (moved["PRECISION_FP32"] - moved["PRECISION_FP16"]).norm() / moved["PRECISION_FP32"].norm()
    assert float(difference) < 0.05


def test_a_step_whose_gradient_overflows_in_fp16_is_left_out(base: Sd15Base, tmp_path: Path) -> None:
    training = training_of(base, tmp_path, {"optimization": {"precision": "PRECISION_FP16", "steps": 1}})
    assert training.scale is not None
    training.scale.scale = 1e39
    first, events = training.arena.values.detach().clone(), Watched()
    train(training, 0, 0.0, events)
    assert torch.equal(training.arena.values, first)
    assert training.scale.scale == 5e38
    assert events.measurements[0].gradient_norm == 0


def test_attention_is_torchs_own(base: Sd15Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.Size] = []

    def attention(query: Tensor, *rest: Any, **more: Any) -> Tensor:
        asked.append(query.shape)
        return theirs(query, *rest, **more)

    theirs = functional.scaled_dot_product_attention
    monkeypatch.setattr(functional, "scaled_dot_product_attention", attention)
    train(training_of(base, tmp_path, {"optimization": {"steps": 1}}), 0, 0.0, Watched())
    layers = [name for name, _ in base.network("unet").named_modules() if name.endswith(("attn1", "attn2"))]
    of_the_batch = [shape for shape in asked if shape[0] == 2]  # captions are read one by one
    assert len(of_the_batch) == len(layers) > 0
    assert base.network("text_encoder").config._attn_implementation == "sdpa"


def test_validation_is_the_plain_error_at_fixed_noise_spread_over_the_timesteps(base: Sd15Base, tmp_path: Path) -> None:
    change: dict[str, object] = {
        "validation": {"share": 0.25, "timesteps": 4},
        "adapter": {"dropout": 0.5},
        "loss": {"min_snr_gamma": 5, "type": "LOSS_TYPE_HUBER"},
        "noise": {"offset": 0.5},
    }
    training = training_of(base, tmp_path, change)
    scatter(training)
    validation = training.validation
    assert validation is not None
    found = validation.measure(base, training.words)
    assert found == validation.measure(base, training.words)

    total, seen = 0.0, set()
    for one in validation.examples:
        for part in range(4):
            t = int(generator(3, "validation timestep", one.id, part).integers(250 * part, 250 * (part + 1)))
            seen.add(t // 250)
            drawn = generator(3, "validation noise", one.id, part).standard_normal((4, 8, 8), dtype="float32")
            eps, timestep = torch.from_numpy(drawn)[None], torch.tensor([t])
            noisy = add_noise(one.latents[None], eps, base.alphas_cumprod[timestep])
            with torch.no_grad():
                words = base.framed(base.encode_captions([one.caption]), [one.framing])
                total += float((base.predict(noisy, timestep, words) - eps).square().mean())
    assert seen == {0, 1, 2, 3}
    assert found == pytest.approx(total / (4 * len(validation.examples)), rel=1e-4)


class Losses(Validation):
    """Validation whose measurements are given."""

    told: list[float]

    def measure(self, *_: object) -> float:
        return self.told.pop(0)


def test_training_ends_when_nothing_new_is_learnt_and_the_best_is_kept(base: Sd15Base, tmp_path: Path) -> None:
    change: dict[str, object] = {"optimization": {"steps": 9}, "validation": {"share": 0.25}}
    training = training_of(base, tmp_path, change)
    assert training.validation is not None
    config = dataclasses.replace(training.validation.config, keep_best=True, patience=2, every_steps=1)
    validation = Losses(config=config, examples=(), every=1, seed=3, batch_size=2)
    validation.told = [0.5, 0.3, 0.4, 0.31, 0.1]
    training = dataclasses.replace(training, validation=validation)

    class Values(Watched):
        after: dict[int, Tensor]

        def after_step(self, step: int, trained_seconds: float) -> None:
            super().after_step(step, trained_seconds)
            self.after = {**getattr(self, "after", {}), step: training.arena.values.detach().clone()}

    events = Values()
    train(training, 0, 0.0, events)
    assert [measured.validation_loss for measured in events.measurements] == [0.5, 0.3, 0.4, 0.31]
    assert (training.last_step, validation.best_step, validation.best_loss) == (4, 2, 0.3)
    best = final_values(training)
    assert best is not None
    assert torch.equal(best, events.after[2])


def test_held_out_examples_are_drawn_by_their_ids() -> None:
    ids = [f"{number}.png" for number in range(40)]
    found = held_out_ids(ids, 0.1, 7)
    assert len(found) == 4
    assert held_out_ids(ids[::-1], 0.1, 7) == found
    assert held_out_ids(ids, 0.1, 8) != found
    assert len(held_out_ids(ids[:3], 0.1, 7)) == 1
