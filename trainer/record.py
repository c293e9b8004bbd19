"""The run's side of the record: it claims its launch, learns whether it still matters, and says how it ended.

It decides nothing about the job, so a run that outlives its launch has nothing to spoil.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from google.protobuf.timestamp_pb2 import Timestamp

from loramill import v1
from store import AlreadyExists, ObjectStore, open_store
from store.digests import sha256_of
from store.records import put_record, read_record
from trainer.errors import Superseded


def now() -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime.now(UTC))
    return stamp


def _process_start(pid: int) -> str:
    """Start time of a process in clock ticks since boot, which tells a process from a later one of the same id; "" if gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return ""


def _holder() -> str:
    return f"{socket.gethostname()} {os.getpid()} {_process_start(os.getpid())}"


def _holder_is_dead(holder: str) -> bool:
    """Whether the claiming process ran on this very host and is gone. Of another host nothing can be known."""
    host, _, rest = holder.partition(" ")
    pid, _, started = rest.partition(" ")
    return host == socket.gethostname() and pid.isdigit() and _process_start(int(pid)) != started


class RunRecord:
    """One launch's records, seen from its run."""

    def __init__(self, assignment: v1.Assignment, lacking: Sequence[str] = ()) -> None:
        """`lacking` is what the assignment needs and this version of the trainer does not know."""
        self.assignment = assignment
        self.lacking = lacking
        self.run: ObjectStore = open_store(assignment.run_uri)
        self.runs: ObjectStore = open_store(assignment.runs_uri)
        self.line: ObjectStore = open_store(assignment.line_uri)
        self._control: ObjectStore = open_store(assignment.control_uri)
        self._results: list[v1.ResultFile] = []

    def claim(self) -> None:
        """Makes this process the one that works for the launch; raises Superseded if another does or the launch is past.

        A claim whose process died on this host may be taken over, so that the same assignment can be run again by hand.
        """
        self.check_current()
        attempt = 1
        while True:
            key = "claim.json" if attempt == 1 else f"claims/{attempt:06d}.json"
            mine = v1.Claim(schema_version=1, token=uuid4().hex, create_time=now(), holder=_holder())
            if put_record(self.run, key, mine):
                return
            theirs = read_record(self.run, key, v1.Claim)
            if theirs is not None and not _holder_is_dead(theirs.holder):
                raise Superseded(f"Launch {self.assignment.launch} is already worked on by {theirs.holder!r}.")
            attempt += 1

    def check_current(self) -> None:
        """Raises Superseded if a later launch or an outcome exists: whatever this run does is then for nothing."""
        if read_record(self._control, "outcome.json", v1.Outcome) is not None:
            raise Superseded("The job already has its outcome.")
        launches = [int(info.key.rpartition("/")[2].partition(".")[0]) for info in self._control.list("launches/")]
        if max(launches, default=0) > self.assignment.launch:
            raise Superseded(f"Launch {max(launches)} has taken the place of launch {self.assignment.launch}.")

    def cancel_requested(self) -> bool:
        return read_record(self._control, "cancel.json", v1.CancelIntent) is not None

    def put_file(self, key: str, path: Path) -> None:
        """Stores a file of this run that no manifest names yet; what a killed process of this run left there gives way."""
        try:
            self.run.put_new(key, path)
        except AlreadyExists:
            if sha256_of(self.run.get(key)) != sha256_of(path):
                self.run.delete(key)
                self.run.put_new(key, path)

    def put_result(self, key: str, path: Path) -> None:
        """Stores a file that the job is for; the run's last word commits it."""
        self.put_file(key, path)
        self._results.append(v1.ResultFile(path=key, sha256=sha256_of(path), size_bytes=path.stat().st_size))

    def has_adapter(self, suffix: str) -> bool:
        """Whether some run of the job has committed this adapter; `suffix` is what its name has behind the job's id."""
        return any(info.key.endswith(f"/adapters/{suffix}/manifest.json") for info in self.runs.list())

    def commit_adapter(self, suffix: str, adapter: v1.Adapter, files: dict[str, Path]) -> None:
        """Stores an adapter's files, then the manifest that commits it. One that is committed already stays as it is."""
        folder = f"adapters/{suffix}/"
        if read_record(self.run, f"{folder}manifest.json", v1.AdapterManifest) is not None:
            return
        for name, path in files.items():
            self.put_file(f"{folder}{name}", path)
        put_record(self.run, f"{folder}manifest.json", v1.AdapterManifest(schema_version=1, adapter=adapter))

    def end(self, exit_code: v1.ExitCode.ValueType, message: str, *, step: int, trained_seconds: float) -> None:
        """The run's last word. The first one stays."""
        adapters = sorted(
            info.key.split("/")[1] for info in self.run.list("adapters/") if info.key.endswith("/manifest.json")
        )
        job = self.assignment.training_job.removeprefix("trainingJobs/")
        put_record(
            self.run,
            "end.json",
            v1.End(
                schema_version=1,
                exit_code=exit_code,
                message=message,
                create_time=now(),
                step=step,
                trained_seconds=trained_seconds,
                adapters=[f"{job}-{suffix}" for suffix in adapters],
                results=self._results if exit_code == v1.EXIT_CODE_SUCCESS else (),
            ),
            # As a number: a service that does not know the word would take it for success, which is the enum's zero.
            {"exitCode": int(exit_code)},
        )

    def ended(self) -> v1.End | None:
        return read_record(self.run, "end.json", v1.End)
