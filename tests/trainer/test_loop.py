"""The loop does what the papers say: against the same step written out with diffusers' scheduler and plain torch."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from torch import Tensor

from tests.trainer.small_training import CPU, Watched, new_training
from trainer.data.order import Order
from trainer.draws import generator
from trainer.errors import DeadlineExceeded
from trainer.families.sd15 import Sd15Base
from trainer.loop import Batch, Training, prior_batch, prior_losses, train, training_batch
from trainer.noise import add_noise

SEED = 7
CHANGE: dict[str, object] = {
    "adapter": {"targets": "ADAPTER_TARGETS_ALL", "conv_rank": 2},
    "text_encoder": {"train": True, "learning_rate": 1e-4},
    "optimization": {"gradient_accumulation": 2, "max_gradient_norm": 0, "steps": 1},
}


PRIOR: dict[str, object] = {"concept": {"prior_preservation": {"captions": ["a red heart"], "weight": 0.5}}}


@pytest.fixture(scope="module")
def loaded(tiny_base: Path) -> Sd15Base:
    return Sd15Base(tiny_base, CPU, torch.float32)


@pytest.fixture
def base(loaded: Sd15Base) -> Sd15Base:
    """A copy, since each test puts its own adapter into it."""
    return copy.deepcopy(loaded)


def scatter(training: Training, size: float = 0.02) -> None:
    """Moves the adapter away from its beginning, where half of the gradients are 0."""
    drawn = torch.randn(training.arena.count, generator=torch.Generator().manual_seed(3))
    training.arena.values.detach().add_(size * drawn)


def written_out_loss(training: Training, prediction_type: str, gamma: float) -> Tensor:
    """The loss of step 0 by other hands: draws by their keys, everything else by diffusers and torch."""
    base = training.base
    scheduler = DDPMScheduler.from_config(base.pipeline().scheduler.config, prediction_type=prediction_type)
    total = torch.zeros(())
    for visits in training.order.batches_at(0):
        latents, noise, timesteps, captions = [], [], [], []
        for visit in visits:
            one, number = training.examples[visit.example_index], visit.visit_number
            posterior = training.posteriors[one.id, False, 0]
            standard = generator(SEED, "posterior", one.id, number).standard_normal((4, 8, 8), dtype=np.float32)
            latent = posterior.mean + (0.5 * posterior.logvar).exp() * torch.from_numpy(standard)
            latents.append(latent * base.vae.config.scaling_factor)
            drawn = generator(SEED, "noise", one.path, one.id, number).standard_normal((4, 8, 8), dtype=np.float32)
            noise.append(torch.from_numpy(drawn))
            timesteps.append(int(generator(SEED, "timestep", one.path, one.id, number).integers(1000)))
            captions.append(f"lumi, {one.caption}")
        x0, eps, t = torch.stack(latents), torch.stack(noise), torch.tensor(timesteps)
        tokens = base.text_encoders[0].tokenizer(captions, padding="max_length", return_tensors="pt").input_ids
        (predicted,) = base.unet(scheduler.add_noise(x0, eps, t), t, base.network("text_encoder")(tokens)[0])
        wanted = eps if prediction_type == "epsilon" else scheduler.get_velocity(x0, eps, t)
        losses = torch.nn.functional.mse_loss(predicted, wanted, reduction="none").mean((1, 2, 3))
        if gamma:
            snr = compute_snr(scheduler, t)
            losses = losses * snr.clamp(max=gamma) / (snr if prediction_type == "epsilon" else snr + 1)
        total = total + losses.mean() / 2
    return total


@pytest.mark.parametrize("gamma", [0, 5])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_a_step_is_the_step_written_out(prediction_type: str, gamma: float, base: Sd15Base, tmp_path: Path) -> None:
    base.prediction_type = prediction_type
    training, adapter = new_training(base, tmp_path, {**CHANGE, "loss": {"min_snr_gamma": gamma}})
    scatter(training)
    parameters = {
        f"{module.plan.name} {name}": parameter
        for module in adapter.modules
        for name, parameter in module.tensors.items()
    }
    loss = written_out_loss(training, prediction_type, gamma)
    expected = float(loss.detach())
    gradients = dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))
    reference = {name: parameter.detach().clone().requires_grad_() for name, parameter in parameters.items()}

    events = Watched()
    train(training, 0, 0.0, events)
    (measured,) = events.measurements
    assert measured.loss == pytest.approx(expected, rel=1e-5)
    for name, parameter in parameters.items():
        torch.testing.assert_close(
            parameter.grad, gradients[name], rtol=1e-5, atol=1e-5 * float(gradients[name].abs().max())
        )
        assert gradients[name].abs().max() > 0, f"{name} is not trained"
    norm = torch.cat([gradient.flatten() for gradient in gradients.values()]).norm()
    assert measured.gradient_norm == pytest.approx(float(norm), rel=1e-4)

    # The update, by one torch.optim.AdamW over per-tensor parameters with this very gradient.
    rates = {"unet": 1e-3, "text_encoder": 1e-4}
    for name, tensor in reference.items():
        tensor.grad = parameters[name].grad.clone()
        rate = rates[name.partition(".")[0]]
        torch.optim.AdamW([tensor], lr=rate, betas=(0.9, 0.999), weight_decay=0.01).step()
        torch.testing.assert_close(parameters[name].detach(), tensor.detach(), rtol=1e-5, atol=1e-6)


def by_visit(
    training: Training, batch_size: int, accumulation: int
) -> dict[tuple[int, int], tuple[Tensor, Tensor, int, str]]:
    """What every visit of the first two epochs sees."""
    order = Order(
        buckets=[one.bucket for one in training.examples],
        repeats=[1, 2, 1, 1],
        seed=SEED,
        batch_size=batch_size,
        accumulation=accumulation,
    )
    seen = {}
    for step in range(order.steps_of(2)):
        for visits in order.batches_at(step):
            batch = training_batch(training, visits)
            for place, visit in enumerate(visits):
                seen[visit.example_index, visit.visit_number] = (
                    batch.latents[place],
                    batch.eps[place],
                    batch.host_timesteps[place],
                    batch.captions[place],
                )
    return seen


def test_what_a_visit_sees_does_not_depend_on_the_micro_batch(base: Sd15Base, tmp_path: Path) -> None:
    rules = {"source": "CAPTION_SOURCE_FILE", "caption_dropout": 0.3, "shuffle_tags": True}
    data = {"flip_probability": 0.5, "subsets": [{"captions": rules}]}
    training, _ = new_training(base, tmp_path, {"dataset": data})
    large, small = by_visit(training, 4, 1), by_visit(training, 2, 2)
    common = large.keys() & small.keys()
    assert len(common) >= 10
    for key in common:
        assert torch.equal(large[key][0], small[key][0])
        assert torch.equal(large[key][1], small[key][1])
        assert large[key][2:] == small[key][2:]
    assert len({seen[2] for seen in large.values()}) > 5, "each visit has a timestep of its own"
    assert {seen[3] == "" for seen in large.values()} == {True, False}, "some captions are dropped"


def test_nor_does_what_a_step_learns(base: Sd15Base, tmp_path: Path) -> None:
    """Three pictures are a short micro-batch of four, or one of two and a short one: each counts a third."""
    training, _ = new_training(
        base, tmp_path, {**CHANGE, **PRIOR, "optimization": {"steps": 1, "max_gradient_norm": 0}}
    )
    scatter(training)
    values, learned = training.arena.values.detach().clone(), []
    for batch_size, accumulation in ((4, 1), (2, 2)):
        training.arena.values.detach().copy_(values)
        optimization = dataclasses.replace(
            training.config.optimization, batch_size=batch_size, gradient_accumulation=accumulation
        )
        order = Order(buckets=["one"] * 3, repeats=[1] * 3, seed=SEED, batch_size=batch_size, accumulation=accumulation)
        config = dataclasses.replace(training.config, optimization=optimization)
        events = Watched()
        train(dataclasses.replace(training, config=config, order=order), 0, 0.0, events)
        (measured,) = events.measurements
        learned.append((training.arena.gradients.clone(), measured.loss, measured.prior_loss))
    torch.testing.assert_close(learned[0][0], learned[1][0], rtol=1e-4, atol=1e-7)
    assert learned[0][1:] == pytest.approx(learned[1][1:], rel=1e-5)


def joined(batches: list[Batch]) -> tuple[Tensor, Tensor, list[int], list[str]]:
    return (
        torch.cat([batch.latents for batch in batches]),
        torch.cat([batch.eps for batch in batches]),
        [timestep for batch in batches for timestep in batch.host_timesteps],
        [caption for batch in batches for caption in batch.captions],
    )


def test_nor_does_what_a_step_sees_of_the_prior(base: Sd15Base, tmp_path: Path) -> None:
    training, _ = new_training(base, tmp_path, {**PRIOR, "optimization": {"batch_size": 4}})
    halves = dataclasses.replace(
        training,
        config=dataclasses.replace(
            training.config, optimization=dataclasses.replace(training.config.optimization, batch_size=2)
        ),
    )
    for step in range(3):
        large = joined([prior_batch(training, step, 0)])
        small = joined([prior_batch(halves, step, place) for place in range(2)])
        assert torch.equal(large[0], small[0])
        assert torch.equal(large[1], small[1])
        assert large[2:] == small[2:]
        assert large[0].shape == (4, 4, 8, 8)


def test_the_prior_pulls_a_changed_adapter_back_to_the_base(base: Sd15Base, tmp_path: Path) -> None:
    """With the adapter at its beginning there is nothing to pull; then each step against the gradient gets nearer."""
    training, _ = new_training(base, tmp_path, {**CHANGE, **PRIOR})
    batch = prior_batch(training, 0, 0)
    assert prior_losses(training, batch).abs().max() < 1e-10

    scatter(training, 0.05)
    losses = []
    for _ in range(4):
        training.arena.zero_gradients()
        loss = prior_losses(training, batch).mean()
        loss.backward()
        training.arena.values.detach().sub_(training.arena.gradients / training.arena.gradients.norm() * 0.1)
        losses.append(float(loss.detach()))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.9 * losses[0]


def test_the_prior_is_what_the_base_makes_of_its_own_words(base: Sd15Base, tmp_path: Path) -> None:
    untouched = copy.deepcopy(base)
    training, _ = new_training(base, tmp_path, {**CHANGE, **PRIOR})
    scatter(training, 0.05)
    batch = prior_batch(training, 0, 0)
    noisy = add_noise(batch.latents, batch.eps, base.alphas_cumprod[batch.timesteps])
    with torch.no_grad():
        wanted = untouched.predict(noisy, batch.timesteps, untouched.encode_captions(batch.captions))
        found = base.predict(noisy, batch.timesteps, base.encode_captions(batch.captions))
        losses = prior_losses(training, batch)
    torch.testing.assert_close(losses, (found - wanted).square().mean((1, 2, 3)))


def test_the_prior_has_its_weight_in_the_step(base: Sd15Base, tmp_path: Path) -> None:
    training, _ = new_training(base, tmp_path, {**CHANGE, **PRIOR})
    scatter(training)
    without = dataclasses.replace(training, config=dataclasses.replace(training.config, prior=None))
    values, gradients = training.arena.values.detach().clone(), {}
    for name, one in (("with", training), ("without", without)):
        training.arena.values.detach().copy_(values)
        events = Watched()
        train(one, 0, 0.0, events)
        gradients[name] = training.arena.gradients.clone()
        assert (events.measurements[0].prior_loss is None) is (name == "without")
        if name == "with":
            told = events.measurements[0].prior_loss

    training.arena.values.detach().copy_(values)
    training.arena.zero_gradients()
    prior = sum(prior_losses(training, prior_batch(training, 0, place)).mean() for place in range(2)) / 2
    assert isinstance(prior, Tensor)
    prior.backward()
    assert told == pytest.approx(float(prior.detach()), rel=1e-5)
    expected = gradients["without"] + 0.5 * training.arena.gradients
    torch.testing.assert_close(gradients["with"], expected, rtol=1e-4, atol=1e-6)


def test_the_deadline_ends_training_but_not_at_the_last_step(base: Sd15Base, tmp_path: Path) -> None:
    training, _ = new_training(base, tmp_path, {"optimization": {"steps": 2}, "deadline": "0.000001s"})
    events = Watched()
    with pytest.raises(DeadlineExceeded, match=r"at step 1 of 2; raise the deadline"):
        train(training, 0, 0.0, events)
    assert [measured.step for measured in events.measurements] == [1]
    assert train(training, 1, 5.0, events) > 5.0, "what is finished is not too late"
