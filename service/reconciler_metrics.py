"""What the reconciler has to count; the composition root wires it to Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from loramill import v1
    from service.facts import JobFacts


class ReconcilerMetrics(Protocol):
    """Called from threads too."""

    def looked_at(self, tenant: str, job: str, facts: JobFacts | None) -> None:
        """After each look at a job; None where it lives no more."""
        ...

    def launched(self, facts: JobFacts, assignment: v1.Assignment) -> None:
        """Once a launch, by the reconciler whose record of it was the first; `facts` are those before it."""
        ...

    def started(self, assignment: v1.Assignment, start: v1.LaunchStart) -> None:
        """Once a launch whose trainer was seen to run, by the reconciler who noted it first."""
        ...

    def ended(self, facts: JobFacts, outcome: v1.Outcome) -> None:
        """Once a job, by the reconciler whose outcome was the first."""
        ...

    def reconciled(self, seconds: float, failed: bool) -> None:
        """Once a turn of a job."""
        ...

    def places(self, under_way: int, held_back: int, limit: int) -> None:
        """Whenever it is known: jobs that hold a place, those that wait and are held back, and the places that there are."""
        ...


class NoMetrics:
    """Counts nothing."""

    def looked_at(self, tenant: str, job: str, facts: JobFacts | None) -> None:
        del tenant, job, facts

    def launched(self, facts: JobFacts, assignment: v1.Assignment) -> None:
        del facts, assignment

    def started(self, assignment: v1.Assignment, start: v1.LaunchStart) -> None:
        del assignment, start

    def ended(self, facts: JobFacts, outcome: v1.Outcome) -> None:
        del facts, outcome

    def reconciled(self, seconds: float, failed: bool) -> None:
        del seconds, failed

    def places(self, under_way: int, held_back: int, limit: int) -> None:
        del under_way, held_back, limit
