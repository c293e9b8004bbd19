"""What a run tells while it works: its status and measurements to the store, a bar or log lines to whoever looks at it.

Training only sets plain values here. A thread of its own writes them, so that a slow store slows nothing.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType

import structlog
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToJson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from loramill import v1
from store import ObjectStore, StoreError
from store.records import put_status_record, read_record
from trainer.beginning import Beginning
from trainer.logs import LogLines
from trainer.record import now
from trainer.report.text import duration, figure

log = structlog.get_logger()


REPORTS_OF_A_CHUNK = 10
"""Of so many regular reports one brings measurements and log lines too: to write an object costs as much as twelve reads."""
SILENCE_SECONDS = 10.0
"""So often progress is told at least, though nothing of it has changed: that the run lives."""
PACE_SECONDS = 2.0
"""After so long a pace means something."""


@dataclass(frozen=True)
class Pace:
    """How fast a part of the work goes, since it was first told of."""

    what: str
    first: int
    """Of it done at the beginning."""
    began: float
    """Seconds, by the clock that `told` is given."""

    def told(self, done: int, total: int, now: float) -> str:
        """Pace and remaining time for people, such as ", 3.1 a second, 9 s left"; empty while unknown, and at the end."""
        seconds = now - self.began
        if seconds < PACE_SECONDS or not self.first < done < total:
            return ""
        rate = (done - self.first) / seconds
        return f", {figure(rate, 2)} a second, {duration((total - done) / rate)} left"


class Reporter:
    """Use as a context; leaving it writes what is left."""

    def __init__(self, run: ObjectStore, lines: LogLines, seconds: float, beginning: Beginning | None = None) -> None:
        self._run, self._lines, self._seconds, self._beginning = run, lines, seconds, beginning
        # What a process of this run that was killed has told of its beginning stays true.
        self._status = read_record(run, "status.json", v1.RunStatus) or v1.RunStatus(schema_version=1)
        self._status.ClearField("progress")
        self._progress = self._status.progress
        self._metrics: list[v1.TrainingMetric] = []
        self._lock, self._writing, self._stop = threading.Lock(), threading.Lock(), threading.Event()
        self._chunks = {"metrics": self._next_number("metrics/"), "logs": self._next_number("logs/")}
        self._thread = threading.Thread(target=self._write_until_stopped, name="reporter", daemon=True)
        self._bar = _Bar() if sys.stderr.isatty() else None
        self._pace: Pace | None = None
        self._told, self._told_at = v1.RunStatus(), float("-inf")

    def _next_number(self, prefix: str) -> int:
        """After what a killed process of this run has written."""
        return (
            max((int(info.key.rpartition("/")[2].partition(".")[0]) for info in self._run.list(prefix)), default=0) + 1
        )

    def __enter__(self) -> Reporter:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.flush()
        if self._bar is not None:
            self._bar.stop()

    @property
    def step(self) -> int:
        return self._progress.step

    @property
    def trained_seconds(self) -> float:
        return self._progress.trained_seconds

    @property
    def unstored(self) -> list[v1.TrainingMetric]:
        """Measurements that only this process knows yet."""
        with self._lock:
            return list(self._metrics)

    def phase(self, phase: v1.Phase.ValueType, message: str) -> None:
        """A new part of the work begins."""
        with self._lock:
            if phase not in (start.phase for start in self._status.phase_starts):
                self._status.phase_starts.add(phase=phase, time=now())
            self._progress.phase = phase
            self._progress.message = message
        word = v1.Phase.Name(phase).removeprefix("PHASE_").lower()
        log.info(message, phase=word)
        if self._beginning is not None:
            self._beginning.part(word.replace("_", " "))
        if self._bar is not None:
            self._bar.say(message)

    def count(self, what: str, done: int, total: int) -> None:
        """How far a part of the work has come, such as "encoding pictures 12/40, 3.1 a second, 9 s left"."""
        if self._pace is None or self._pace.what != what or done < self._pace.first:
            self._pace = Pace(what, done, time.monotonic())
        message = f"{what} {done}/{total}{self._pace.told(done, total, time.monotonic())}"
        with self._lock:
            self._progress.message = message
        if self._bar is not None:
            self._bar.say(message)

    def length(self, step: int, steps: int, trained_seconds: float) -> None:
        """Where training starts and ends."""
        with self._lock:
            self._progress.step, self._progress.steps, self._progress.trained_seconds = step, steps, trained_seconds

    def previewed(self, step: int) -> None:
        """Previews after this step are stored."""
        with self._lock:
            if not self._progress.HasField("preview_step") or step > self._progress.preview_step:
                self._progress.preview_step = step

    def trained(self, metrics: list[v1.TrainingMetric], *, remaining: float, trained_seconds: float) -> None:
        """Steps were done and measured; `remaining` and `trained_seconds` in seconds."""
        last = metrics[-1]
        if self._beginning is not None:
            self._beginning.end()
        left = Duration()
        left.FromTimedelta(timedelta(seconds=round(remaining)))
        with self._lock:
            if not self._status.HasField("first_step_time"):
                self._status.first_step_time.CopyFrom(now())
            self._metrics.extend(metrics)
            self._progress.step, self._progress.trained_seconds = last.step, trained_seconds
            self._progress.loss = sum(metric.loss for metric in metrics) / len(metrics)
            self._progress.images_per_second = last.images_per_second
            self._progress.remaining.CopyFrom(left)
            self._progress.message = f"step {last.step}/{self._progress.steps}"
            steps, loss = self._progress.steps, self._progress.loss
        if self._bar is None:
            log.info(
                "trained",
                step=last.step,
                steps=steps,
                loss=round(loss, 5),
                images_per_second=round(last.images_per_second, 2),
            )
        else:
            self._bar.move(last.step, steps, loss, last.images_per_second)

    def _write_until_stopped(self) -> None:
        for number in itertools.count(1):
            if self._stop.wait(self._seconds):
                return
            self._report(chunks=number % REPORTS_OF_A_CHUNK == 0)

    def flush(self) -> None:
        """Writes what is not written yet, now: before a checkpoint, since nobody measures the steps behind it again."""
        self._report(chunks=True)

    def _report(self, *, chunks: bool) -> None:
        try:
            with self._writing:
                self._write_status(even_if_unchanged=chunks)
                if chunks:
                    self._write_chunks()
        except StoreError as error:
            # Progress is worth no run: what could not be written is tried again with what comes next.
            log.warning("progress could not be written", why=str(error))

    def _write_status(self, *, even_if_unchanged: bool) -> None:
        status = v1.RunStatus()
        with self._lock:
            status.CopyFrom(self._status)
        silent_for = time.monotonic() - self._told_at
        if status == self._told and silent_for < SILENCE_SECONDS and not even_if_unchanged:
            return
        told = v1.RunStatus()
        told.CopyFrom(status)
        told.progress.update_time.CopyFrom(now())
        put_status_record(self._run, "status.json", told)
        self._told, self._told_at = status, time.monotonic()

    def _write_chunks(self) -> None:
        with self._lock:
            metrics, lines = list(self._metrics), self._lines.peek()
        if metrics:
            chunk = v1.MetricChunk(schema_version=1, metrics=metrics)
            self._put_next("metrics", ".json", MessageToJson(chunk, indent=None).encode())
            with self._lock:
                del self._metrics[: len(metrics)]
        if lines:
            self._put_next("logs", ".jsonl", b"".join(lines))
            self._lines.drop(len(lines))

    def _put_next(self, kind: str, ending: str, content: bytes) -> None:
        """The next chunk of a kind. A failed write uses its number up, since it may have been done without an answer: readers
        can do with a step twice, but not without it."""
        number = self._chunks[kind]
        self._chunks[kind] += 1
        self._run.put_new(f"{kind}/{number:06d}{ending}", content)


class _Bar:
    """The bar on a terminal."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("starting", total=None, facts="")
        self._progress.start()

    def say(self, message: str) -> None:
        self._progress.update(self._task, description=message)

    def move(self, step: int, steps: int, loss: float, rate: float) -> None:
        facts = f"loss {loss:.4f}  {rate:.1f} img/s"
        self._progress.update(self._task, description="training", completed=step, total=steps, facts=facts)

    def stop(self) -> None:
        self._progress.stop()
