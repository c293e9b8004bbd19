"""Jobs that do something else than train: accepted, driven and shown as those that do."""

from __future__ import annotations

import json

import grpc
import pytest

from loramill import v1
from service.keys import BaseKeys, TenantKeys
from store.records import put_record, read_record
from tests.service.api.api import Api, error_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

SUCCEEDED = v1.TRAINING_JOB_STATE_SUCCEEDED


async def open_spec(api: Api) -> v1.TrainingSpec:
    """A spec that says nothing of its concept."""
    spec = await api.spec()
    spec.ClearField("concept")
    return spec


async def downloaded(api: Api, name: str, path: str) -> tuple[v1.ResultFile, bytes]:
    messages = [
        message async for message in api.training.DownloadResult(v1.DownloadResultRequest(name=name, path=path))
    ]
    return messages[0].file, b"".join(message.data for message in messages[1:])


async def test_a_report_is_a_job_whose_files_can_be_downloaded(api: Api) -> None:
    spec = await open_spec(api)
    job = await api.datasets.CreateDatasetReport(v1.CreateDatasetReportRequest(spec=spec))
    assert (job.kind, job.HasField("length")) == (v1.JOB_KIND_DATASET_REPORT, False)
    trainer = await api.launched(job.name)
    assignment = read_record(api.service.store, TenantKeys("local").job(trainer.job).launch(1), v1.Assignment)
    assert assignment is not None
    assert assignment.kind == v1.JOB_KIND_DATASET_REPORT
    assert assignment.spec.dataset.resolution == 64  # filled in as of a job to train
    trainer.claim()
    long = b"<p>" * (1 << 19)
    trainer.end(
        message="Two suggestions.", results={"data-report/report.txt": b"text", "data-report/report.html": long}
    )
    await api.until(job.name, SUCCEEDED)
    ended = await api.get(job.name)
    assert ended.state_message == "Two suggestions."
    assert [file.path for file in ended.results] == ["data-report/report.txt", "data-report/report.html"]
    assert await downloaded(api, job.name, "data-report/report.html") == (ended.results[1], long)
    named = v1.GetDatasetReportRequest(name=spec.dataset.dataset)
    messages = [message async for message in api.datasets.GetDatasetReport(named)]
    assert (messages[0].report.training_job, messages[1].data) == (job.name, b"text")
    answer = await error_of(downloaded(api, job.name, "end.json"))
    assert answer.code == grpc.StatusCode.NOT_FOUND
    assert "it has data-report/report.txt" in answer.message
    listed = await api.training.ListTrainingJobs(v1.ListTrainingJobsRequest(states=[SUCCEEDED]))
    assert job.name in {one.name for one in listed.training_jobs if one.kind == v1.JOB_KIND_DATASET_REPORT}
    await api.training.DeleteTrainingJob(v1.DeleteTrainingJobRequest(name=job.name))
    assert (await error_of(downloaded(api, job.name, "data-report/report.txt"))).code == grpc.StatusCode.NOT_FOUND


async def test_an_analysis_takes_the_spec_of_the_job_to_come(api: Api) -> None:
    spec = await open_spec(api)
    job = await api.training.AnalyzeConcept(v1.AnalyzeConceptRequest(spec=spec))
    assert job.kind == v1.JOB_KIND_CONCEPT_ANALYSIS
    trainer = await api.launched(job.name)
    trainer.claim()
    trainer.end(message="It is new.", results={"concept-analysis/analysis.json": b"{}"})
    await api.until(job.name, SUCCEEDED)
    assert await downloaded(api, job.name, "concept-analysis/analysis.json") == (
        (await api.get(job.name)).results[0],
        b"{}",
    )
    spec.adapter.rank = 0
    answer = await error_of(api.training.AnalyzeConcept(v1.AnalyzeConceptRequest(spec=spec, validate_only=True)))
    assert answer.reasons == {"spec.adapter.rank": "OUT_OF_RANGE"}


async def test_everything_that_is_wrong_with_a_report_is_said_at_once(api: Api) -> None:
    spec = await open_spec(api)
    spec.base_model = "baseModels/none"
    spec.dataset.resolution = 1
    request = v1.CreateDatasetReportRequest(spec=spec, request_id="x" * 201)
    answer = await error_of(api.datasets.CreateDatasetReport(request))
    assert answer.reasons == {
        "request_id": "OUT_OF_RANGE",
        "spec.base_model": "RESOURCE_NOT_FOUND",
        "spec.dataset.resolution": "OUT_OF_RANGE",
    }


async def test_pictures_without_a_word_are_for_the_report_to_name(api: Api) -> None:
    spec = await open_spec(api)
    spec.dataset.dataset = await api.dataset("1.png")
    spec.dataset.subsets.add().captions.source = v1.CAPTION_SOURCE_FILE_OR_FIXED
    await api.datasets.CreateDatasetReport(v1.CreateDatasetReportRequest(spec=spec, validate_only=True))
    answer = await error_of(api.training.CreateTrainingJob(v1.CreateTrainingJobRequest(spec=spec)))
    assert answer.reasons == {"spec.dataset.subsets[0].captions.text": "REQUIRED"}


async def test_a_request_makes_one_job_of_one_kind(api: Api) -> None:
    request = v1.CreateDatasetReportRequest(spec=await api.spec(), request_id="once")
    first = await api.datasets.CreateDatasetReport(request)
    assert (await api.datasets.CreateDatasetReport(request)).name == first.name
    training = v1.CreateTrainingJobRequest(spec=request.spec, request_id="once")
    assert (await error_of(api.training.CreateTrainingJob(training))).code == grpc.StatusCode.ALREADY_EXISTS
    assert (await api.training.CreateTrainingJob(v1.CreateTrainingJobRequest(spec=request.spec))).kind == (
        v1.JOB_KIND_TRAINING
    )
    request.validate_only = True
    checked = await api.datasets.CreateDatasetReport(request)
    assert (checked.name, checked.kind) == ("", v1.JOB_KIND_DATASET_REPORT)


async def test_what_is_being_made_can_be_cancelled(api: Api) -> None:
    job = await api.datasets.CreateDatasetReport(v1.CreateDatasetReportRequest(spec=await api.spec()))
    trainer = await api.launched(job.name)
    trainer.claim()
    await api.training.CancelTrainingJob(v1.CancelTrainingJobRequest(name=job.name))
    await api.until(job.name, v1.TRAINING_JOB_STATE_CANCELLED)
    ended = await api.get(job.name)
    assert (ended.state_message, len(ended.results)) == ("Was cancelled before anything was saved.", 0)


def put_captioner(api: Api, name: str, form: str) -> str:
    model = v1.BaseModel(name=f"baseModels/{name}", family="captioner", caption_form=form, digest="d")
    put_record(api.service.store, BaseKeys(name).record, v1.BaseModelRecord(base_model=model))
    return model.name


def captions(**texts: str) -> bytes:
    rows = [json.dumps({"path": f"{stem}.png", "caption": text}) for stem, text in texts.items()]
    return ("\n".join(rows) + "\n").encode()


async def captioned_job(api: Api, dataset: str, written: bytes) -> str:
    """A job that has captioned; its name."""
    request = v1.CaptionDatasetRequest(name=dataset, captioner=put_captioner(api, "blip", "sentences"))
    request.captioning.prompt = "a photo of"
    job = await api.datasets.CaptionDataset(request)
    trainer = await api.launched(job.name)
    assignment = read_record(api.service.store, TenantKeys("local").job(trainer.job).launch(1), v1.Assignment)
    assert assignment is not None
    assert (assignment.kind, assignment.captioning.prompt) == (v1.JOB_KIND_CAPTIONING, "a photo of")
    assert (assignment.base_model.name, assignment.spec.dataset.dataset) == (request.captioner, dataset)
    trainer.claim()
    trainer.end(results={"captions/captions.jsonl": written})
    await api.until(job.name, SUCCEEDED)
    return job.name


async def test_captions_become_a_new_dataset_and_the_old_one_stays(api: Api) -> None:
    old = await api.dataset("1.png", "2.png", "2.txt", "3.png", "4.png", "5.png")
    job = await captioned_job(api, old, captions(**{"1": "a cat\n on a mat", "3": "a dog", "4": "", "5": "wrong"}))
    request = v1.CreateDatasetRequest(
        captioning_job=job, request_id="c", captions={"3.png": "a brown dog", "5.png": ""}
    )
    new = await api.datasets.CreateDataset(request)
    assert new.state == v1.DATASET_STATE_FINALIZED
    manifest = read_record(
        api.service.store, TenantKeys("local").dataset(new.name.partition("/")[2]).manifest, v1.FileManifest
    )
    assert manifest is not None
    contents = {
        file.path: api.service.store.get(TenantKeys("local").dataset(new.name.partition("/")[2]).blob(file.sha256))
        for file in manifest.files
    }
    assert contents == {
        **{path: path.encode() for path in ("1.png", "2.png", "2.txt", "3.png", "4.png", "5.png")},
        "1.txt": b"a cat on a mat\n",
        "3.txt": b"a brown dog\n",
    }
    assert new.input.notes[-1] == "2 of 4 pictures without a caption got one from a model."
    assert job in new.input.source
    assert (await api.datasets.CreateDataset(request)).name == new.name
    assert (await api.datasets.GetDataset(v1.GetDatasetRequest(name=old))).file_count == 6


async def test_everything_that_is_wrong_with_captioning_is_said_at_once(api: Api) -> None:
    whole = await api.dataset("1.png", "1.txt")
    request = v1.CaptionDatasetRequest(name=whole, captioner=put_captioner(api, "tagger", "tags"), compute_class="h100")
    request.captioning.prompt, request.captioning.threshold = "x" * 1001, 1.5
    answer = await error_of(api.datasets.CaptionDataset(request))
    assert answer.reasons.keys() == {"name", "captioning.prompt", "captioning.threshold", "compute_class"}
    assert answer.reasons["name"] == "NOTHING_TO_DO"
    request = v1.CaptionDatasetRequest(name="datasets/0123456789abcdef", captioner="baseModels/shapes")
    assert (await error_of(api.datasets.CaptionDataset(request))).reasons == {
        "name": "RESOURCE_NOT_FOUND",
        "captioner": "UNSUITABLE_BASE",
    }
    writer = v1.CaptionDatasetRequest(
        name=await api.dataset("1.png"), captioner=put_captioner(api, "blip", "sentences")
    )
    writer.captioning.threshold = 0.5
    assert (await error_of(api.datasets.CaptionDataset(writer))).reasons == {"captioning.threshold": "CONFLICT"}
    spec = await api.spec()
    spec.base_model = "baseModels/blip"
    answer = await error_of(api.training.CreateTrainingJob(v1.CreateTrainingJobRequest(spec=spec)))
    assert answer.reasons == {"spec.base_model": "UNSUITABLE_BASE"}


async def test_a_dataset_is_made_of_captions_that_are_there(api: Api) -> None:
    dataset = await api.dataset("1.png")
    job = await captioned_job(api, dataset, captions(**{"1": "a cat"}))
    unknown = v1.CreateDatasetRequest(captioning_job=job, captions={"9.png": "a dog"})
    assert (await error_of(api.datasets.CreateDataset(unknown))).reasons == {"captions": "RESOURCE_NOT_FOUND"}
    for request, reasons in (
        (v1.CreateDatasetRequest(captions={"1.png": "a dog"}), {"captions": "CONFLICT"}),
        (
            v1.CreateDatasetRequest(captioning_job=job, source_uri="s3://a/b/"),
            {"captioning_job": "CONFLICT", "source_uri": "OUTSIDE_ROOTS"},
        ),
        (v1.CreateDatasetRequest(captioning_job="datasets/x"), {"captioning_job": "INVALID_NAME"}),
    ):
        assert (await error_of(api.datasets.CreateDataset(request))).reasons == reasons
    answer = await error_of(api.datasets.CreateDataset(v1.CreateDatasetRequest(captioning_job=await api.ended_job())))
    assert (answer.code, answer.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NO_CAPTIONS")
    await api.datasets.DeleteDataset(v1.DeleteDatasetRequest(name=dataset))
    gone = await error_of(api.datasets.CreateDataset(v1.CreateDatasetRequest(captioning_job=job)))
    assert gone.code == grpc.StatusCode.NOT_FOUND
