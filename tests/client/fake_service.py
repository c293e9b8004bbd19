"""The contract in memory: what the client's tests talk to, over real gRPC on loopback.

It keeps datasets, jobs and adapters in dictionaries, and checks digests and required fields, no more. How a watched job goes
on is a script of the test's.
"""

# ruff: noqa: ARG002 (the signatures are gRPC's)

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from loramill import v1
from loramill.v1 import (
    adapter_service_pb2_grpc,
    base_model_service_pb2_grpc,
    dataset_service_pb2_grpc,
    training_service_pb2_grpc,
)
from tests.client.fake_store import FakeStore

BREAK = "break"
"""In a script: the connection is lost here."""
HOLD = "hold"
"""In a script: nothing more comes until the test lets go, or the caller leaves."""

Script = list["v1.TrainingJob | str"]


@dataclass
class State:
    """Everything that the service knows and was told."""

    jobs: dict[str, v1.TrainingJob] = field(default_factory=dict)
    by_request: dict[str, str] = field(default_factory=dict)
    scripts: list[Script] = field(default_factory=list)
    """One for each watch, in order; the last one repeats. Empty: the job as it stands."""
    watching: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    datasets: dict[str, v1.Dataset] = field(default_factory=dict)
    contents: dict[str, dict[str, bytes]] = field(default_factory=dict)
    adapters: dict[str, tuple[v1.Adapter, dict[str, bytes]]] = field(default_factory=dict)
    """Each with its contents by file name."""
    bases: dict[str, v1.BaseModel] = field(default_factory=dict)
    import_states: list[v1.BaseModelImportState.ValueType] = field(default_factory=list)
    """How an import stands at one look after another."""
    import_problems: list[v1.BaseModelImportProblem] = field(default_factory=list)
    results: dict[str, bytes] = field(default_factory=dict)
    """What a job of another kind than training has made, by path."""
    metrics: list[v1.TrainingMetric] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)
    previews: list[tuple[v1.TrainingPreview, bytes]] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    violations: list[tuple[str, str]] = field(default_factory=list)
    compute: v1.ComputePlan = field(default_factory=v1.ComputePlan)
    """Where accepted jobs run."""
    compute_classes: list[v1.ComputeClass] = field(default_factory=list)
    admission: v1.Admission = field(default_factory=v1.Admission)
    stuck: list[v1.StuckJob] = field(default_factory=list)
    fail_first: dict[str, int] = field(default_factory=dict)
    """So many calls of a method fail with UNAVAILABLE before one is answered."""
    damage: bool = False
    """Whether downloads arrive with a flipped byte."""
    store: FakeStore | None = None
    """To and from which addresses lead; without one, the service has none to give out."""


def fail(
    context: grpc.ServicerContext,
    code: grpc.StatusCode,
    sentence: str,
    reason: str = "TEST",
    violations: list[tuple[str, str]] | None = None,
) -> NoReturn:
    """Ends the call with a google.rpc.Status."""
    details = [error_details_pb2.ErrorInfo(reason=reason, domain="loramill")]
    if violations:
        entries = [
            error_details_pb2.BadRequest.FieldViolation(field=name, description=text) for name, text in violations
        ]
        details.append(error_details_pb2.BadRequest(field_violations=entries))
    packed = [any_pb2.Any() for _ in details]
    for box, detail in zip(packed, details, strict=True):
        box.Pack(detail)
    status = status_pb2.Status(code=code.value[0], message=sentence, details=packed)
    context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError


def may_fail(state: State, method: str, context: grpc.ServicerContext) -> None:
    if state.fail_first.get(method, 0) > 0:
        state.fail_first[method] -= 1
        context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")


def find(context: grpc.ServicerContext, things: dict[str, Any], name: str) -> Any:
    if name not in things:
        fail(context, grpc.StatusCode.NOT_FOUND, f"{name} does not exist; list what there is.", "RESOURCE_NOT_FOUND")
    return things[name]


def page(things: list[Any], request: Any, size: int) -> tuple[list[Any], str]:
    """So many at a time, whatever was asked for, so that every test turns pages."""
    start = int(request.page_token or 0)
    more = start + size < len(things)
    return things[start : start + size], str(start + size) if more else ""


def result_file(path: str, content: bytes) -> v1.ResultFile:
    return v1.ResultFile(path=path, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))


def made(state: State, request: Any, kind: v1.JobKind.ValueType) -> v1.TrainingJob:
    """A job of another kind than training, which has done its work at once."""
    state.requests.append(request)
    name = f"trainingJobs/job{len(state.jobs) + 1}"
    results = [result_file(path, content) for path, content in state.results.items()]
    ended = v1.TRAINING_JOB_STATE_SUCCEEDED if results else v1.TRAINING_JOB_STATE_FAILED
    message = "It is done." if results else "It cannot be done; do something else."
    job = v1.TrainingJob(name=name, kind=kind, state=ended, state_message=message, results=results)
    return state.jobs.setdefault(name, job)


def store_of(state: State, context: grpc.ServicerContext) -> FakeStore:
    if state.store is None:
        fail(context, grpc.StatusCode.FAILED_PRECONDITION, "No addresses here.", "NO_DIRECT_TRANSFERS")
    return state.store


class Training(training_service_pb2_grpc.TrainingServiceServicer):
    def __init__(self, state: State) -> None:
        self.state = state

    def CreateTrainingJob(self, request, context):
        self.state.requests.append(request)
        may_fail(self.state, "CreateTrainingJob", context)
        if self.state.violations:
            text = " ".join(text for _, text in self.state.violations)
            fail(context, grpc.StatusCode.INVALID_ARGUMENT, text, "INVALID_REQUEST", self.state.violations)
        job = v1.TrainingJob(spec=request.spec, state=v1.TRAINING_JOB_STATE_QUEUED, warnings=["this is only a test"])
        job.spec.adapter.rank = job.spec.adapter.rank or 16
        job.compute.CopyFrom(self.state.compute)
        if request.validate_only:
            return job
        name = self.state.by_request.setdefault(request.request_id, f"trainingJobs/job{len(self.state.jobs) + 1}")
        job.name = name
        return self.state.jobs.setdefault(name, job)

    def AnalyzeConcept(self, request, context):
        return made(self.state, request, v1.JOB_KIND_CONCEPT_ANALYSIS)

    def DownloadResult(self, request, context):
        content = find(context, self.state.results, request.path)
        sent = bytes([content[0] ^ 1]) + content[1:] if self.state.damage else content
        yield v1.DownloadResultResponse(file=result_file(request.path, content))
        yield v1.DownloadResultResponse(data=sent[:3])
        yield v1.DownloadResultResponse(data=sent[3:])

    def GetTrainingJob(self, request, context):
        may_fail(self.state, "GetTrainingJob", context)
        return find(context, self.state.jobs, request.name)

    def ListTrainingJobs(self, request, context):
        self.state.requests.append(request)
        jobs = [job for job in self.state.jobs.values() if not request.states or job.state in request.states]
        found, token = page(jobs, request, 2)
        return v1.ListTrainingJobsResponse(training_jobs=found, next_page_token=token)

    def WatchTrainingJob(self, request, context):
        job = find(context, self.state.jobs, request.name)
        scripts = self.state.scripts
        script = (scripts.pop(0) if len(scripts) > 1 else scripts[0]) if scripts else [job]
        for entry in script:
            if entry == BREAK:
                context.abort(grpc.StatusCode.UNAVAILABLE, "connection lost")
            elif entry == HOLD:
                self.state.watching.set()
                context.add_callback(self.state.release.set)
                self.state.release.wait(30)
            else:
                entry.name = request.name
                yield v1.WatchTrainingJobResponse(training_job=entry)

    def CancelTrainingJob(self, request, context):
        job = find(context, self.state.jobs, request.name)
        job.state = v1.TRAINING_JOB_STATE_CANCELLING
        return job

    def DeleteTrainingJob(self, request, context):
        self.state.requests.append(request)
        may_fail(self.state, "DeleteTrainingJob", context)
        job = find(context, self.state.jobs, request.name)
        if job.state != v1.TRAINING_JOB_STATE_SUCCEEDED:
            fail(context, grpc.StatusCode.FAILED_PRECONDITION, f"{request.name} still lives; cancel it first.")
        del self.state.jobs[request.name]
        return v1.DeleteTrainingJobResponse()

    def ListTrainingMetrics(self, request, context):
        metrics = [metric for metric in self.state.metrics if metric.step > request.after_step]
        found, token = page(metrics, request, 3)
        return v1.ListTrainingMetricsResponse(metrics=found, next_page_token=token)

    def GetTrainingPreviews(self, request, context):
        self.state.requests.append(request)
        may_fail(self.state, "GetTrainingPreviews", context)
        for preview, content in self.state.previews:
            later = not request.HasField("after_step") or preview.step > request.after_step
            if later and (not request.HasField("step") or preview.step == request.step):
                yield v1.GetTrainingPreviewsResponse(preview=preview)
                yield v1.GetTrainingPreviewsResponse(data=content[:20])
                yield v1.GetTrainingPreviewsResponse(data=content[20:])

    def StreamTrainingLogs(self, request, context):
        for line in self.state.logs:
            yield v1.StreamTrainingLogsResponse(line=line)

    def ListComputeClasses(self, request, context):
        return v1.ListComputeClassesResponse(compute_classes=self.state.compute_classes)

    def GetAdmission(self, request, context):
        return self.state.admission

    def SetAdmission(self, request, context):
        self.state.admission = request.admission
        return self.state.admission

    def ListStuckJobs(self, request, context):
        found, token = page(self.state.stuck, request, 2)
        return v1.ListStuckJobsResponse(stuck_jobs=found, next_page_token=token)

    def GiveUpLaunch(self, request, context):
        self.state.requests.append(request)
        return find(context, self.state.jobs, request.name)


class Datasets(dataset_service_pb2_grpc.DatasetServiceServicer):
    def __init__(self, state: State) -> None:
        self.state = state

    def CreateDatasetReport(self, request, context):
        return made(self.state, request, v1.JOB_KIND_DATASET_REPORT)

    def CaptionDataset(self, request, context):
        return made(self.state, request, v1.JOB_KIND_CAPTIONING)

    def CreateDataset(self, request, context):
        self.state.requests.append(request)
        name = f"datasets/set{len(self.state.contents) + 1}"
        dataset = v1.Dataset(name=name, display_name=request.dataset.display_name, state=v1.DATASET_STATE_OPEN)
        self.state.datasets[name], self.state.contents[name] = dataset, {}
        return dataset

    def UploadFile(self, request_iterator: Iterator[v1.UploadFileRequest], context):
        header = next(request_iterator).header
        content = b"".join(message.data for message in request_iterator)
        find(context, self.state.datasets, header.dataset)
        if "refused" in header.file.path:
            fail(context, grpc.StatusCode.INVALID_ARGUMENT, f"{header.file.path} is refused; leave it out.")
        if hashlib.sha256(content).hexdigest() != header.file.sha256 or len(content) != header.file.size_bytes:
            fail(context, grpc.StatusCode.INVALID_ARGUMENT, "the digest does not match")
        self.state.contents[header.dataset][header.file.path] = content
        return v1.UploadFileResponse(file=header.file)

    def CreateUploadUrls(self, request, context):
        self.state.requests.append(request)
        store = store_of(self.state, context)
        urls = [
            v1.UploadUrl(file=file, url=store.url(file.sha256), headers={"If-None-Match": "*", "x-signed": "yes"})
            for file in request.files
        ]
        return v1.CreateUploadUrlsResponse(urls=urls)

    def CompleteUploads(self, request, context):
        store = store_of(self.state, context)
        for file in request.files:
            content = store.objects.get(f"/{file.sha256}", b"")
            if hashlib.sha256(content).hexdigest() != file.sha256:
                fail(context, grpc.StatusCode.INVALID_ARGUMENT, f"{file.path} did not come as announced.")
            self.state.contents[request.dataset][file.path] = content
        return v1.CompleteUploadsResponse(files=request.files)

    def FinalizeDataset(self, request, context):
        dataset, contents = find(context, self.state.datasets, request.name), self.state.contents[request.name]
        dataset.state, dataset.file_count = v1.DATASET_STATE_FINALIZED, len(contents)
        dataset.size_bytes = sum(map(len, contents.values()))
        return dataset

    def GetDataset(self, request, context):
        return find(context, self.state.datasets, request.name)

    def GetDatasetReport(self, request, context):
        find(context, self.state.datasets, request.name)
        content = {v1.DATASET_REPORT_FORMAT_JSON: b'{"suggestions": []}'}.get(request.format, b"10 pictures\n")
        size = len(content) + (1 if request.name.endswith("torn") else 0)
        yield v1.GetDatasetReportResponse(
            report=v1.DatasetReport(training_job="trainingJobs/j", launch=2, size_bytes=size)
        )
        yield v1.GetDatasetReportResponse(data=content[:5])
        yield v1.GetDatasetReportResponse(data=content[5:])

    def ListDatasets(self, request, context):
        found, token = page(list(self.state.datasets.values()), request, 2)
        return v1.ListDatasetsResponse(datasets=found, next_page_token=token)

    def DeleteDataset(self, request, context):
        find(context, self.state.datasets, request.name)
        del self.state.datasets[request.name]
        return v1.DeleteDatasetResponse()


class Adapters(adapter_service_pb2_grpc.AdapterServiceServicer):
    def __init__(self, state: State) -> None:
        self.state = state

    def GetAdapter(self, request, context):
        return find(context, self.state.adapters, request.name)[0]

    def ListAdapters(self, request, context):
        adapters = [adapter for adapter, _ in self.state.adapters.values()]
        adapters = [adapter for adapter in adapters if request.training_job in ("", adapter.training_job)]
        found, token = page(adapters, request, 2)
        return v1.ListAdaptersResponse(adapters=found, next_page_token=token)

    def DownloadAdapter(self, request, context):
        self.state.requests.append(request)
        file, content = self._chosen(request, context)
        yield v1.DownloadAdapterResponse(file=file)
        for start in range(0, len(content), 1000):
            yield v1.DownloadAdapterResponse(data=content[start : start + 1000])

    def CreateDownloadUrl(self, request, context):
        self.state.requests.append(request)
        store = store_of(self.state, context)
        file, content = self._chosen(request, context)
        store.objects[f"/{file.sha256}"] = content
        return v1.CreateDownloadUrlResponse(file=file, url=store.url(file.sha256))

    def _chosen(self, request, context) -> tuple[v1.AdapterFile, bytes]:
        adapter, contents = find(context, self.state.adapters, request.name)
        wanted = request.format or v1.ADAPTER_FORMAT_KOHYA
        asked = (
            (lambda file: file.file_name == request.file_name)
            if request.file_name
            else lambda file: file.format == wanted
        )
        file = next(filter(asked, adapter.files), None)
        if file is None:
            fail(context, grpc.StatusCode.NOT_FOUND, f"{request.name} has no such file.")
        content = contents[file.file_name]
        return file, content[:-1] + bytes([content[-1] ^ 1]) if self.state.damage else content

    def UploadAdapter(self, request_iterator: Iterator[v1.UploadAdapterRequest], context):
        header = next(request_iterator).header
        may_fail(self.state, "UploadAdapter", context)
        content = b"".join(message.data for message in request_iterator)
        if hashlib.sha256(content).hexdigest() != header.sha256 or len(content) != header.size_bytes:
            fail(context, grpc.StatusCode.INVALID_ARGUMENT, "the digest does not match")
        name = self.state.by_request.setdefault(header.request_id, f"adapters/up{len(self.state.adapters) + 1}-upload")
        file = v1.AdapterFile(format=v1.ADAPTER_FORMAT_KOHYA, file_name=header.file_name, size_bytes=len(content))
        adapter = v1.Adapter(name=name, type=v1.ADAPTER_TYPE_LOKR, files=[file])
        self.state.adapters[name] = (adapter, {header.file_name: content})
        return adapter

    def PromoteAdapter(self, request, context):
        promoted = find(context, self.state.adapters, request.name)[0]
        for adapter, _ in self.state.adapters.values():
            adapter.preferred = adapter is promoted
        return promoted

    def DeleteAdapter(self, request, context):
        find(context, self.state.adapters, request.name)
        del self.state.adapters[request.name]
        return v1.DeleteAdapterResponse()


class Bases(base_model_service_pb2_grpc.BaseModelServiceServicer):
    def __init__(self, state: State) -> None:
        self.state = state

    def ListBaseModels(self, request, context):
        found, token = page(list(self.state.bases.values()), request, 2)
        return v1.ListBaseModelsResponse(base_models=found, next_page_token=token)

    def GetBaseModel(self, request, context):
        base = find(context, self.state.bases, request.name)
        if self.state.import_states:
            base.last_import.state = self.state.import_states.pop(0)
            base.last_import.phase = v1.BASE_MODEL_IMPORT_PHASE_FETCHING
        return base

    def ImportBaseModel(self, request, context):
        base = v1.BaseModel(name=f"baseModels/{request.base_model_id}", source_uri=request.source_uri, family="sd15")
        base.vae_source_uri, base.variant, base.license = request.vae_source_uri, request.variant, request.license
        base.last_import.state = self.state.import_states.pop(0) if self.state.import_states else 0
        base.last_import.problems.extend(self.state.import_problems)
        self.state.bases[base.name] = base
        return base

    def InspectTokens(self, request, context):
        find(context, self.state.bases, request.name)
        words, most = request.caption.split(), request.max_tokens
        tokens = [
            v1.Token(id=place, piece=f"{word}</w>", text=word, chunk=1 if place < most else 0)
            for place, word in enumerate(words)
        ]
        encoder = v1.EncoderTokens(encoder="text_encoder", tokens=tokens, chunks=1, cut=max(0, len(words) - most))
        return v1.InspectTokensResponse(encoders=[encoder])


class FakeService:
    """A server on a free port of loopback, until `stop`."""

    def __init__(self) -> None:
        self.state = State()
        self._server = grpc.server(ThreadPoolExecutor(max_workers=8))
        training_service_pb2_grpc.add_TrainingServiceServicer_to_server(Training(self.state), self._server)
        dataset_service_pb2_grpc.add_DatasetServiceServicer_to_server(Datasets(self.state), self._server)
        adapter_service_pb2_grpc.add_AdapterServiceServicer_to_server(Adapters(self.state), self._server)
        base_model_service_pb2_grpc.add_BaseModelServiceServicer_to_server(Bases(self.state), self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def add_job(self, state: v1.TrainingJobState.ValueType, name: str = "job1", **fields: Any) -> v1.TrainingJob:
        job = v1.TrainingJob(name=f"trainingJobs/{name}", state=state, **fields)
        self.state.jobs[job.name] = job
        return job

    def add_adapter(self, name: str, contents: dict[str, tuple[v1.AdapterFormat.ValueType, bytes]]) -> v1.Adapter:
        """`contents` by file name."""
        files = [
            v1.AdapterFile(
                format=format, file_name=file_name, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
            )
            for file_name, (format, content) in contents.items()
        ]
        adapter = v1.Adapter(
            name=f"adapters/{name}", training_job="trainingJobs/job1", type=v1.ADAPTER_TYPE_LORA, rank=4
        )
        adapter.files.extend(files)
        self.state.adapters[adapter.name] = (adapter, {name: content for name, (_, content) in contents.items()})
        return adapter

    def stop(self) -> None:
        self.state.release.set()
        self._server.stop(0).wait()
