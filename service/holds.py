"""What operators hold back, and why, in one sentence. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.launch_choice import allowed_classes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loramill import v1
    from service.facts import JobFacts


def takes(admission: v1.Admission, compute_class: str, *, first: bool) -> bool:
    """Whether launches begin on the class: a job's first one, or a further one. Whether any does at all is not asked."""
    closed = first and compute_class in admission.closed_compute_classes
    return not closed and compute_class not in admission.drained_compute_classes


def held_back(admission: v1.Admission, classes: Sequence[str], *, first: bool) -> str:
    """Why no launch begins of a job that may run on these classes; empty where one may. `first` is whether it never began."""
    because = f": {admission.reason.rstrip('.')}" if admission.reason else ""
    if admission.restored:
        return f"Nothing is launched until the operator has seen to it{because}."
    if first and admission.paused:
        return f"The operator lets no job begin for now{because}."
    if not any(takes(admission, name, first=first) for name in classes):
        begin = "begin" if first else "go on"
        return f"The operator lets no job {begin} on {' or '.join(classes)} for now{because}."
    return ""


def held_back_job(admission: v1.Admission, facts: JobFacts) -> str:
    """The same of a job that waits, or is between two launches."""
    return held_back(admission, allowed_classes(facts), first=facts.newest is None)


def emptied(admission: v1.Admission, compute_class: str) -> str:
    """Why trainers on the class are told to end, in one sentence; empty where they are not."""
    if compute_class not in admission.drained_compute_classes:
        return ""
    because = f": {admission.reason.rstrip('.')}" if admission.reason else ""
    return f"The operator takes {compute_class} out of service{because}."
