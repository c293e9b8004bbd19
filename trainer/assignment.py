"""Does one assignment, from its claim to its last word, and ends with an exit code of the table in run.proto.

The claim comes before torch and diffusers are loaded, which takes seconds: callers see at once that the launch has begun to
work, and a second process of the same launch is gone as quickly.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import structlog

from loramill import v1
from store import RecordError, StoreError, be_patient, open_store, split_uri
from store.records import read_record
from trainer.beginning import Beginning, traced
from trainer.errors import (
    Cancelled,
    Outdated,
    OutOfMemory,
    Preempted,
    StorageFailed,
    Superseded,
    TrainerError,
    UserError,
)
from trainer.logs import LogLines, set_up_logging
from trainer.newer import lacking, told
from trainer.progress import Reporter
from trainer.record import RunRecord
from trainer.settings import TrainerSettings
from trainer.stopping import STOPPING_SECONDS, Stopped, StopSignal

TERMINATION_LOG = Path("/dev/termination-log")
"""Where Kubernetes listens for a container's last word (its terminationMessagePath); elsewhere it does not exist."""

Story = Callable[[RunRecord, TrainerSettings, Reporter, StopSignal], str]

STORIES: dict[v1.JobKind.ValueType, str] = {
    v1.JOB_KIND_TRAINING: "trainer.run",
    v1.JOB_KIND_CONCEPT_ANALYSIS: "trainer.analysis_run",
    v1.JOB_KIND_DATASET_REPORT: "trainer.report_run",
    v1.JOB_KIND_CAPTIONING: "trainer.caption_run",
}
"""The module whose `run` does a job, by its kind. Named, not imported: each brings libraries that the others do without."""

log = structlog.get_logger()


def _read_assignment(uri: str) -> tuple[v1.Assignment, list[str]]:
    """And what it needs that this trainer does not know."""
    root, key = split_uri(uri)
    store = open_store(root)
    try:
        assignment = read_record(store, key, v1.Assignment)
    except RecordError as error:
        raise Outdated(f"The assignment cannot be read: {error}.") from error
    if assignment is None:
        raise UserError(f"There is no assignment at {uri}.")
    return assignment, lacking(json.loads(store.get(key)), assignment)


def _tell_cluster(sentence: str) -> None:
    """For a run that cannot write into its record: who started the container then tells callers."""
    with suppress(OSError):
        if TERMINATION_LOG.exists():
            TERMINATION_LOG.write_text(sentence)


def _as_trainer_error(error: Exception) -> TrainerError:
    """Whatever went wrong, as one of our own kinds."""
    if isinstance(error, TrainerError):
        return error
    if isinstance(error, StoreError):
        return StorageFailed(f"The object store could not be used: {error}")
    if isinstance(error, MemoryError):
        return OutOfMemory(f"Memory did not suffice; use a smaller batch or resolution ({error}).")
    return TrainerError(f"An error in Loramill: {type(error).__name__}: {error}")


def _stopped_early(record: RunRecord) -> TrainerError:
    """What it means that the process was told to stop before there was anything to keep."""
    be_patient(STOPPING_SECONDS)
    if record.cancel_requested():
        return Cancelled("The job was cancelled before this run had anything to keep.")
    return Preempted("The trainer was told to stop before this run had anything to keep.")


def _run(record: RunRecord, settings: TrainerSettings, reporter: Reporter, stop: StopSignal) -> str:
    """Does the assignment; the run's last word when what it is for is stored. Raises a TrainerError, and what is unforeseen."""
    for problem in told(record.lacking):
        raise Outdated(problem)
    try:
        with stop.interrupting():
            run: Story = import_module(STORIES[record.assignment.kind or v1.JOB_KIND_TRAINING]).run
        return run(record, settings, reporter, stop)
    except Stopped:
        raise _stopped_early(record) from None


def _work(
    record: RunRecord, settings: TrainerSettings, lines: LogLines, stop: StopSignal, beginning: Beginning
) -> v1.ExitCode.ValueType:
    """Runs the assignment and writes the run's last word."""
    exit_code, message = v1.EXIT_CODE_SUCCESS, ""
    try:
        with Reporter(record.run, lines, settings.report_seconds, beginning) as reporter:
            try:
                message = _run(record, settings, reporter, stop)
            except Exception as error:
                problem = _as_trainer_error(error)
                exit_code, message = problem.exit_code, str(problem)
                if isinstance(error, StoreError):
                    be_patient(STOPPING_SECONDS)  # it was waited for long enough
                unforeseen = None if isinstance(error, TrainerError | StoreError) else error
                log.error(message, exit_code=int(exit_code), exc_info=unforeseen)
        beginning.end("" if exit_code == v1.EXIT_CODE_SUCCESS else message)
        if exit_code != v1.EXIT_CODE_SUPERSEDED:
            record.end(exit_code, message, step=reporter.step, trained_seconds=reporter.trained_seconds)
    except StoreError as error:
        # Nothing more can be recorded, so the exit code must tell.
        unwritten = f"The run's record could not be written: {error}"
        log.error(unwritten)
        _tell_cluster(unwritten)
        return v1.EXIT_CODE_STORAGE if exit_code == v1.EXIT_CODE_SUCCESS else exit_code
    return exit_code


def do_assignment(uri: str, stop: StopSignal) -> int:
    """The exit code; whatever goes wrong is logged and recorded, never raised. Raises Stopped, before the claim is ours."""
    lines = set_up_logging()
    try:
        with stop.interrupting():
            settings = TrainerSettings()
            be_patient(settings.store_seconds)
            record = RunRecord(*_read_assignment(uri))
            ended = record.ended()
            if ended is not None:
                log.info("this launch has ended before", message=ended.message)
                return ended.exit_code
            send_spans, beginning = traced(), Beginning(record.assignment)
            beginning.part("claim")
            record.claim()
            beginning.part("start")
    except Superseded as error:
        log.warning(str(error))
        return error.exit_code
    except Exception as error:  # noqa: BLE001 (the exit code is all that can be told without a claim)
        problem = _as_trainer_error(error)
        log.error(str(problem))
        _tell_cluster(str(problem))
        return problem.exit_code
    try:
        return _work(record, settings, lines, stop, beginning)
    finally:
        send_spans()
