"""The random draws, pinned: another number here means that no checkpoint and no published seed gives what it gave."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.trainer.small_training import CPU, config_of
from trainer.adapters.beginning import begin_anew
from trainer.draws import generator
from trainer.families.sd15 import Sd15Base


def test_golden_values() -> None:
    noise = generator(7, "noise", "a.png", 3).standard_normal(3, dtype="float32")
    assert noise.tolist() == [-0.08041427284479141, -0.7917421460151672, -1.7986440658569336]
    assert generator(7, "timestep", "a.png", 3).integers(1000) == 501
    assert generator(2**63 - 1, "order of visits", 0).permutation(6).tolist() == [1, 0, 4, 3, 2, 5]
    assert generator(0, "adapter", "unet.x").uniform(-1, 1, 2).tolist() == [0.9906427812900753, 0.9217852056281473]


def test_streams_are_independent_of_what_was_drawn_before() -> None:
    first = generator(7, "noise", "a", 1)
    generator(7, "noise", "a", 0).random(1000)
    assert first.random() == generator(7, "noise", "a", 1).random()


@pytest.mark.parametrize(
    "other",
    [(8, "noise", "a", 1), (7, "timestep", "a", 1), (7, "noise", "b", 1), (7, "noise", "a", "1"), (7, "noise", "a1")],
)
def test_every_part_of_the_key_counts(other: tuple[int, str, str]) -> None:
    assert generator(7, "noise", "a", 1).random() != generator(*other).random()


def test_an_adapter_begins_by_the_names_of_its_layers(tiny_base: Path) -> None:
    """Whatever else is adapted, and whatever torch drew before."""
    layer = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    downs = []
    for targets, seed in (("ATTENTION", 0), ("ALL", 1)):
        torch.manual_seed(seed)
        base = Sd15Base(tiny_base, CPU, torch.float32)
        beginnings = begin_anew(config_of({"adapter": {"targets": f"ADAPTER_TARGETS_{targets}"}}), base)
        (one,) = (beginning for beginning in beginnings if beginning.plan.path == layer)
        assert one.tensors["lora_up"].abs().max() == 0
        downs.append(one.tensors["lora_down"])
    assert torch.equal(downs[0], downs[1])
    assert downs[0].shape == (4, 32)
    bound = 32**-0.5
    assert 0.9 * bound < downs[0].abs().max() <= bound, "kaiming-uniform with a = sqrt(5)"
    assert downs[0][0, :3].tolist() == pytest.approx([0.0992911905, -0.0929622278, -0.1526388079])
