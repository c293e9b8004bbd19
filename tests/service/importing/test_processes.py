"""Imports as processes of their own, as Jobs run them, into and from S3, here moto's; killed half-way."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from loramill import v1
from service.importing.settings import ImportSettings, bucket_of
from service.importing.work import run_import, workshop
from service.keys import BaseKeys
from service.times import to_timestamp, utc_now
from store.open import open_store
from store.records import put_record, read_record
from store.s3_client import make_client
from tests.moto_s3 import moto_keys, moto_s3
from tests.service.api.tiny_base import write_base
from tests.service.importing.fake_hub import running_hub

REPOSITORY = Path(__file__).resolve().parents[3]
PATIENCE = 100.0


@pytest.fixture
def bucket() -> Iterator[str]:
    """An address in an empty bucket."""
    with moto_keys() as environment, moto_s3() as address:
        environment.setenv("AWS_ENDPOINT_URL_S3", address)
        make_client().create_bucket(Bucket="models")
        yield "s3://models/"


def asked(store_uri: str, source: str, number: int) -> None:
    request = v1.ImportBaseModelRequest(base_model_id="mine", source_uri=source)
    record = v1.BaseModelImportRecord(request=request, create_time=to_timestamp(utc_now()), number=number)
    put_record(open_store(store_uri), BaseKeys("mine").import_(number).request, record)


def ended(store_uri: str, number: int) -> v1.BaseModelImport | None:
    end = read_record(open_store(store_uri), BaseKeys("mine").import_(number).end, v1.BaseModelImportStatus)
    return end.base_import if end is not None else None


def test_a_killed_import_is_repeated_and_uses_what_came(bucket: str, tmp_path: Path) -> None:
    store_uri = f"{bucket}record/"
    with running_hub() as hub:
        hub.add_folder("art/base", write_base(tmp_path / "base", fill=1.0))
        environment = {
            **os.environ,
            "LORAMILL_IMPORT_FOLDER": str(tmp_path / "work"),
            "LORAMILL_IMPORT_HUB_ENDPOINT": hub.endpoint,
        }
        hub.held["unet/"] = threading.Event()
        command = [sys.executable, "-m", "service.importing", store_uri, "mine"]
        asked(store_uri, "hf://art/base", 1)
        first = subprocess.Popen([*command, "1"], cwd=REPOSITORY, env=environment)
        assert hub.held["unet/"].wait(PATIENCE)
        first.kill()
        first.wait(PATIENCE)
        assert ended(store_uri, 1) is None
        hub.held.clear()
        before = len(hub.asked("cdn", "GET"))
        asked(store_uri, "hf://art/base", 2)
        subprocess.run([*command, "2"], cwd=REPOSITORY, env=environment, check=True, timeout=PATIENCE)
        end = ended(store_uri, 2)
        assert end is not None
        assert (end.state, end.problems) == (v1.BASE_MODEL_IMPORT_STATE_SUCCEEDED, [])
        weights = "unet/diffusion_pytorch_model.safetensors"
        stored = open_store(store_uri).get(BaseKeys("mine").files + weights)
        assert stored == hub.repositories["art/base"].files[weights]
        again = [path.rpartition("/")[0].rpartition("/")[2] for path in hub.asked("cdn", "GET")[before:]]
        assert len(again) == len(set(again)) <= 3


def test_a_listed_bucket(bucket: str, tmp_path: Path) -> None:
    folder = write_base(tmp_path / "base", fill=1.0)
    source = open_store(f"{bucket}bases/it/")
    for path in folder.rglob("*"):
        if path.is_file():
            source.put_new(path.relative_to(folder).as_posix(), path)
    store_uri = f"{bucket}record/"
    asked(store_uri, "s3://models/bases/it", 1)
    settings = ImportSettings(buckets=(bucket_of("s3://models/bases"),))
    run_import(workshop(open_store(store_uri), tmp_path / "work", settings), "mine", 1, threading.Event())
    record = read_record(open_store(store_uri), BaseKeys("mine").record, v1.BaseModelRecord)
    assert record is not None
    assert (record.base_model.source_uri, record.base_model.family) == ("s3://models/bases/it", "sd15")
    asked(store_uri, "s3://models/record", 2)
    run_import(workshop(open_store(store_uri), tmp_path / "work", settings), "mine", 2, threading.Event())
    end = ended(store_uri, 2)
    assert end is not None
    assert end.problems[0].reason == "OUTSIDE_ROOTS"
