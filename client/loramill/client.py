"""The synchronous client: one method per thing that a caller can ask for.

    with Client("127.0.0.1:50051") as client:
        dataset = client.upload_dataset(Path("photos"))
        spec = v1.TrainingSpec(base_model="baseModels/shapes", dataset=v1.DatasetSpec(dataset=dataset.name))
        job = client.create_job(spec)
        for job in client.watch_job(job.name):
            print(job.progress.step)

Names are given as `trainingJobs/x` or `x`. Errors are of the tree in `loramill.errors`. Threads may share a client.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from typing import TYPE_CHECKING, Self

from loramill import errors, v1
from loramill.calls import LONG_SECONDS, Calls
from loramill.channel import address_or_default
from loramill.credentials import Credentials
from loramill.direct import Direct
from loramill.inputs.describe import record_of
from loramill.inputs.layouts import read_input
from loramill.inputs.local import open_local
from loramill.names import ADAPTERS, BASES, DATASETS, JOBS, full_name
from loramill.previews import Picture, pictures
from loramill.transfer import adapter_messages, described, save_download, save_result, upload_messages
from loramill.upload import LocalFile, UploadProgress, on_disk, upload_files
from loramill.v1.adapter_service_pb2_grpc import AdapterServiceStub
from loramill.v1.base_model_service_pb2_grpc import BaseModelServiceStub
from loramill.v1.dataset_service_pb2_grpc import DatasetServiceStub
from loramill.v1.training_service_pb2_grpc import TrainingServiceStub
from loramill.watch import Patience, watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from loramill.inputs.result import Input, InputFile, Layout
    from loramill.inputs.source import Source

PAGE_SIZE = 100
_FIRST_LOOK_S = 0.05


class Client:
    """A connection to one service."""

    def __init__(
        self,
        address: str | None = None,
        *,
        credentials: Credentials | None = None,
        patience: Patience | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`address` is host:port; without one the environment's LORAMILL_SERVER, else 127.0.0.1:50051. Without `credentials`
        those of the environment (`Credentials.from_environment`).

        It connects with the first call, so that only that can find the service Unreachable. Raises CredentialsError for what
        cannot be read, and for a token that would be sent to another machine without TLS.
        """
        credentials = credentials or Credentials.from_environment()
        self._calls = Calls(address_or_default(address), credentials)
        self._patience = patience or Patience()
        self._sleep = sleep
        self._training = TrainingServiceStub(self._calls.channel)
        self._datasets = DatasetServiceStub(self._calls.channel)
        self._adapters = AdapterServiceStub(self._calls.channel)
        self._bases = BaseModelServiceStub(self._calls.channel)
        self._direct = Direct(self._calls, self._datasets, self._adapters, credentials.ca)

    @property
    def address(self) -> str:
        return self._calls.address

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the connection up; open streams end."""
        self._direct.close()
        self._calls.close()

    # Jobs

    def create_job(
        self, spec: v1.TrainingSpec, *, request_id: str | None = None, validate_only: bool = False
    ) -> v1.TrainingJob:
        """Submits a job. The same `request_id` and spec again return the same job; without one, each call makes one."""
        request = v1.CreateTrainingJobRequest(
            spec=spec, request_id=request_id or _new_request_id(), validate_only=validate_only
        )
        return self._calls.unary(self._training.CreateTrainingJob, request)

    def analyze_concept(
        self, spec: v1.TrainingSpec, *, request_id: str | None = None, validate_only: bool = False
    ) -> v1.TrainingJob:
        """Has it measured what the spec's base already knows of its concept, and so what a job of that spec should be; a job like
        any other, whose `results` are JSON and a page."""
        request = v1.AnalyzeConceptRequest(
            spec=spec, request_id=request_id or _new_request_id(), validate_only=validate_only
        )
        return self._calls.unary(self._training.AnalyzeConcept, request)

    def get_job(self, name: str) -> v1.TrainingJob:
        return self._calls.unary(self._training.GetTrainingJob, v1.GetTrainingJobRequest(name=full_name(JOBS, name)))

    def list_jobs(self, *, states: Iterable[v1.TrainingJobState.ValueType] = ()) -> Iterator[v1.TrainingJob]:
        """Jobs, newest first, fetched page by page as they are asked for; only those in `states` if any are given."""
        request = v1.ListTrainingJobsRequest(page_size=PAGE_SIZE, states=states)
        for page in self._calls.pages(self._training.ListTrainingJobs, request):
            yield from page.training_jobs

    def watch_job(
        self, name: str, *, on_lost: Callable[[errors.Unreachable], None] | None = None
    ) -> Iterator[v1.TrainingJob]:
        """The job as it stands, then each change, until it has ended.

        A connection that is lost after the first answer is made again, and `on_lost` hears of each failure. The job
        does not depend on being watched: whoever stops here may watch it again.
        """
        request = v1.WatchTrainingJobRequest(name=full_name(JOBS, name))
        return watch(
            lambda: self._calls.stream(self._training.WatchTrainingJob, request),
            self._patience,
            self._sleep,
            on_lost or _ignore,
        )

    def cancel_job(self, name: str) -> v1.TrainingJob:
        """Asks for the job's end and returns at once. A job that has ended is returned as it is."""
        request = v1.CancelTrainingJobRequest(name=full_name(JOBS, name))
        return self._calls.unary(self._training.CancelTrainingJob, request)

    def delete_job(self, name: str, *, delete_adapters: bool = False) -> None:
        """Removes an ended job; its adapters stay unless `delete_adapters`."""
        request = v1.DeleteTrainingJobRequest(name=full_name(JOBS, name), delete_adapters=delete_adapters)
        self._calls.unary(self._training.DeleteTrainingJob, request)

    def save_result(self, name: str, path: str, folder: Path, *, overwrite: bool = False) -> Path:
        """Saves a file that a job of another kind than training has made, under the last part of its path, checked by its digest.

        A file of that name with another content is DownloadError unless `overwrite`.
        """
        request = v1.DownloadResultRequest(name=full_name(JOBS, name), path=path)
        messages = self._calls.stream(self._training.DownloadResult, request, timeout=LONG_SECONDS)
        return save_result(messages, folder, overwrite=overwrite)

    def list_metrics(self, name: str, *, after_step: int = 0) -> Iterator[v1.TrainingMetric]:
        """The measurements of a job, by step, fetched page by page."""
        request = v1.ListTrainingMetricsRequest(name=full_name(JOBS, name), after_step=after_step)
        for page in self._calls.pages(self._training.ListTrainingMetrics, request):
            yield from page.metrics

    def get_previews(
        self, name: str, *, after_step: int | None = None, step: int | None = None, plain: bool = False
    ) -> Iterator[Picture]:
        """The pictures that a job has drawn, by step, strength and prompt: of later steps than `after_step`, or of one `step`.

        `plain` ones are those without the adapter and at strength 1. A stream that breaks off is DownloadError.
        """
        request = v1.GetTrainingPreviewsRequest(
            name=full_name(JOBS, name), after_step=after_step, step=step, plain=plain
        )
        return pictures(self._calls.stream(self._training.GetTrainingPreviews, request, timeout=LONG_SECONDS))

    def stream_logs(self, name: str, *, launch: int = 0, follow: bool = False) -> Iterator[str]:
        """Lines of the trainer's log; `launch` 0 is the newest. With `follow`, waits for more until it has ended."""
        request = v1.StreamTrainingLogsRequest(name=full_name(JOBS, name), launch=launch, follow=follow)
        for answer in self._calls.stream(self._training.StreamTrainingLogs, request):
            yield answer.line

    def list_compute_classes(self) -> list[v1.ComputeClass]:
        """What jobs can run on, cheapest first."""
        answer = self._calls.unary(self._training.ListComputeClasses, v1.ListComputeClassesRequest())
        return list(answer.compute_classes)

    def get_admission(self) -> v1.Admission:
        """Whether waiting jobs begin."""
        return self._calls.unary(self._training.GetAdmission, v1.GetAdmissionRequest())

    def set_admission(self, admission: v1.Admission) -> v1.Admission:
        """Holds waiting jobs back, or lets them begin, in the place of all that was set before. For operators."""
        return self._calls.unary(self._training.SetAdmission, v1.SetAdmissionRequest(admission=admission))

    def list_stuck_jobs(self) -> Iterator[v1.StuckJob]:
        """Jobs of all tenants that do not get on, fetched page by page. For operators."""
        for page in self._calls.pages(self._training.ListStuckJobs, v1.ListStuckJobsRequest()):
            yield from page.stuck_jobs

    def give_up_launch(self, tenant: str, name: str, launch: int, reason: str) -> v1.TrainingJob:
        """Ends the newest launch of a job in the record, whatever its trainer does; the next one may start. For operators."""
        request = v1.GiveUpLaunchRequest(tenant=tenant, name=full_name(JOBS, name), launch=launch, reason=reason)
        return self._calls.unary(self._training.GiveUpLaunch, request)

    # Datasets

    def create_dataset(
        self,
        display_name: str = "",
        *,
        input: v1.DatasetInput | None = None,
        suggested: v1.SuggestedSpec | None = None,
        request_id: str | None = None,
    ) -> v1.Dataset:
        """Opens an empty dataset; `input` and `suggested` are kept with it, for people and for jobs."""
        dataset = v1.Dataset(display_name=display_name, input=input, suggested=suggested)
        request = v1.CreateDatasetRequest(dataset=dataset, request_id=request_id or _new_request_id())
        return self._calls.unary(self._datasets.CreateDataset, request)

    def import_dataset(
        self,
        source_uri: str,
        display_name: str = "",
        *,
        layout: v1.DatasetLayout.ValueType = v1.DATASET_LAYOUT_UNSPECIFIED,
        caption_column: str = "",
        request_id: str | None = None,
        validate_only: bool = False,
    ) -> v1.Dataset:
        """Has the service make a dataset of what lies at an address that its operator listed.

        The same `request_id` goes on where a call broke off. With `validate_only` nothing is kept.
        """
        request = v1.CreateDatasetRequest(
            dataset=v1.Dataset(display_name=display_name),
            request_id=request_id or _new_request_id(),
            source_uri=source_uri,
            layout=layout,
            caption_column=caption_column,
            validate_only=validate_only,
        )
        return self._calls.unary(self._datasets.CreateDataset, request, timeout=LONG_SECONDS)

    def upload_file(self, dataset: str, file: LocalFile) -> v1.DatasetFile:
        """Adds one file to an open dataset, straight to the object store where that is offered. Again is accepted."""
        name, content = full_name(DATASETS, dataset), described(file.path, file.label)
        sent = self._direct.upload(name, content, file.path)
        if sent is not None:
            return sent
        messages = upload_messages(name, file.path, content)
        return self._calls.upload(self._datasets.UploadFile, messages).file

    def finalize_dataset(self, name: str) -> v1.Dataset:
        """Freezes a dataset; it can be trained on from then on."""
        request = v1.FinalizeDatasetRequest(name=full_name(DATASETS, name))
        return self._calls.unary(self._datasets.FinalizeDataset, request, timeout=LONG_SECONDS)

    def upload_dataset(
        self,
        path: Path,
        display_name: str = "",
        *,
        layout: Layout | None = None,
        caption_column: str = "",
        progress: Callable[[UploadProgress], None] | None = None,
    ) -> v1.Dataset:
        """Uploads a folder, an archive, or the folders of a dataset configuration, and freezes them as a dataset.

        `loramill.inputs` says what is taken and what is not, and finds the layout out unless it is told. Raises InputError with
        everything that is wrong. If anything fails, or the caller interrupts, the unfinished dataset is removed again.
        """
        with open_local(path) as (source, configuration):
            found = read_input(source, configuration, layout=layout, caption_column=caption_column)
            return self.upload_input(source, found, path.name, display_name, progress=progress)

    def upload_input(
        self,
        source: Source,
        found: Input,
        origin: str = "",
        display_name: str = "",
        *,
        progress: Callable[[UploadProgress], None] | None = None,
    ) -> v1.Dataset:
        """As `upload_dataset`, for what has been read; `origin` is the name that the dataset keeps of where it lay."""
        dataset = self.create_dataset(display_name, input=record_of(found, origin), suggested=found.suggested)

        def upload(file: InputFile) -> None:
            with on_disk(source, file) as local:
                self.upload_file(dataset.name, local)

        try:
            upload_files(found.files, upload, progress or _ignore)
            return self.finalize_dataset(dataset.name)
        except BaseException:
            with contextlib.suppress(errors.ClientError):
                self.delete_dataset(dataset.name)
            raise

    def get_dataset(self, name: str) -> v1.Dataset:
        return self._calls.unary(self._datasets.GetDataset, v1.GetDatasetRequest(name=full_name(DATASETS, name)))

    def list_datasets(self) -> Iterator[v1.Dataset]:
        """Datasets, newest first, fetched page by page."""
        request = v1.ListDatasetsRequest(page_size=PAGE_SIZE)
        for page in self._calls.pages(self._datasets.ListDatasets, request):
            yield from page.datasets

    def dataset_report(
        self, name: str, format: v1.DatasetReportFormat.ValueType = v1.DATASET_REPORT_FORMAT_TEXT
    ) -> tuple[v1.DatasetReport, bytes]:
        """What the newest job on a dataset found in it: which job it was, and the report in UTF-8.

        A report that breaks off is DownloadError.
        """
        request = v1.GetDatasetReportRequest(name=full_name(DATASETS, name), format=format)
        messages = self._calls.stream(self._datasets.GetDatasetReport, request, timeout=LONG_SECONDS)
        report, content = next(messages).report, b"".join(message.data for message in messages)
        if len(content) != report.size_bytes:
            raise errors.DownloadError(
                f"The report of {name} ended after {len(content)} of {report.size_bytes} bytes; fetch it again."
            )
        return report, content

    def create_dataset_report(
        self, spec: v1.TrainingSpec, *, request_id: str | None = None, validate_only: bool = False
    ) -> v1.TrainingJob:
        """Has a report of the spec's dataset made without training, by asking its base model; a job like any other."""
        request = v1.CreateDatasetReportRequest(
            spec=spec, request_id=request_id or _new_request_id(), validate_only=validate_only
        )
        return self._calls.unary(self._datasets.CreateDatasetReport, request)

    def caption_dataset(
        self,
        name: str,
        captioner: str,
        captioning: v1.CaptioningSpec | None = None,
        *,
        compute_class: str = "",
        request_id: str | None = None,
        validate_only: bool = False,
    ) -> v1.TrainingJob:
        """Has the pictures of a dataset captioned that lack one, by a model that the operator imported; a job like any other."""
        request = v1.CaptionDatasetRequest(
            name=full_name(DATASETS, name),
            captioner=full_name(BASES, captioner),
            captioning=captioning,
            compute_class=compute_class,
            request_id=request_id or _new_request_id(),
            validate_only=validate_only,
        )
        return self._calls.unary(self._datasets.CaptionDataset, request)

    def create_captioned_dataset(
        self,
        job: str,
        display_name: str = "",
        *,
        captions: Mapping[str, str] | None = None,
        request_id: str | None = None,
    ) -> v1.Dataset:
        """A new dataset of the one that a job captioned, and its captions; `captions` are those that people have changed, by the
        picture's path. The same `request_id` goes on where a call broke off."""
        request = v1.CreateDatasetRequest(
            dataset=v1.Dataset(display_name=display_name),
            captioning_job=full_name(JOBS, job),
            captions=captions,
            request_id=request_id or _new_request_id(),
        )
        return self._calls.unary(self._datasets.CreateDataset, request, timeout=LONG_SECONDS)

    def delete_dataset(self, name: str) -> None:
        request = v1.DeleteDatasetRequest(name=full_name(DATASETS, name))
        self._calls.unary(self._datasets.DeleteDataset, request)

    # Adapters

    def get_adapter(self, name: str) -> v1.Adapter:
        return self._calls.unary(self._adapters.GetAdapter, v1.GetAdapterRequest(name=full_name(ADAPTERS, name)))

    def list_adapters(self, *, job: str = "") -> Iterator[v1.Adapter]:
        """Adapters, newest job first, fetched page by page; only those of `job` if one is given."""
        request = v1.ListAdaptersRequest(page_size=PAGE_SIZE, training_job=full_name(JOBS, job) if job else "")
        for page in self._calls.pages(self._adapters.ListAdapters, request):
            yield from page.adapters

    def download_adapter(
        self,
        name: str,
        folder: Path,
        *,
        format: v1.AdapterFormat.ValueType = v1.ADAPTER_FORMAT_UNSPECIFIED,
        file_name: str = "",
        overwrite: bool = False,
    ) -> Path:
        """Saves one file of an adapter in `folder` under its own name, checked by its digest, and returns the path.

        Which one is told by `format` (kohya's by default) or by `file_name`. PEFT's directories are unpacked; the path is then
        the folder that holds them. A file of that name with another content is DownloadError unless `overwrite`.
        """
        request = v1.DownloadAdapterRequest(name=full_name(ADAPTERS, name), format=format, file_name=file_name)
        messages = self._direct.download(request)
        if messages is None:
            messages = self._calls.stream(self._adapters.DownloadAdapter, request, timeout=LONG_SECONDS)
        return save_download(messages, folder, overwrite=overwrite)

    def upload_adapter(self, path: Path, *, request_id: str | None = None) -> v1.Adapter:
        """Brings a safetensors adapter from elsewhere, for jobs to go on from. The same `request_id` and file again return
        the same adapter. A file that is not there is FileError."""
        if not path.is_file():
            what = "is no file" if path.exists() else "does not exist"
            raise errors.FileError(f"{path} {what}; give a .safetensors file.")
        messages = adapter_messages(path, request_id or _new_request_id())
        return self._calls.upload(self._adapters.UploadAdapter, messages)

    def preferred_adapter(self, job: str) -> v1.Adapter:
        """The adapter of a job that was promoted last, else the final one. Raises DownloadError where it has none."""
        for adapter in self.list_adapters(job=job):
            if adapter.preferred:
                return adapter
        raise errors.DownloadError(
            f"{full_name(JOBS, job)} has no final adapter yet; download a numbered one by its own name."
        )

    def promote_adapter(self, name: str) -> v1.Adapter:
        """Makes it its job's preferred adapter."""
        return self._calls.unary(
            self._adapters.PromoteAdapter, v1.PromoteAdapterRequest(name=full_name(ADAPTERS, name))
        )

    def delete_adapter(self, name: str) -> None:
        """Removes an adapter in every format."""
        request = v1.DeleteAdapterRequest(name=full_name(ADAPTERS, name))
        self._calls.unary(self._adapters.DeleteAdapter, request)

    # Base models

    def get_base(self, name: str) -> v1.BaseModel:
        return self._calls.unary(self._bases.GetBaseModel, v1.GetBaseModelRequest(name=full_name(BASES, name)))

    def list_bases(self) -> Iterator[v1.BaseModel]:
        """Base models by name, fetched page by page."""
        request = v1.ListBaseModelsRequest(page_size=PAGE_SIZE)
        for page in self._calls.pages(self._bases.ListBaseModels, request):
            yield from page.base_models

    def import_base(
        self, base_model_id: str, source_uri: str, *, license: str = "", vae: str = "", variant: str = ""
    ) -> v1.BaseModel:
        """Has the service import a base model from an address that its operator listed; `vae` is another VAE's.

        What takes longer than some seconds goes on by itself: the answer's `last_import` is RUNNING then, see `watch_import`.
        """
        request = v1.ImportBaseModelRequest(
            base_model_id=base_model_id, source_uri=source_uri, license=license, vae_source_uri=vae, variant=variant
        )
        return self._calls.unary(self._bases.ImportBaseModel, request, timeout=LONG_SECONDS)

    def watch_import(self, base: v1.BaseModel, *, look_every: float = 2.0) -> Iterator[v1.BaseModel]:
        """The base model as it stands, then again and again until its newest import has ended: often at first, then every
        `look_every` seconds."""
        yield base
        wait = min(_FIRST_LOOK_S, look_every)
        while base.last_import.state == v1.BASE_MODEL_IMPORT_STATE_RUNNING:
            self._sleep(wait)
            wait = min(2 * wait, look_every)
            base = self.get_base(base.name)
            yield base

    def inspect_tokens(self, base: str, caption: str, *, max_tokens: int = 0) -> v1.InspectTokensResponse:
        """How each text encoder of a base model reads a caption; `max_tokens` as in a spec's `text`, 0 for its default."""
        request = v1.InspectTokensRequest(name=full_name(BASES, base), caption=caption, max_tokens=max_tokens)
        return self._calls.unary(self._bases.InspectTokens, request)


def _new_request_id() -> str:
    return str(uuid.uuid4())


def _ignore(_: object) -> None:
    """Takes a report that nobody asked for."""
