"""Which visits a step trains on. Everything follows from seed and step number, so resuming needs no state.

An *epoch* visits every example `repeats` times. Its visits are permuted and dealt into steps of one bucket each, of
`batch_size` × `accumulation` visits; the steps are permuted; each is cut into micro-batches of `batch_size`. So what a
step trains on does not change when memory forces half the batch size and twice the accumulation. A bucket's last step of
an epoch holds what is left and stays short: nothing is left out, and nothing is visited twice to fill it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from trainer.draws import generator


@dataclass(frozen=True)
class Visit:
    """One use of an example."""

    example_index: int
    """Place of the example in the list that the order was made of."""
    visit_number: int
    """Which use of this example it is, from 0 over all epochs; with the example's id the key of the visit's draws.

    It depends on neither batch size nor bucket, and each number occurs exactly once."""


MicroBatch = tuple[Visit, ...]


class Order:
    """The visits of every step of a job."""

    def __init__(
        self, *, buckets: Sequence[Hashable], repeats: Sequence[int], seed: int, batch_size: int, accumulation: int = 1
    ) -> None:
        """For examples of these buckets and visits an epoch; `batch_size` is the pictures of a micro-batch."""
        if not buckets or len(buckets) != len(repeats) or min(repeats) < 1:
            raise ValueError("An order needs at least one example, and for each its bucket and repeats of 1 or more.")
        if batch_size < 1 or accumulation < 1:
            raise ValueError(f"Batch size {batch_size} and accumulation {accumulation} must be 1 or more.")
        self._buckets = tuple(buckets)
        self._repeats = tuple(repeats)
        self._seed = seed
        self._batch_size = batch_size
        self._step_size = batch_size * accumulation
        self._laid_out: tuple[int, tuple[tuple[Visit, ...], ...]] | None = None
        visits: Counter[Hashable] = Counter()
        for bucket, count in zip(self._buckets, self._repeats, strict=True):
            visits[bucket] += count
        self.visits_per_epoch = visits.total()
        self.steps_per_epoch = sum(-(-count // self._step_size) for count in visits.values())
        """Steps that go through the dataset once, the short ones included."""

    def steps_of(self, epochs: int) -> int:
        """Steps that go through the dataset this often."""
        return epochs * self.steps_per_epoch

    def told(self, steps: int) -> str:
        """How long that many steps are, for people: epochs, pictures, visits, buckets."""
        parts = [
            _counted(len(self._buckets), "picture"),
            _counted(self.visits_per_epoch, "visit"),
            _counted(len(set(self._buckets)), "bucket"),
            _counted(self.steps_per_epoch, "step"),
        ]
        epochs = steps / self.steps_per_epoch
        length = "1 epoch" if epochs == 1 else f"{epochs:.3g} epochs"
        return f"{_counted(steps, 'step')} of {_counted(self._step_size, 'visit')}: {length} of {', '.join(parts)}"

    def epoch_of(self, step: int) -> int:
        """The epoch, from 0, that a step belongs to."""
        return step // self.steps_per_epoch

    def batches_at(self, step: int) -> tuple[MicroBatch, ...]:
        """The micro-batches of a step, from 0: of one bucket, 1 to `accumulation` of 1 to `batch_size` visits.

        Only the last is ever shorter. Each visit counts the same in a step's loss, so a micro-batch counts by its visits.
        """
        if step < 0:
            raise ValueError(f"There is no step {step}; steps count from 0.")
        epoch, place = divmod(step, self.steps_per_epoch)
        # Steps come in order, so that the epoch at hand is the only one worth keeping.
        if self._laid_out is None or self._laid_out[0] != epoch:
            self._laid_out = (epoch, self._layout(epoch))
        return _cut(self._laid_out[1][place], self._batch_size)

    def _layout(self, epoch: int) -> tuple[tuple[Visit, ...], ...]:
        """The visits of each step of an epoch."""
        visits = [
            Visit(example, epoch * repeats + repeat)
            for example, repeats in enumerate(self._repeats)
            for repeat in range(repeats)
        ]
        by_bucket: dict[Hashable, list[Visit]] = {}
        for place in generator(self._seed, "order of visits", epoch).permutation(len(visits)):
            visit = visits[place]
            by_bucket.setdefault(self._buckets[visit.example_index], []).append(visit)
        steps = [step for row in by_bucket.values() for step in _cut(tuple(row), self._step_size)]
        places = generator(self._seed, "order of steps", epoch).permutation(len(steps))
        return tuple(steps[place] for place in places)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _cut(visits: tuple[Visit, ...], size: int) -> tuple[tuple[Visit, ...], ...]:
    """Pieces of this size; the last one may be shorter."""
    return tuple(visits[start : start + size] for start in range(0, len(visits), size))
