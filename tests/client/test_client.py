from __future__ import annotations

import hashlib
import io
import json
import socket
import threading
import zipfile
from pathlib import Path

import pytest

from loramill import errors, v1
from loramill.calls import Calls
from loramill.channel import REPEATABLE, address_or_default, service_config
from loramill.client import Client
from loramill.credentials import Credentials
from loramill.upload import UploadProgress
from loramill.watch import Patience, watch
from tests.client.fake_service import BREAK, HOLD, FakeService

RUNNING, SUCCEEDED = v1.TRAINING_JOB_STATE_RUNNING, v1.TRAINING_JOB_STATE_SUCCEEDED
SPEC = v1.TrainingSpec(base_model="baseModels/shapes", dataset=v1.DatasetSpec(dataset="datasets/abc"))


def at_step(step: int, state: v1.TrainingJobState.ValueType = RUNNING) -> v1.TrainingJob:
    progress = v1.Progress(phase=v1.PHASE_TRAINING, step=step, steps=10)
    return v1.TrainingJob(state=state, progress=progress)


def test_create_is_repeated_with_one_request_id(service: FakeService, client: Client) -> None:
    service.state.fail_first = {"CreateTrainingJob": 2}
    job = client.create_job(SPEC)
    assert job.name == "trainingJobs/job1"
    assert len(service.state.jobs) == 1
    ids = [request.request_id for request in service.state.requests]
    assert len(ids) == 3
    assert len(set(ids)) == 1
    assert ids[0]


def test_each_create_has_its_own_request_id(service: FakeService, client: Client) -> None:
    client.create_job(SPEC)
    client.create_job(SPEC)
    client.create_dataset("a")
    assert len({request.request_id for request in service.state.requests}) == 3


def test_delete_is_not_repeated(service: FakeService, client: Client) -> None:
    service.add_job(SUCCEEDED)
    service.state.fail_first = {"DeleteTrainingJob": 1}
    with pytest.raises(errors.Unreachable):
        client.delete_job("job1")
    assert len(service.state.requests) == 1


def test_every_call_is_either_repeatable_or_a_delete() -> None:
    modules = (v1.training_service_pb2, v1.dataset_service_pb2, v1.adapter_service_pb2, v1.base_model_service_pb2)
    services = [service for module in modules for service in module.DESCRIPTOR.services_by_name.values()]
    rest = {
        method.name
        for service in services
        for method in service.methods
        if method.name not in REPEATABLE[service.full_name]
    }
    assert rest == {"DeleteTrainingJob", "DeleteDataset", "DeleteAdapter"}
    named = [entry["method"] for config in json.loads(service_config())["methodConfig"] for entry in config["name"]]
    assert len(named) == len(set(named)) == sum(len(service.methods) for service in services) - 3


@pytest.mark.parametrize("name", ["job1", "trainingJobs/job1", " job1 "])
def test_names_may_be_short(service: FakeService, client: Client, name: str) -> None:
    service.add_job(RUNNING)
    assert client.get_job(name).name == "trainingJobs/job1"


def test_lists_turn_pages(service: FakeService, client: Client) -> None:
    for number in range(5):
        service.add_job(SUCCEEDED if number % 2 else RUNNING, f"job{number}")
    assert len(list(client.list_jobs())) == 5
    assert [job.name[-1] for job in client.list_jobs(states=[SUCCEEDED])] == ["1", "3"]
    service.state.metrics = [v1.TrainingMetric(step=step) for step in range(1, 8)]
    assert [metric.step for metric in client.list_metrics("job1", after_step=2)] == [3, 4, 5, 6, 7]


def test_watch_goes_on_after_a_lost_connection(service: FakeService, client: Client) -> None:
    service.add_job(RUNNING)
    service.state.scripts = [
        [at_step(1), BREAK],
        [at_step(2)],
        [BREAK],
        [at_step(3), at_step(3, SUCCEEDED), at_step(4)],
    ]
    lost: list[errors.Unreachable] = []
    jobs = list(client.watch_job("job1", on_lost=lost.append))
    assert [job.progress.step for job in jobs] == [1, 2, 3, 3]
    assert jobs[-1].state == SUCCEEDED
    assert len(lost) >= 2


def test_watch_of_a_missing_job_fails_at_once(client: Client) -> None:
    with pytest.raises(errors.NotFound, match="trainingJobs/none does not exist"):
        list(client.watch_job("none"))


def test_leaving_a_watch_ends_the_call(service: FakeService, client: Client) -> None:
    service.add_job(RUNNING)
    service.state.scripts = [[at_step(1), HOLD]]
    jobs = client.watch_job("job1")
    assert next(jobs).progress.step == 1
    assert service.state.watching.wait(10)
    jobs.close()
    assert service.state.release.wait(10)  # the service noticed that the caller left


def test_watch_gives_up_when_patience_ends() -> None:
    def stream():
        yield from opened.pop(0)
        raise errors.Unreachable("gone")

    opened = [[v1.WatchTrainingJobResponse(training_job=at_step(1))], *[[] for _ in range(99)]]
    slept: list[float] = []
    with pytest.raises(errors.Unreachable, match="gone"):
        list(watch(stream, Patience(first=1, longest=4, total=10), slept.append, lambda _: None))
    assert slept == [1, 2, 4, 4]


def test_watch_of_an_unreachable_service_does_not_wait() -> None:
    def stream():
        raise errors.Unreachable("no service")
        yield

    with pytest.raises(errors.Unreachable):
        list(watch(stream, Patience(), pytest.fail, pytest.fail))


def test_upload(service: FakeService, client: Client, pictures: Path) -> None:
    (pictures / "big.bmp").write_bytes(b"0123456789" * 300_000)
    seen: list[UploadProgress] = []
    dataset = client.upload_dataset(pictures, "Cats", progress=seen.append)
    stored = service.state.contents[dataset.name]
    where = {"10_cat/c.txt": "10_cat/c.caption"}
    assert sorted(stored) == ["10_cat/c.txt", "10_cat/c.webp", "a.png", "a.txt", "b.JPG", "big.bmp"]
    assert all((pictures / where.get(label, label)).read_bytes() == content for label, content in stored.items())
    assert dataset.state == v1.DATASET_STATE_FINALIZED
    assert dataset.display_name == "Cats"
    assert [progress.files_done for progress in seen] == list(range(7))
    assert seen[-1].bytes_done == seen[-1].bytes == sum(map(len, stored.values()))


def test_what_was_read_is_kept_with_the_dataset(service: FakeService, client: Client, pictures: Path) -> None:
    client.upload_dataset(pictures)
    sent = service.state.requests[0].dataset
    assert (sent.input.pictures, sent.input.captions) == (3, 2)
    assert sent.input.layout == v1.DATASET_LAYOUT_KOHYA_FOLDERS
    assert [subset.path_prefix for subset in sent.suggested.dataset.subsets] == ["", "10_cat/"]


def test_captions_of_metadata_are_sent_as_files(service: FakeService, client: Client, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "a cât"}')
    dataset = client.upload_dataset(tmp_path)
    assert service.state.contents[dataset.name] == {"a.png": b"a", "a.txt": "a cât".encode()}


def test_an_archive_is_sent_file_by_file(service: FakeService, client: Client, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "cats.zip", "w") as archive:
        archive.writestr("a.png", b"a" * 100_000)
        archive.writestr("a.txt", "a cat")
    dataset = client.upload_dataset(tmp_path / "cats.zip")
    assert service.state.contents[dataset.name] == {"a.png": b"a" * 100_000, "a.txt": b"a cat"}


def test_a_failed_upload_leaves_no_dataset(service: FakeService, client: Client, pictures: Path) -> None:
    (pictures / "refused.png").write_bytes(b"x")
    with pytest.raises(errors.InvalidRequest, match=r"refused\.png is refused"):
        client.upload_dataset(pictures)
    assert not service.state.datasets


def test_an_interrupted_upload_leaves_no_dataset(service: FakeService, client: Client, pictures: Path) -> None:
    def interrupt(progress: UploadProgress) -> None:
        if progress.files_done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.upload_dataset(pictures, progress=interrupt)
    assert service.state.contents
    assert not service.state.datasets


CONTENT = b"weights" * 1000


def add_adapter(service: FakeService, file_name: str = "adapter.safetensors") -> None:
    service.add_adapter("job1-final", {file_name: (v1.ADAPTER_FORMAT_KOHYA, CONTENT)})


def test_download(service: FakeService, client: Client, tmp_path: Path) -> None:
    add_adapter(service)
    path = client.download_adapter("job1-final", tmp_path / "new/folder")
    assert path == tmp_path / "new/folder/adapter.safetensors"
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert client.download_adapter("adapters/job1-final", path.parent) == path  # the same file again is fine


def test_damaged_download_leaves_nothing(service: FakeService, client: Client, tmp_path: Path) -> None:
    add_adapter(service)
    service.state.damage = True
    with pytest.raises(errors.DownloadError, match=hashlib.sha256(CONTENT).hexdigest()):
        client.download_adapter("job1-final", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_truncated_download_leaves_nothing(service: FakeService, client: Client, tmp_path: Path) -> None:
    add_adapter(service)
    contents = service.state.adapters["adapters/job1-final"][1]
    contents["adapter.safetensors"] = CONTENT[:-1]
    with pytest.raises(errors.DownloadError, match="arrived with 6999 bytes instead of 7000"):
        client.download_adapter("job1-final", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_download_keeps_what_is_there(service: FakeService, client: Client, tmp_path: Path) -> None:
    add_adapter(service)
    mine = tmp_path / "adapter.safetensors"
    mine.write_bytes(b"mine")
    with pytest.raises(errors.DownloadError, match="exists with another content"):
        client.download_adapter("job1-final", tmp_path)
    assert mine.read_bytes() == b"mine"
    assert client.download_adapter("job1-final", tmp_path, overwrite=True).read_bytes() == CONTENT


def zipped(contents: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return packed.getvalue()


def test_pefts_directories_are_unpacked(service: FakeService, client: Client, tmp_path: Path) -> None:
    archive = zipped({"unet/config.json": b"{}", "text_encoder/config.json": b"[]"})
    service.add_adapter("job1-final", {"mine.peft.zip": (v1.ADAPTER_FORMAT_PEFT, archive)})
    for _ in range(2):  # the same again is fine
        folder = client.download_adapter("job1-final", tmp_path, format=v1.ADAPTER_FORMAT_PEFT)
        assert folder == tmp_path / "mine.peft"
        assert [entry.name for entry in tmp_path.iterdir()] == ["mine.peft"]
        assert (folder / "unet/config.json").read_bytes() == b"{}"
    (folder / "unet/config.json").write_bytes(b"mine")
    with pytest.raises(errors.DownloadError, match="exists with another content"):
        client.download_adapter("job1-final", tmp_path, file_name="mine.peft.zip")
    client.download_adapter("job1-final", tmp_path, file_name="mine.peft.zip", overwrite=True)
    assert (folder / "unet/config.json").read_bytes() == b"{}"


def test_a_damaged_zip_is_not_unpacked(service: FakeService, client: Client, tmp_path: Path) -> None:
    service.add_adapter("job1-final", {"mine.peft.zip": (v1.ADAPTER_FORMAT_PEFT, b"PK no zip")})
    with pytest.raises(errors.DownloadError, match="damaged zip"):
        client.download_adapter("job1-final", tmp_path, format=v1.ADAPTER_FORMAT_PEFT)
    service.state.damage = True
    with pytest.raises(errors.DownloadError, match="arrived damaged"):
        client.download_adapter("job1-final", tmp_path, format=v1.ADAPTER_FORMAT_PEFT)
    assert list(tmp_path.iterdir()) == []


def test_an_upload_of_an_adapter_is_repeated_with_one_request_id(
    service: FakeService, client: Client, tmp_path: Path
) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(CONTENT)
    service.state.fail_first = {"UploadAdapter": 2}
    assert client.upload_adapter(file, request_id="once") == client.upload_adapter(file, request_id="once")
    assert list(service.state.adapters) == ["adapters/up1-upload"]


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/b", "a\\b", ".bashrc", "", "..", "a\x1bb"])
def test_download_refuses_names_that_lead_elsewhere(
    service: FakeService, client: Client, tmp_path: Path, name: str
) -> None:
    add_adapter(service, name)
    with pytest.raises(errors.DownloadError, match="no plain file name"):
        client.download_adapter("job1-final", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nobody_answers() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with Client(address) as client, pytest.raises(errors.Unreachable, match=f"at {address}.*service --local"):
            client.get_job("x")


@pytest.mark.parametrize("address", ["127.0.0.1:50051", "localhost:1", "[::1]:65535", "loramill.example:443"])
def test_addresses(address: str) -> None:
    assert address_or_default(address) == address


@pytest.mark.parametrize("address", ["localhost", "http://localhost:1", "host:0", "host:65536", "::1:3", "a b:1", ":1"])
def test_no_addresses(address: str) -> None:
    with pytest.raises(errors.AddressError, match="must be host:port"):
        address_or_default(address)


def test_a_proxy_is_not_used_on_this_machine(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with Client(service.address) as client:
        assert list(client.list_datasets()) == []


class _Call:
    """A stream that notes which thread touches it."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def __call__(self, _: object, **__: object) -> _Call:
        self._note()
        return self

    def __next__(self) -> str:
        self._note()
        return "answer"

    def cancel(self) -> None:
        self._note()

    def _note(self) -> None:
        self.threads.append(threading.current_thread())


def test_the_main_thread_never_enters_grpc(service: FakeService) -> None:
    call = _Call()
    calls = Calls(service.address, Credentials())
    calls.unary(call, "request")
    calls.upload(call, iter(()))
    stream = calls.stream(call, "request")
    assert next(stream) == "answer"
    stream.close()
    calls.close()
    assert len(call.threads) == 5
    assert threading.main_thread() not in call.threads
