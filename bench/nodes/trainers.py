"""A trainer that trains nothing: it claims, keeps checkpoints, goes on from them and says its last word as a trainer does, by
the trainer's own record code, and lets time pass in between."""

from __future__ import annotations

import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from loramill import v1
from store import open_store, split_uri
from store.digests import sha256_of
from store.records import put_status_record, read_record
from trainer import checkpoint, generations
from trainer.errors import Cancelled, Preempted, Superseded, TrainerError, UserError
from trainer.record import RunRecord, now

FINGERPRINT = "simulated"


class MachineGone(BaseException):
    """The machine went away under the trainer, which does not get to say another word."""


class Orders:
    """What reaches a container from outside."""

    def __init__(self) -> None:
        self._changed = threading.Event()
        self.killed = False

    def stop(self) -> None:
        """SIGTERM."""
        self._changed.set()

    def kill(self) -> None:
        """Its machine is gone."""
        self.killed = True
        self._changed.set()

    @property
    def stopped(self) -> bool:
        return self._changed.is_set()

    def wait(self, seconds: float) -> None:
        """Until something comes; at most so long."""
        self._changed.wait(max(0.0, seconds))

    def check(self) -> None:
        if self.killed:
            raise MachineGone


@dataclass(frozen=True)
class Pace:
    """Seconds that the simulated work takes."""

    step: float
    loading: float


class SimulatedTrainer:
    """One container."""

    def __init__(self, assignment_uri: str, orders: Orders, pace: Pace) -> None:
        root, key = split_uri(assignment_uri)
        assignment = read_record(open_store(root), key, v1.Assignment)
        if assignment is None:
            raise UserError(f"There is no assignment at {assignment_uri}.")
        self._assignment, self._orders, self._pace = assignment, orders, pace
        self._record = RunRecord(assignment)
        self._job = checkpoint.job_sha256(assignment)
        self._steps = assignment.spec.optimization.steps
        self.first_step = 0
        self.last_step = 0

    def work(self) -> int:
        """The exit code. Raises MachineGone."""
        ended = self._record.ended()
        if ended is not None:
            return ended.exit_code
        try:
            self._record.claim()
        except Superseded as error:
            return error.exit_code
        exit_code, message = v1.EXIT_CODE_SUCCESS, "The adapter is trained and saved; both are simulated."
        try:
            self._train()
        except TrainerError as error:
            exit_code, message = error.exit_code, str(error)
        if exit_code != v1.EXIT_CODE_SUPERSEDED:
            self._record.end(exit_code, message, step=self.last_step, trained_seconds=self._trained_seconds)
        return exit_code

    @property
    def _trained_seconds(self) -> float:
        return self.last_step * self._pace.step

    def _train(self) -> None:
        self._tell(v1.PHASE_LOADING_MODEL)
        self._orders.wait(self._pace.loading)
        self._orders.check()
        if self._orders.stopped:
            raise self._stopped("before this run's first step")
        self._go_on()
        began, every = time.monotonic(), self._assignment.spec.checkpoints.every_steps
        while self.last_step < self._steps:
            due = min(self._steps, (self.last_step // every + 1) * every)
            self._orders.wait(began + (due - self.first_step) * self._pace.step - time.monotonic())
            if self._orders.stopped:
                self.last_step = min(due, self.first_step + int((time.monotonic() - began) / self._pace.step))
                self._orders.check()
                self._commit_checkpoint()
                raise self._stopped(f"at step {self.last_step} of {self._steps}; a checkpoint is saved")
            self.last_step = due
            if due < self._steps:
                self._commit_checkpoint()
                self._record.check_current()
                self._tell(v1.PHASE_TRAINING)
        self._tell(v1.PHASE_SAVING)
        self._commit_adapter()

    def _stopped(self, where: str) -> TrainerError:
        if self._record.cancel_requested():
            return Cancelled(f"The job was cancelled {where}.")
        return Preempted(f"The trainer was told to stop {where}.")

    def _go_on(self) -> None:
        found = checkpoint.choose(self._record.runs, frozenset({self._job}), generations.current(self._record.line))
        self.first_step = self.last_step = found.step if found is not None else 0
        self._tell(v1.PHASE_TRAINING)

    def _tell(self, phase: v1.Phase.ValueType) -> None:
        progress = v1.Progress(
            phase=phase,
            step=self.last_step,
            steps=self._steps,
            trained_seconds=self._trained_seconds,
            message="simulated",
            update_time=now(),
        )
        put_status_record(self._record.run, "status.json", v1.RunStatus(schema_version=1, progress=progress))

    def _commit_checkpoint(self) -> None:
        checkpoint.commit(
            self._record.run,
            checkpoint.Checkpoint(
                step=self.last_step,
                generation=0,
                trained_seconds=self._trained_seconds,
                numeric_fingerprint=FINGERPRINT,
                tensors={"values": torch.full((16,), float(self.last_step))},
            ),
            self._job,
        )

    def _commit_adapter(self) -> None:
        assignment, spec = self._assignment, self._assignment.spec
        job = assignment.training_job.removeprefix("trainingJobs/")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "simulated.safetensors"
            save_file({"values": torch.full((16,), float(self._steps))}, path, {"simulated": "true"})
            file = v1.AdapterFile(
                format=v1.ADAPTER_FORMAT_KOHYA,
                file_name=path.name,
                size_bytes=path.stat().st_size,
                sha256=sha256_of(path),
                rank=spec.adapter.rank,
            )
            adapter = v1.Adapter(
                name=f"adapters/{job}-final",
                training_job=assignment.training_job,
                step=self._steps,
                base_model=assignment.base_model.name,
                type=spec.adapter.type,
                rank=spec.adapter.rank,
                activation_tag=spec.concept.activation_tag,
                files=[file],
                create_time=now(),
                tensors_sha256=file.sha256,
            )
            self._record.commit_adapter("final", adapter, {path.name: path})
