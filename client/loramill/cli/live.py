"""Shows a job while it goes on: moving on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TextIO

from loramill import v1
from loramill.cli.output import printable
from loramill.cli.starts import Begun
from loramill.names import short_name
from loramill.scalars import enum_word
from loramill.watch import TERMINAL

if TYPE_CHECKING:
    from types import TracebackType

    from loramill.cli.previews import Looking
    from loramill.client import Client
    from loramill.errors import Unreachable

_LINES_PER_TRAINING = 20
"""So many lines of bare progress a plain log gets, however long the training is."""

_LOST = "The connection to the service was lost and is being made again; the job does not depend on it."


def follow(client: Client, name: str, stream: TextIO, looking: Looking | None = None) -> v1.TrainingJob:
    """Shows the job on `stream` until it has ended, and returns it as it ended. KeyboardInterrupt passes through.

    `looking` is how its previews are saved and shown.
    """
    view = TerminalView(stream) if stream.isatty() else LineView(stream)
    with view:
        previews = looking.of(client, view) if looking is not None else None
        job = v1.TrainingJob()
        for job in client.watch_job(name, on_lost=view.lost):
            view.show(job)
            if previews is not None:
                previews.look(job)
        return job


def phase_word(job: v1.TrainingJob) -> str:
    """What is being done, in a word or two; empty where nothing runs."""
    if job.state != v1.TRAINING_JOB_STATE_RUNNING or not job.progress.phase:
        return ""
    return enum_word(v1.Phase.DESCRIPTOR, job.progress.phase).replace("_", " ")


def state_word(job: v1.TrainingJob) -> str:
    return enum_word(v1.TrainingJobState.DESCRIPTOR, job.state)


def numbers(job: v1.TrainingJob) -> list[str]:
    """Step, loss, pace and, while it trains, the time left; those that are known."""
    progress = job.progress
    parts = [f"step {progress.step}/{progress.steps}"] if progress.steps else []
    if progress.HasField("loss"):
        parts.append(f"loss {progress.loss:.4f}")
    if progress.images_per_second > 0:
        parts.append(f"{progress.images_per_second:.1f} images/s")
    if progress.HasField("remaining") and job.state not in TERMINAL and progress.phase == v1.PHASE_TRAINING:
        parts.append(f"ETA {span(progress.remaining.seconds)}")
    return parts


def span(seconds: int) -> str:
    """`0:42`, `12:05`, `3:02:11`."""
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02d}:{second:02d}" if hour else f"{minute}:{second:02d}"


def sentence(job: v1.TrainingJob) -> str:
    """Where the job stands, for people; the trainer's own words where it says what it is doing.

    Empty once it has ended: how it came out is told after the view is closed.
    """
    if job.state in TERMINAL:
        return ""
    doing = job.progress.message if job.state == v1.TRAINING_JOB_STATE_RUNNING else ""
    return "" if doing and doing in numbers(job) else doing or job.state_message


@dataclass(frozen=True)
class _Standing:
    """What makes a line of a plain log worth printing when it changes."""

    state: int
    reason: int
    phase: str
    launches: int
    part: int
    """How much of the training is done, in so many parts as lines are wanted."""


def _standing(job: v1.TrainingJob) -> _Standing:
    steps = max(job.progress.steps, 1)
    part = job.progress.step * _LINES_PER_TRAINING // steps
    return _Standing(job.state, job.state_reason, phase_word(job), len(job.launches), part)


class LineView:
    """One line per change, for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last: _Standing | None = None
        self._is_lost = False
        self._begun = Begun()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, job: v1.TrainingJob) -> None:
        if begun := self._begun.news(job):
            self._print(begun)
        standing = _standing(job)
        if standing == self._last and not self._is_lost:
            return
        self._last, self._is_lost = standing, False
        head = " ".join(part for part in (short_name(job.name), state_word(job), phase_word(job)) if part)
        tail = "  ".join(filter(None, [*numbers(job), sentence(job)]))
        self._print(f"{head}: {tail}" if tail else head)

    def say(self, line: str) -> None:
        self._print(line)

    def write(self, letters: str) -> None:
        """Nowhere: what is no terminal shows no pictures."""

    def lost(self, _: Unreachable) -> None:
        if not self._is_lost:  # once, however often it is tried
            self._print(_LOST)
        self._is_lost = True

    def _print(self, line: str) -> None:
        print(printable(line), file=self._stream, flush=True)


class TerminalView:
    """A bar and a sentence that change in place; they stay when the job has ended."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[numbers]}", markup=False),
            auto_refresh=False,
        )
        self._task = self._progress.add_task("asking", total=None, numbers="")
        self._stream = stream
        self._live = Live(self._progress, console=Console(file=stream), refresh_per_second=8)
        self._begun = Begun()

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, job: v1.TrainingJob) -> None:
        if begun := self._begun.news(job):
            self._live.console.print(printable(begun), markup=False, highlight=False)
        # Before and after training nothing is known of how long it takes: the bar then only moves to and fro.
        counted = job.progress.steps > 0 and (phase_word(job) == "training" or job.state in TERMINAL)
        self._progress.update(
            self._task,
            description=" ".join(filter(None, [state_word(job), phase_word(job)])),
            total=job.progress.steps if counted else None,
            completed=job.progress.step if counted else 0,
            numbers="  ".join(numbers(job)),
        )
        self._draw(sentence(job))

    def say(self, line: str) -> None:
        self._live.console.print(printable(line), markup=False, highlight=False)

    def write(self, letters: str) -> None:
        """Letters as they are, above what changes in place."""
        self._live.transient = True
        self._live.stop()
        self._stream.write(letters)
        self._stream.flush()
        self._live.transient = False
        self._live.start(refresh=True)

    def lost(self, _: Unreachable) -> None:
        self._draw(_LOST)

    def _draw(self, text: str) -> None:
        from rich.console import Group
        from rich.text import Text

        self._live.update(Group(self._progress, Text(printable(text), style="dim")), refresh=True)


def stream_for(structured: bool) -> TextIO:
    """Where to show progress: beside the result if that is for programs."""
    return sys.stderr if structured else sys.stdout
