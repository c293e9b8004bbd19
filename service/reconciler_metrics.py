"""What the reconciler has to count; the composition root wires it to Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from loramill import v1


class ReconcilerMetrics(Protocol):
    """Called from threads too."""

    def job_ended(self, state: v1.TrainingJobState.ValueType, reason: v1.StateReason.ValueType) -> None:
        """Once a job, by the reconciler whose outcome was the first."""
        ...

    def launched(self, number: int) -> None:
        """Once a launch; `number` above 1 is a repetition."""
        ...

    def reconciled(self, seconds: float, failed: bool) -> None:
        """Once a turn of a job."""
        ...

    def queue(self, waiting: int, under_way: int) -> None:
        """Whenever it is known: jobs that wait for a place, and jobs that hold one."""
        ...


class NoMetrics:
    """Counts nothing."""

    def job_ended(self, state: v1.TrainingJobState.ValueType, reason: v1.StateReason.ValueType) -> None:
        del state, reason

    def launched(self, number: int) -> None:
        del number

    def reconciled(self, seconds: float, failed: bool) -> None:
        del seconds, failed

    def queue(self, waiting: int, under_way: int) -> None:
        del waiting, under_way
