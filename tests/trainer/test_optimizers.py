"""Every optimizer over the arena: its paper's update, rates by segment, and the same bits after a resume."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from trainer.arena import Arena, Group
from trainer.averaging import MovingAverage
from trainer.config_fitting import OptimizationConfig, OptimizerName
from trainer.loss_scaling import FIRST, LossScale
from trainer.optimizers import Optimizer, make_optimizer
from trainer.preconditioning import DELTA, preconditioned

CPU = torch.device("cpu")
RATES = {"unet": 1e-2, "text_encoder": 2e-3}


def config(optimizer: str, **changed: object) -> OptimizationConfig:
    plain: dict[str, Any] = {
        "steps": 10,
        "epochs": None,
        "batch_size": 1,
        "gradient_accumulation": 1,
        "optimizer": optimizer,
        "weight_decay": 0.01,
        "beta1": 0.9,
        "beta2": 0.99,
        "schedule": "constant",
        "schedule_cycles": 2,
        "schedule_power": 2.0,
        "warmup_steps": 0,
        "max_gradient_norm": 1.0,
        "ema_decay": 0.0,
        "gradient_checkpointing": False,
        "precision": None,
        "seed": 1,
    }
    return OptimizationConfig(**{**plain, **changed})


def parameters() -> dict[str, dict[str, torch.nn.Parameter]]:
    """Pairs of LoRA's factors, in two networks; large enough for moments of 8 bits."""
    draws = torch.Generator().manual_seed(5)

    def drawn(*shape: int) -> torch.nn.Parameter:
        return torch.nn.Parameter(torch.randn(shape, generator=draws))

    return {
        "unet": {"unet.a.lora_down": drawn(4, 1200), "unet.a.lora_up": drawn(30, 4)},
        "text_encoder": {"text_encoder.b.lora_down": drawn(2, 8), "text_encoder.b.lora_up": drawn(4100, 2)},
    }


def laid(trained: dict[str, dict[str, torch.nn.Parameter]], weight_decay: float = 0.01) -> Arena:
    return Arena(
        [
            Group(name=name, parameters=trained[name], learning_rate=RATES[name], weight_decay=weight_decay)
            for name in RATES
        ],
        CPU,
    )


def draw_gradients(arena: Arena, step: int) -> None:
    arena.gradients.copy_(torch.randn(arena.count, generator=torch.Generator().manual_seed(100 + step)))


def stepped(arena: Arena, optimizer: Optimizer, *steps: int) -> None:
    for step in steps:
        draw_gradients(arena, step)
        optimizer.step(1 / (1 + step))


@pytest.mark.parametrize("name", get_args(OptimizerName))
def test_a_resumed_optimizer_goes_on_to_the_same_bits(name: str) -> None:
    whole = laid(parameters())
    optimizer = make_optimizer(whole, config(name))
    stepped(whole, optimizer, 0, 1, 2)
    state, own = load(save(whole.state())), load(save(optimizer.state())) if optimizer.state() else {}
    stepped(whole, optimizer, 3, 4)

    again = laid(parameters())
    resumed = make_optimizer(again, config(name))
    again.restore(state)
    resumed.restore(own, 3)
    stepped(again, resumed, 3, 4)
    assert torch.equal(again.values, whole.values)
    averages = resumed.average(), optimizer.average()
    assert all(one is None for one in averages) or torch.equal(*averages)  # type: ignore[arg-type]
    assert not torch.equal(load(save(whole.state()))["values"], state["values"])


@pytest.mark.parametrize("name", get_args(OptimizerName))
def test_an_optimizer_that_begins_again_is_as_new(name: str) -> None:
    arena = laid(parameters())
    first = arena.values.detach().clone()
    optimizer = make_optimizer(arena, config(name))
    stepped(arena, optimizer, 0, 1)
    reached = arena.values.detach().clone()

    arena.values.detach().copy_(first)
    for buffer in arena.buffers.values():
        buffer.zero_()
    optimizer.restore({}, 0)
    stepped(arena, optimizer, 0, 1)
    assert torch.equal(arena.values, reached)


@pytest.mark.parametrize("name", sorted(set(get_args(OptimizerName)) - {"prodigy"}))
def test_each_segment_has_its_own_rate(name: str) -> None:
    """With no decay, the first step of the two networks is as their rates are, but for what their values are."""
    arena = laid(parameters(), weight_decay=0.0)
    before = arena.values.detach().clone()
    optimizer = make_optimizer(arena, config(name, weight_decay=0.0))
    arena.gradients.fill_(1.0)
    if name == "preconditioned_adamw":
        pytest.skip("its first step follows from the factors; AdamW behind it is the one above")
    optimizer.step(1.0)
    moved = (before - arena.values.detach()).abs()
    unet, text_encoder = (moved[segment.place].mean() for segment in arena.segments)
    assert float(unet / text_encoder) == pytest.approx(5, rel=0.5 if name == "adafactor" else 0.01)


def trajectory(name: str, steps: int, **changed: object) -> tuple[list[Tensor], list[Tensor], Optimizer]:
    """Values before and after each step of one network, and its gradients."""
    arena = laid(parameters(), weight_decay=0.1)
    optimizer = make_optimizer(arena, config(name, **changed))
    place = arena.segments[0].place
    values, gradients = [arena.values.detach()[place].clone()], []
    for step in range(steps):
        draw_gradients(arena, step)
        gradients.append(arena.gradients[place].clone())
        optimizer.step(1.0)
        values.append(arena.values.detach()[place].clone())
    return values, gradients, optimizer


def test_lion_is_algorithm_2() -> None:
    values, gradients, _ = trajectory("lion", 3)
    theta, momentum = values[0], torch.zeros_like(values[0])
    for step, gradient in enumerate(gradients):
        c = 0.9 * momentum + (1 - 0.9) * gradient
        theta = theta - 1e-2 * (c.sign() + 0.1 * theta)
        momentum = 0.99 * momentum + (1 - 0.99) * gradient
        torch.testing.assert_close(values[step + 1], theta, rtol=1e-5, atol=1e-6)


def test_schedule_free_adamw_is_algorithm_1() -> None:
    values, gradients, optimizer = trajectory("schedule_free_adamw", 4)
    x = z = y = values[0]
    second, weights = torch.zeros_like(z), 0.0
    for step, gradient in enumerate(gradients):
        second = 0.99 * second + (1 - 0.99) * gradient.square()
        normalized = gradient / ((second / (1 - 0.99 ** (step + 1))).sqrt() + 1e-8) + 0.1 * y
        z = z - 1e-2 * normalized
        weights += 1e-2**2
        c = 1e-2**2 / weights
        x = (1 - c) * x + c * z
        y = 0.1 * z + 0.9 * x
        torch.testing.assert_close(values[step + 1], y, rtol=1e-4, atol=1e-5)
    average = optimizer.average()
    assert average is not None
    torch.testing.assert_close(average[: len(x)], x, rtol=1e-4, atol=1e-5)


def test_adafactor_is_algorithm_4() -> None:
    """Of one matrix: second moments from the sums of rows and columns, clipped updates, relative steps."""
    arena = laid(parameters(), weight_decay=0.0)
    down = arena.segments[0].parameters["unet.a.lora_down"]
    x, rows, columns = down.detach().clone(), torch.zeros(4, 1), torch.zeros(1, 1200)
    optimizer = make_optimizer(arena, config("adafactor"))
    for step in range(1, 4):
        draw_gradients(arena, step)
        assert down.grad is not None
        gradient, decay = down.grad.clone(), 1 - step**-0.8
        optimizer.step(1.0)
        rows = decay * rows + (1 - decay) * gradient.square().mean(1, keepdim=True)
        columns = decay * columns + (1 - decay) * gradient.square().mean(0, keepdim=True)
        update = gradient / (rows @ columns / rows.mean()).sqrt()
        update = update / max(1.0, float(update.norm() / math.sqrt(update.numel())))
        rate = max(1e-3, float(x.norm() / math.sqrt(x.numel()))) * min(1e-2, 1 / math.sqrt(step))
        x = x - rate * update
        torch.testing.assert_close(down.detach(), x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("distance", [0.5, 50.0])
def test_prodigy_finds_a_rate_of_the_size_of_the_way(distance: float) -> None:
    """The estimate never exceeds the distance to the solution by much, and comes within a factor of it (theorem 1)."""
    target = torch.full((64,), distance)
    value = torch.nn.Parameter(torch.zeros(64))
    arena = Arena([Group(name="all", parameters={"a": value}, learning_rate=1.0, weight_decay=0.0)], CPU)
    optimizer = make_optimizer(arena, config("prodigy", weight_decay=0.0, beta2=0.999))
    for _ in range(200):
        arena.gradients.copy_((arena.values.detach() - target).sign())
        optimizer.step(1.0)
    (d,) = [float(tensor) for key, tensor in optimizer.state().items() if key.endswith("float.d")]
    assert optimizer.rate_found() == d, "which is what is told"
    assert distance / 30 < d < 2 * distance, "the distance of each element; d begins at 1e-6"
    assert float((arena.values.detach() - target).abs().mean()) < 0.5 * distance


def test_prodigy_finds_a_rate_for_each_network() -> None:
    ways = {"unet": 0.5, "text_encoder": 50.0}
    groups = [
        Group(name=name, parameters={name: torch.nn.Parameter(torch.zeros(64))}, learning_rate=1.0, weight_decay=0.0)
        for name in ways
    ]
    arena = Arena(groups, CPU)
    optimizer = make_optimizer(arena, config("prodigy", weight_decay=0.0, beta2=0.999))
    target = torch.cat([torch.full((64,), way) for way in ways.values()])
    for _ in range(200):
        arena.gradients.copy_((arena.values.detach() - target).sign())
        optimizer.step(1.0)
    near, far = [float(tensor) for key, tensor in optimizer.state().items() if key.endswith("float.d")]
    assert far > 20 * near


def test_moments_of_8_bits_are_near_those_of_32() -> None:
    narrow, _, _ = trajectory("adamw_8bit", 3)
    wide, _, _ = trajectory("adamw", 3)
    moved, expected = narrow[-1] - narrow[0], wide[-1] - wide[0]
    assert float((moved - expected).norm() / expected.norm()) < 0.1
    assert not torch.equal(moved, expected)


def test_preconditioning_is_equation_4() -> None:
    torch.manual_seed(0)
    a, b, of_a, of_b = torch.randn(2, 3, 5), torch.randn(2, 7, 3), torch.randn(2, 3, 5), torch.randn(2, 7, 3)
    found_a, found_b = preconditioned(a, b, of_a, of_b)
    for pair in range(2):
        inverse_b = torch.linalg.inv(b[pair].T @ b[pair] + DELTA * torch.eye(3))
        inverse_a = torch.linalg.inv(a[pair] @ a[pair].T + DELTA * torch.eye(3))
        torch.testing.assert_close(found_a[pair], inverse_b @ of_a[pair], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found_b[pair], of_b[pair] @ inverse_a, rtol=1e-4, atol=1e-5)


def test_a_preconditioned_step_does_not_depend_on_how_the_change_is_factored() -> None:
    """B A = (B R^-1)(R A): the change of W = B A by one step is the same, which plain gradients' is not (sec. 3)."""
    torch.manual_seed(0)
    a, b, of_w = torch.randn(1, 3, 6), torch.randn(1, 5, 3), torch.randn(1, 5, 6)
    r = torch.randn(1, 3, 3)
    other_a, other_b = r @ a, b @ torch.linalg.inv(r)

    def change(a: Tensor, b: Tensor) -> Tensor:
        step_a, step_b = preconditioned(a, b, b.mT @ of_w, of_w @ a.mT)
        return b @ step_a + step_b @ a

    torch.testing.assert_close(change(a, b), change(other_a, other_b), rtol=1e-2, atol=1e-3)
    plain = b @ b.mT @ of_w + of_w @ a.mT @ a
    other = other_b @ other_b.mT @ of_w + of_w @ other_a.mT @ other_a
    assert float((plain - other).norm() / plain.norm()) > 0.1


def test_preconditioned_adamw_steps_on_what_preconditioning_makes() -> None:
    mine, theirs = laid(parameters()), laid(parameters())
    optimizer, plain = make_optimizer(mine, config("preconditioned_adamw")), make_optimizer(theirs, config("adamw"))
    for step in range(2):
        draw_gradients(mine, step)
        draw_gradients(theirs, step)
        for segment in theirs.segments:
            (down, up) = segment.parameters.values()
            assert down.grad is not None
            assert up.grad is not None
            of_down, of_up = preconditioned(down[None].detach(), up[None].detach(), down.grad[None], up.grad[None])
            down.grad.copy_(of_down[0])
            up.grad.copy_(of_up[0])
        optimizer.step(1.0)
        plain.step(1.0)
        torch.testing.assert_close(mine.values, theirs.values, rtol=1e-5, atol=1e-6)


def test_a_moving_average_forgets_exponentially_and_is_shown_in_the_place_of_the_values() -> None:
    trained = parameters()
    arena = laid(trained)
    average = MovingAverage(arena, 0.5)
    expected, parameter = arena.values.detach().clone(), trained["unet"]["unet.a.lora_up"]
    for step in range(1, 5):
        arena.values.detach().add_(1.0)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * arena.values.detach()
        torch.testing.assert_close(average.values, expected)
    before = parameter.detach().clone()
    with arena.showing(average.values):
        assert torch.equal(arena.values, average.values)
        assert not torch.equal(parameter, before)
    assert torch.equal(parameter, before)
    assert "average" in arena.state()


def test_a_loss_scale_halves_at_overflow_and_grows_after_many_good_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.loss_scaling.GROWTH_INTERVAL", 3)
    scale = LossScale()
    gradients = torch.tensor([FIRST, -FIRST])
    assert scale.unscale(gradients)
    assert gradients.tolist() == [1.0, -1.0]
    assert not scale.unscale(torch.tensor([1.0, math.inf]))
    assert scale.scale == FIRST / 2
    again = LossScale()
    again.restore(scale.state(), 2)
    for one in (scale, again):
        assert all(one.unscale(torch.ones(1)) for _ in range(3))
        assert one.scale == FIRST
