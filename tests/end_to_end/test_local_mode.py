"""The whole path with real parts: photographs and a base of SD1.5's layout at 256 pixels, over gRPC, to an adapter."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import grpc
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from loramill import v1
from loramill.client import Client
from loramill.errors import ClientError
from loramill.v1.training_service_pb2_grpc import TrainingServiceStub
from tests.end_to_end.collector import Collector, collector
from tests.end_to_end.running import RunningService, wait_until
from tests.trainer.tiny_base import make_tiny_base

TRACE, CALLER = "5" * 32, "7" * 16
PHOTOGRAPHS = ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg")


def photograph_folder() -> Path:
    spec = find_spec("skimage")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base whose pictures are 256 pixels wide."""
    folder = tmp_path_factory.mktemp("models")
    base = make_tiny_base(folder / "tiny256")
    config = base / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "sample_size": 32}))
    return folder


@pytest.fixture(scope="module")
def spans() -> Iterator[Collector]:
    with collector() as found:
        yield found


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, models: Path, spans: Collector) -> Iterator[RunningService]:
    traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": spans.address, "OTEL_BSP_SCHEDULE_DELAY": "200"}
    running = RunningService(tmp_path_factory.mktemp("loramill") / "data", models, models / "tiny256", traced)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def dataset(service: RunningService, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Photographs of several sizes and shapes, with captions beside them, uploaded as a user would."""
    folder = tmp_path_factory.mktemp("photographs")
    for name in PHOTOGRAPHS:
        picture = Image.open(photograph_folder() / name)
        picture.thumbnail((400, 400))
        picture.save(folder / name)
        (folder / name).with_suffix(".txt").write_text(f"a photograph of {name.partition('.')[0]}")
    return service.client.upload_dataset(folder).name


def spec(dataset: str) -> v1.TrainingSpec:
    return v1.TrainingSpec(
        base_model="baseModels/tiny256",
        dataset=v1.DatasetSpec(dataset=dataset),
        concept=v1.ConceptSpec(kind=v1.CONCEPT_KIND_NEW, activation_tag="qzx"),
        adapter=v1.AdapterSpec(rank=4, alpha=2),
        text_encoder=v1.TargetSpec(train=True),
        optimization=v1.OptimizationSpec(steps=12, batch_size=2, seed=3),
        previews=v1.PreviewSpec(prompts=[v1.PreviewPrompt(prompt="[tag], a cat")], inference_steps=2),
        checkpoints=v1.CheckpointSpec(every_steps=2),
        outputs=v1.OutputSpec(name="photographs"),
    )


@pytest.fixture(scope="module")
def trained(service: RunningService, models: Path, dataset: str) -> v1.TrainingJob:
    """An uninterrupted job."""
    base = service.client.import_base("tiny256", (models / "tiny256").as_uri(), license="Apache-2.0")
    assert (base.family, base.resolution) == ("sd15", 256)
    with grpc.insecure_channel(service.client.address) as channel:
        request = v1.CreateTrainingJobRequest(spec=spec(dataset))
        caller = (("traceparent", f"00-{TRACE}-{CALLER}-01"),)
        job = TrainingServiceStub(channel).CreateTrainingJob(request, metadata=caller)
    return service.finished(job.name)


def test_one_trace_leads_from_the_call_to_the_first_step(trained: v1.TrainingJob, spans: Collector) -> None:
    job = trained.name.rpartition("/")[2]
    wait_until("the last spans", lambda: ("loramill-trainer", "begin run") in spans.of_trace(TRACE), 20)
    found = spans.of_trace(TRACE)
    call = found["loramill-service", "loramill.v1.TrainingService/CreateTrainingJob"]
    assert call.parent_span_id.hex() == CALLER
    for part in ("validate", "create record", "complete job", "launch"):
        assert found["loramill-service", part].parent_span_id == call.span_id
    begun = found["loramill-trainer", "begin run"]
    assert begun.parent_span_id == found["loramill-service", "launch"].span_id
    assert {(about.key, about.value.string_value) for about in begun.attributes} >= {("loramill.job", job)}
    parts = ("claim", "start", "checking data", "loading model", "encoding", "training")
    phases = [found["loramill-trainer", part] for part in parts]
    assert all(phase.parent_span_id == begun.span_id for phase in phases)
    times = [call.start_time_unix_nano, begun.start_time_unix_nano, *(phase.start_time_unix_nano for phase in phases)]
    assert times == sorted(times)
    assert begun.end_time_unix_nano >= phases[-1].end_time_unix_nano


def adapter_of(client: Client, job: v1.TrainingJob) -> v1.Adapter:
    return client.get_adapter(job.adapters[-1])


def test_photographs_become_an_adapter_that_diffusers_loads(
    service: RunningService, trained: v1.TrainingJob, models: Path, tmp_path: Path
) -> None:
    assert trained.state == v1.TRAINING_JOB_STATE_SUCCEEDED, trained.state_message
    adapter = adapter_of(service.client, trained)
    files = {file.format: file for file in adapter.files}
    assert set(files) == {
        v1.ADAPTER_FORMAT_KOHYA,
        v1.ADAPTER_FORMAT_DIFFUSERS,
        v1.ADAPTER_FORMAT_PEFT,
        v1.ADAPTER_FORMAT_CONTACT_SHEET,
        v1.ADAPTER_FORMAT_MODEL_CARD,
        v1.ADAPTER_FORMAT_REPORT,
    }
    for format_, file in files.items():
        path = service.client.download_adapter(adapter.name, tmp_path, format=format_)
        if format_ == v1.ADAPTER_FORMAT_PEFT:  # unpacked
            assert {folder.name for folder in path.iterdir()} == {"unet", "text_encoder"}
        else:
            assert path.stat().st_size == file.size_bytes
    uploaded = service.client.upload_adapter(tmp_path / "photographs.safetensors")
    assert (uploaded.rank, uploaded.tensors_sha256) == (adapter.rank, adapter.tensors_sha256)
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(models / "tiny256", safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)

    def drawn() -> torch.Tensor:
        seeded = torch.Generator().manual_seed(0)
        images = pipeline("qzx, a cat", num_inference_steps=2, generator=seeded, output_type="np").images
        return torch.from_numpy(images)

    before = drawn()
    pipeline.load_lora_weights(str(tmp_path), weight_name="photographs.safetensors")
    assert before.shape == (1, 256, 256, 3)
    assert (drawn() - before).abs().max() > 1e-4
    trained_tensors = load_file(tmp_path / "photographs.safetensors")
    assert any(name.startswith("lora_te_") for name in trained_tensors)


def test_progress_and_metrics_are_whole(service: RunningService, trained: v1.TrainingJob) -> None:
    assert [metric.step for metric in service.client.list_metrics(trained.name)] == list(range(1, 13))
    assert trained.progress.step == 12
    lines = list(service.client.stream_logs(trained.name))
    assert any("adapter in place" in line for line in lines)


def test_previews_come_through_the_service(service: RunningService, trained: v1.TrainingJob) -> None:
    pictures = list(service.client.get_previews(trained.name))
    assert [(one.preview.step, one.preview.strength) for one in pictures] == [(0, 0), (12, 0.5), (12, 1), (12, 1.5)]
    assert {(one.preview.prompt, one.size) for one in pictures} == {("qzx, a cat", (256, 256))}
    assert trained.progress.preview_step == 12
    later = service.client.get_previews(trained.name, after_step=0, plain=True)
    assert [one.content for one in later] == [pictures[2].content]


def test_a_killed_trainer_and_a_restarted_service_change_nothing(
    service: RunningService, trained: v1.TrainingJob, dataset: str
) -> None:
    uninterrupted = adapter_of(service.client, trained).tensors_sha256
    job = service.client.create_job(spec(dataset)).name.removeprefix("trainingJobs/")
    wait_until("a checkpoint", lambda: service.checkpoints(job, 1) > 0)
    service.kill_trainer(job, 1)
    wait_until("the second launch", lambda: len(service.client.get_job(job).launches) == 2)
    service.restart()
    ended = service.finished(job)
    assert ended.state == v1.TRAINING_JOB_STATE_SUCCEEDED, ended.state_message
    assert len(ended.launches) == 2
    assert adapter_of(service.client, ended).tensors_sha256 == uninterrupted


def test_a_dataset_that_cannot_be_trained_on_is_named_whole(
    service: RunningService, trained: v1.TrainingJob, tmp_path: Path
) -> None:
    del trained  # the base model is imported
    (tmp_path / "cut.jpg").write_bytes((photograph_folder() / "rocket.jpg").read_bytes()[:3000])
    (tmp_path / "cut.txt").write_text("a rocket")
    Image.new("RGB", (3, 3)).save(tmp_path / "speck.png")
    (tmp_path / "speck.txt").write_text("a speck")
    dataset = service.client.upload_dataset(tmp_path).name
    ended = service.finished(service.client.create_job(spec(dataset)).name)
    assert ended.state == v1.TRAINING_JOB_STATE_FAILED
    assert ended.state_reason == v1.STATE_REASON_USER_ERROR
    assert len(ended.launches) == 1
    assert "cut.jpg" in ended.state_message
    assert "speck.png" in ended.state_message
    assert list(service.client.list_adapters(job=ended.name)) == []


def test_everything_wrong_with_a_spec_is_said_at_once(service: RunningService, dataset: str) -> None:
    wrong = spec(dataset)
    wrong.adapter.rank = 0
    wrong.optimization.batch_size = 100_000
    wrong.base_model = "baseModels/missing"
    with pytest.raises(ClientError) as refused:
        service.client.create_job(wrong)
    said = str(refused.value)
    for field in ("adapter.rank", "optimization.batch_size", "base_model"):
        assert field in said
