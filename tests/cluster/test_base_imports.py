"""Base models imported by Jobs of their own, from a hub and from a bucket, and trained on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from loramill import errors, v1
from loramill.client import Client
from tests.cluster.installed import Installed
from tests.cluster.private_service import PrivateService, private_service
from tests.cluster.training import draw_pictures, finished, job_spec
from tests.service.importing.fake_hub import Hub, running_hub
from tests.trainer.tiny_captioners import make_tagger

SHAPES = Path("trainer/builtin/shapes/base")
TOKEN = "hf_of_this_test"
BUCKET_FOLDER = "models/shapes"
"""Below the private service's prefix, so that it goes with it."""


def secret(service: PrivateService, name: str, values: dict[str, str]) -> None:
    found = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}
    service.installed.kubectl("--namespace", service.namespace, "apply", "-f", "-", text=json.dumps(found))


def imported(client: Client, base: v1.BaseModel) -> v1.BaseModel:
    (*_, last) = client.watch_import(base, look_every=0.5)
    return last


def restart_with_imports(service: PrivateService, installed: Installed, hub: Hub) -> None:
    secret(service, "hub-token", {"token": TOKEN})
    secret(service, "imports", installed.s3.environment)
    service.stop()
    service.configure(
        imports={
            "image": installed.service_image,
            "image_pull_policy": "IfNotPresent",
            "storage_secret": "imports",
            "hub": {"endpoint": hub.endpoint, "token": {"secret": "hub-token"}},
            "buckets": [f"{service.store.uri}models/"],
            "ephemeral_storage": "2Gi",
            "memory": "512Mi",
            "cpu": "500m",
        }
    )
    service.start()


@pytest.fixture(scope="module")
def hub(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """On the address at which pods reach the machine."""
    tagger = tmp_path_factory.mktemp("tagger")
    make_tagger(tagger)
    with running_hub(str(urlsplit(installed.s3.endpoint).hostname)) as hub:
        hub.add_folder("art/shapes", SHAPES, token=TOKEN)
        hub.add_folder("art/tagger", tagger, token=TOKEN)
        yield hub


def test_jobs_import_from_a_hub_and_from_a_bucket_and_trainers_need_neither(
    installed: Installed, hub: Hub, tmp_path: Path
) -> None:
    with private_service(installed, tmp_path) as service:
        for path in SHAPES.rglob("*"):
            if path.is_file():
                service.store.put_new(f"{BUCKET_FOLDER}/{path.relative_to(SHAPES).as_posix()}", path.read_bytes())
        restart_with_imports(service, installed, hub)
        with service.client() as client:
            begun = [
                client.import_base("of-the-hub", "hf://art/shapes@main"),
                client.import_base("of-the-bucket", f"{service.store.uri}{BUCKET_FOLDER}"),
            ]
            ended = [imported(client, base) for base in begun]
            assert [base.state for base in ended] == [v1.BASE_MODEL_STATE_READY] * 2, ended
            assert len({base.digest for base in ended}) == 1
            jobs = [found["metadata"]["name"] for found in service.objects("jobs")]
            assert sum(name.startswith("loramill-import-") for name in jobs) == 2
            asked_by_then = len(hub.requests)
            pictures = tmp_path / "pictures"
            pictures.mkdir()
            dataset = client.upload_dataset(draw_pictures(pictures)).name
            spec = job_spec(dataset)
            spec.base_model = ended[0].name
            job = finished(client, client.create_job(spec).name)
            assert job.adapters, job.state_message
            assert len(hub.requests) == asked_by_then


def test_an_imported_model_captions_pictures(installed: Installed, hub: Hub, tmp_path: Path) -> None:
    with private_service(installed, tmp_path) as service:
        restart_with_imports(service, installed, hub)
        with service.client() as client:
            captioner = imported(client, client.import_base("tagger", "hf://art/tagger@main"))
            assert captioner.state == v1.BASE_MODEL_STATE_READY, captioner
            pictures = tmp_path / "pictures"
            pictures.mkdir()
            (draw_pictures(pictures) / "1.txt").unlink()
            dataset = client.upload_dataset(pictures).name
            wanted = v1.CaptioningSpec(threshold=0.6)
            job = finished(client, client.caption_dataset(dataset, captioner.name, wanted, compute_class="gpu").name)
            assert job.state == v1.TRAINING_JOB_STATE_SUCCEEDED, job.state_message
            (found,) = (file.path for file in job.results if file.path.endswith(".jsonl"))
            rows = [json.loads(row) for row in client.save_result(job.name, found, tmp_path).read_text().splitlines()]
            assert [(row["path"], row["caption"]) for row in rows] == [("1.png", "cat, long hair")]
            assert client.get_dataset(client.create_captioned_dataset(job.name).name).file_count == 8


def test_what_cannot_be_imported_is_told_by_the_job(installed: Installed, hub: Hub, tmp_path: Path) -> None:
    hub.add("art/nothing", {"README.md": b"no model"})
    with private_service(installed, tmp_path) as service:
        restart_with_imports(service, installed, hub)
        with service.client() as client, pytest.raises(errors.InvalidRequest, match="neither model_index"):
            client.import_base("nothing", "hf://art/nothing@main")
