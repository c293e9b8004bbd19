import torch

from bench.memory import NewTensors

THOUSAND = 4000
"""Bytes of a thousand numbers in fp32."""


def test_what_is_freed_leaves_room_for_what_comes() -> None:
    with NewTensors() as new:
        for _ in range(5):
            torch.zeros(1000)
    assert new.peak == THOUSAND


def test_views_and_results_in_place_take_nothing() -> None:
    with NewTensors() as new:
        numbers = torch.zeros(1000)
        numbers.view(10, 100).add_(1)
    assert new.peak == THOUSAND


def test_what_the_backward_pass_needs_is_counted() -> None:
    weight = torch.ones(1000, requires_grad=True)
    with NewTensors() as new:
        torch.autograd.backward(weight.exp().exp().sum())
    with NewTensors() as without, torch.no_grad():
        weight.exp().exp().sum()
    assert new.peak >= without.peak + THOUSAND
