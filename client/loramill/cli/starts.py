"""What the time from a job's acceptance to its first optimizer step went to, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loramill import v1
from loramill.scalars import enum_word

if TYPE_CHECKING:
    from collections.abc import Iterable


def start_line(job: v1.TrainingJob) -> str:
    """One sentence, once the newest launch has done its first step; empty before."""
    spans = job.launches[-1].start_phases if job.launches else ()
    if not any(span.phase == v1.START_PHASE_FIRST_STEP for span in spans):
        return ""
    parts = ", ".join(f"{_word(span)} {_seconds([span])}" for span in spans)
    return f"Training has begun after {_seconds(spans)}: {parts}."


class Begun:
    """Tells of each launch once that its training has begun."""

    def __init__(self) -> None:
        self._told: set[int] = set()

    def news(self, job: v1.TrainingJob) -> str:
        """The sentence, or nothing."""
        line, launch = start_line(job), len(job.launches)
        if launch in self._told:
            return ""
        if line:
            self._told.add(launch)
        return line


def start_table(job: v1.TrainingJob) -> str:
    """A row for each phase, a column for each launch; empty where nothing is known."""
    launches = [launch for launch in job.launches if launch.start_phases]
    if not launches:
        return ""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("PHASE")
    for launch in launches:
        table.add_column(f"LAUNCH {launch.number}", justify="right")
    seen = {span.phase: _word(span) for launch in launches for span in launch.start_phases}
    for phase in sorted(seen):
        spans = ([span for span in launch.start_phases if span.phase == phase] for launch in launches)
        table.add_row(seen[phase], *(_seconds(found) if found else "" for found in spans))
    table.add_row("in all", *(_seconds(launch.start_phases) for launch in launches))
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _word(span: v1.StartPhaseTime) -> str:
    return enum_word(v1.StartPhase.DESCRIPTOR, span.phase).replace("_", " ")


def _seconds(spans: Iterable[v1.StartPhaseTime]) -> str:
    return f"{sum(span.duration.ToTimedelta().total_seconds() for span in spans):.1f} s"
