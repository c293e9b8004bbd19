"""How long a job trains, from the names of its dataset's files. Pure.

The trainer knows the buckets too: `trainer.data.order` decides, this says what can be said before a GPU is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

from loramill import v1
from service.dataset_names import members_of


def length_of(spec: v1.TrainingSpec, paths: Sequence[str]) -> v1.LengthPlan:
    """The plan of a resolved spec on a dataset with files of these paths."""
    optimization = spec.optimization
    pictures = [len(own) for own in members_of(spec.dataset, paths)]
    visits = sum(count * max(1, subset.repeats) for count, subset in zip(pictures, spec.dataset.subsets, strict=True))
    a_step = max(1, optimization.batch_size) * max(1, optimization.gradient_accumulation)
    steps_per_epoch = -(-visits // a_step)
    by_epochs = optimization.HasField("epochs")
    steps = optimization.epochs * steps_per_epoch if by_epochs else optimization.steps
    return v1.LengthPlan(
        pictures=sum(pictures),
        visits_per_epoch=visits,
        visits_per_step=a_step,
        steps_per_epoch=steps_per_epoch,
        steps=steps,
        epochs=optimization.epochs if by_epochs else steps / max(1, steps_per_epoch),
    )
