from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.order import Order, Visit

datasets = st.lists(st.tuples(st.sampled_from(["square", "wide", "tall"]), st.integers(1, 4)), min_size=1, max_size=12)
sizes = st.integers(1, 5)
seeds = st.integers(0, 2**32)
Dataset = list[tuple[str, int]]


def order(dataset: Dataset, seed: int = 0, batch_size: int = 4, accumulation: int = 1) -> Order:
    return Order(
        buckets=[bucket for bucket, _ in dataset],
        repeats=[repeats for _, repeats in dataset],
        seed=seed,
        batch_size=batch_size,
        accumulation=accumulation,
    )


def epoch(plan: Order, number: int) -> list[tuple[Visit, ...]]:
    """The visits of each step of an epoch."""
    steps = range(number * plan.steps_per_epoch, (number + 1) * plan.steps_per_epoch)
    return [tuple(chain(*plan.batches_at(step))) for step in steps]


@settings(max_examples=50)
@given(datasets, seeds, sizes, st.integers(0, 3))
def test_an_epoch_makes_every_visit_exactly_once(dataset: Dataset, seed: int, batch_size: int, number: int) -> None:
    visits = Counter(visit for batch in epoch(order(dataset, seed, batch_size), number) for visit in batch)
    assert visits == Counter(
        Visit(example, number * repeats + repeat)
        for example, (_, repeats) in enumerate(dataset)
        for repeat in range(repeats)
    )


@settings(max_examples=50)
@given(datasets, seeds, sizes, sizes)
def test_a_step_is_of_one_bucket_and_only_its_last_is_short(
    dataset: Dataset, seed: int, batch_size: int, accumulation: int
) -> None:
    short: Counter[str] = Counter()
    plan = order(dataset, seed, batch_size, accumulation)
    for step in range(plan.steps_per_epoch):
        batches = plan.batches_at(step)
        assert 1 <= len(batches) <= accumulation
        assert {len(batch) for batch in batches[:-1]} <= {batch_size}
        assert 1 <= len(batches[-1]) <= batch_size
        (bucket,) = {dataset[visit.example_index][0] for visit in chain(*batches)}
        short[bucket] += sum(map(len, batches)) < batch_size * accumulation
    assert max(short.values()) <= 1


@settings(max_examples=50)
@given(datasets, seeds, sizes, sizes, st.integers(0, 30))
def test_a_step_is_the_same_whatever_was_asked_before(
    dataset: Dataset, seed: int, batch_size: int, accumulation: int, step: int
) -> None:
    from_the_start = order(dataset, seed, batch_size, accumulation)
    for earlier in range(step):
        from_the_start.batches_at(earlier)
    assert from_the_start.batches_at(step) == order(dataset, seed, batch_size, accumulation).batches_at(step)


@settings(max_examples=50)
@given(datasets, seeds, st.integers(0, 30))
def test_a_step_trains_on_the_same_however_it_is_cut(dataset: Dataset, seed: int, step: int) -> None:
    cuts = [order(dataset, seed, batch_size, 12 // batch_size).batches_at(step) for batch_size in (12, 6, 4, 1)]
    assert len({tuple(chain(*batches)) for batches in cuts}) == 1


@settings(max_examples=50)
@given(datasets, seeds, sizes, sizes)
def test_keys_of_draws_do_not_depend_on_batch_size(dataset: Dataset, seed: int, one: int, other: int) -> None:
    assert set(chain(*epoch(order(dataset, seed, one), 1))) == set(chain(*epoch(order(dataset, seed, other), 1)))


@pytest.mark.parametrize(
    ("dataset", "batch_size", "accumulation", "visits", "steps"),
    [
        ([("a", 1)], 4, 1, 1, 1),
        ([("a", 4)], 4, 1, 4, 1),
        ([("a", 5)], 4, 1, 5, 2),
        ([("a", 5)], 2, 2, 5, 2),
        ([("a", 1), ("b", 1), ("a", 2)], 2, 1, 4, 3),
        ([("a", 1), ("b", 1), ("a", 2)], 2, 3, 4, 2),
    ],
)
def test_sizes_of_an_epoch(dataset: Dataset, batch_size: int, accumulation: int, visits: int, steps: int) -> None:
    plan = order(dataset, batch_size=batch_size, accumulation=accumulation)
    assert (plan.visits_per_epoch, plan.steps_per_epoch, plan.steps_of(3)) == (visits, steps, 3 * steps)
    assert [plan.epoch_of(step) for step in (0, steps - 1, steps)] == [0, 0, 1]


def test_seed_and_epoch_change_the_order() -> None:
    dataset = [("square", 1)] * 12
    plan = order(dataset, 1)
    rows = [
        [visit.example_index for batch in epoch(p, n) for visit in batch]
        for p, n in ((plan, 0), (plan, 1), (order(dataset, 2), 0))
    ]
    assert rows[0] != rows[1]
    assert rows[0] != rows[2]


@pytest.mark.parametrize(
    "wrong",
    [{"buckets": [], "repeats": []}, {"repeats": [1]}, {"repeats": [1, 0]}, {"batch_size": 0}, {"accumulation": 0}],
)
def test_an_order_of_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        Order(**{"buckets": ["a", "b"], "repeats": [1, 1], "seed": 0, "batch_size": 1, **wrong})


def test_there_is_no_negative_step() -> None:
    with pytest.raises(ValueError, match="no step -1"):
        order([("a", 1)]).batches_at(-1)
