"""The arena's flat optimizer is torch's own AdamW over per-tensor parameters, to the bit."""

from __future__ import annotations

import pytest
import torch

from trainer.arena import Arena, Group
from trainer.optimizers import AdamW

SHAPES = {"unet": [(4, 33), (7,), (64, 4), (2, 3, 3, 3), (1,)], "text_encoder": [(5, 5), (129,)]}
RATES, DECAYS = {"unet": 1e-3, "text_encoder": 2e-4}, {"unet": 0.01, "text_encoder": 0.1}
CPU = torch.device("cpu")


def parameters() -> dict[str, dict[str, torch.nn.Parameter]]:
    draws = torch.Generator().manual_seed(5)
    return {
        group: {
            str(place): torch.nn.Parameter(torch.randn(shape, generator=draws)) for place, shape in enumerate(shapes)
        }
        for group, shapes in SHAPES.items()
    }


def laid(trained: dict[str, dict[str, torch.nn.Parameter]]) -> Arena:
    return Arena(
        [
            Group(name=name, parameters=trained[name], learning_rate=RATES[name], weight_decay=DECAYS[name])
            for name in SHAPES
        ],
        CPU,
    )


def flat(trained: dict[str, dict[str, torch.nn.Parameter]]) -> list[torch.nn.Parameter]:
    return [parameter for group in trained.values() for parameter in group.values()]


def loss(trained: dict[str, dict[str, torch.nn.Parameter]], step: int) -> torch.Tensor:
    draws = torch.Generator().manual_seed(step)
    return torch.stack(
        [(parameter * torch.randn(parameter.shape, generator=draws)).sin().sum() for parameter in flat(trained)]
    ).sum()


@pytest.mark.parametrize("largest", [0.0, 0.5, 1e6])
def test_steps_as_torch_does(largest: float) -> None:
    mine, theirs = parameters(), parameters()
    arena = laid(mine)
    optimizer = AdamW(arena, beta1=0.9, beta2=0.99)
    reference = torch.optim.AdamW(
        [{"params": list(theirs[name].values()), "lr": RATES[name], "weight_decay": DECAYS[name]} for name in SHAPES],
        betas=(0.9, 0.99),
        fused=True,
    )
    for step in range(5):
        arena.zero_gradients()
        loss(mine, step).backward()
        norm = arena.clip_gradients(largest)
        reference.zero_grad()
        loss(theirs, step).backward()
        expected = torch.nn.utils.clip_grad_norm_(flat(theirs), largest or float("inf"))
        torch.testing.assert_close(norm, expected)
        for one, other in zip(flat(mine), flat(theirs), strict=True):
            assert one.grad is not None
            assert other.grad is not None
            torch.testing.assert_close(one.grad, other.grad)
            other.grad.copy_(one.grad)  # norms are summed in another order; from here on it is the same to the bit

        factor = 1 / (step + 1)
        optimizer.step(factor)
        for group, name in zip(reference.param_groups, SHAPES, strict=True):
            group["lr"] = RATES[name] * factor
        reference.step()
        for one, other in zip(flat(mine), flat(theirs), strict=True):
            assert torch.equal(one, other)


def test_everything_is_a_view_of_the_arena() -> None:
    trained = parameters()
    before = [parameter.detach().clone() for parameter in flat(trained)]
    arena = laid(trained)
    assert arena.count == sum(parameter.numel() for parameter in before)
    assert all(torch.equal(one, other) for one, other in zip(flat(trained), before, strict=True))
    start = 0
    for _ in range(3):
        arena.zero_gradients()
        loss(trained, 0).backward()
        start = 0
        for parameter in flat(trained):
            assert parameter.grad is not None
            assert parameter.grad.data_ptr() == arena.gradients[start:].data_ptr()
            assert parameter.data_ptr() == arena.values[start:].data_ptr()
            start += parameter.numel()
    assert start == arena.count


def test_a_restored_state_goes_on_as_if_never_interrupted() -> None:
    def trained_from(
        trained: dict[str, dict[str, torch.nn.Parameter]], arena: Arena, optimizer: AdamW, *steps: int
    ) -> None:
        for step in steps:
            arena.zero_gradients()
            loss(trained, step).backward()
            optimizer.step(1.0)

    whole = parameters()
    arena = laid(whole)
    optimizer = AdamW(arena, beta1=0.9, beta2=0.999)
    trained_from(whole, arena, optimizer, 0, 1, 2)
    state = arena.state()
    trained_from(whole, arena, optimizer, 3, 4)

    again = parameters()
    second = laid(again)
    resumed = AdamW(second, beta1=0.9, beta2=0.999)
    second.restore(state)
    resumed.restore({}, 3)
    trained_from(again, second, resumed, 3, 4)
    assert torch.equal(second.values, arena.values)
    assert torch.equal(second.buffers["second_moments"], arena.buffers["second_moments"])
    assert all(state[name].untyped_storage().data_ptr() != arena.values.untyped_storage().data_ptr() for name in state)


def test_a_state_of_another_layout_is_refused() -> None:
    arena = laid(parameters())
    state = {name: tensor[:-1] for name, tensor in arena.state().items()}
    with pytest.raises(ValueError, match="the adapter"):
        arena.restore(state)
