"""An executor that starts nothing, and a hand that writes what a trainer would."""

from __future__ import annotations

import hashlib
import threading

from loramill import v1
from service.executors import ABSENT, Execution, ExecutionState, KnownLaunch
from service.keys import TenantKeys, job_of_name
from service.times import to_timestamp, utc_now
from store.object_store import ObjectStore
from store.records import put_record, put_status_record

Launch = tuple[str, str, int]


class FakeExecutor:
    """Says of each launch what the test tells it to; by default that it runs."""

    def __init__(self) -> None:
        self.executions: dict[Launch, Execution] = {}
        self.logs: dict[Launch, bytes] = {}
        self.forgotten: list[Launch] = []
        self._lock = threading.Lock()

    def launch(self, tenant: str, job: str, number: int, assignment: v1.Assignment, assignment_uri: str) -> None:
        del assignment, assignment_uri
        with self._lock:
            self.executions.setdefault((tenant, job, number), Execution(ExecutionState.RUNNING))

    def observe(self, tenant: str, job: str, number: int) -> Execution:
        return self.executions.get((tenant, job, number), ABSENT)

    def known(self) -> list[KnownLaunch]:
        return [KnownLaunch(*launch, utc_now()) for launch in self.executions]

    def stop(self, tenant: str, job: str, number: int) -> None:
        self.exit(tenant, job, number, v1.EXIT_CODE_CANCELLED)

    def forget(self, tenant: str, job: str, number: int) -> None:
        self.forgotten.append((tenant, job, number))

    def read_log(self, tenant: str, job: str, number: int, offset: int) -> bytes | None:
        log = self.logs.get((tenant, job, number))
        return None if log is None else log[offset : offset + (1 << 20)]

    def exit(self, tenant: str, job: str, number: int, code: int) -> None:
        exited = Execution(ExecutionState.EXITED, code, end_time=utc_now())
        with self._lock:
            self.executions[tenant, job, number] = exited


class FakeTrainer:
    """Writes the record of one run."""

    def __init__(
        self, store: ObjectStore, executor: FakeExecutor, name: str, launch: int = 1, tenant: str = "local"
    ) -> None:
        self.job = job_of_name(name) or ""
        self.tenant = tenant
        self.launch = launch
        self._store, self._executor = store, executor
        self.keys = TenantKeys(tenant).job(self.job).run(launch)

    def claim(self) -> None:
        put_record(
            self._store, self.keys.claim, v1.Claim(token="t", create_time=to_timestamp(utc_now()), holder="test")
        )

    def report(self, step: int, steps: int = 10) -> None:
        progress = v1.Progress(phase=v1.PHASE_TRAINING, step=step, steps=steps, update_time=to_timestamp(utc_now()))
        put_status_record(self._store, self.keys.status, v1.RunStatus(progress=progress))

    def measure(self, chunk: int, **loss_by_step: float) -> None:
        metrics = [v1.TrainingMetric(step=int(step[1:]), loss=loss) for step, loss in loss_by_step.items()]
        put_record(self._store, f"{self.keys.metrics_prefix}{chunk:06d}.json", v1.MetricChunk(metrics=metrics))

    def commit(self, suffix: str = "final", content: bytes = b"weights", step: int = 10, generation: int = 0) -> str:
        """The adapter's name."""
        name = f"adapters/{self.job}-{suffix}"
        folder = self.keys.adapter_manifest(suffix).rpartition("/")[0]
        self._store.put_new(f"{folder}/adapter.safetensors", content)
        file = v1.AdapterFile(
            format=v1.ADAPTER_FORMAT_KOHYA,
            file_name="adapter.safetensors",
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        adapter = v1.Adapter(
            name=name,
            training_job=f"trainingJobs/{self.job}",
            step=step,
            generation=generation,
            type=v1.ADAPTER_TYPE_LORA,
            rank=16,
            files=[file],
            create_time=to_timestamp(utc_now()),
        )
        put_record(self._store, self.keys.adapter_manifest(suffix), v1.AdapterManifest(adapter=adapter))
        return name

    def end(
        self,
        code: v1.ExitCode.ValueType = v1.EXIT_CODE_SUCCESS,
        message: str = "done",
        *,
        gone: bool = True,
        results: dict[str, bytes] | None = None,
    ) -> None:
        """`gone` is whether the process has ended too; `results` are contents by path, which are stored before."""
        files = []
        for path, content in (results or {}).items():
            self._store.put_new(self.keys.root + path, content)
            files.append(v1.ResultFile(path=path, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content)))
        end = v1.End(exit_code=code, message=message, create_time=to_timestamp(utc_now()), step=10, results=files)
        put_record(self._store, self.keys.end, end)
        if gone:
            self._executor.exit(self.tenant, self.job, self.launch, code)
