"""Datasets that the service reads from an S3 server, here moto's, by itself."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import AsyncIterator, Iterator

import boto3
import grpc
import pytest
import pytest_asyncio
from google.protobuf.json_format import Parse

from loramill import v1
from service.composition import serving
from service.datasets import Datasets
from service.keys import TenantKeys
from service.platforms.local import local_platform
from service.settings import Settings
from tests.moto_s3 import moto_keys, moto_s3
from tests.service.api.api import Api, error_of
from tests.service.api.fakes import FakeExecutor
from tests.service.api.tiny_base import write_base

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def bucket() -> Iterator[object]:
    """A client of a server with the buckets `pictures` and `secret`; the service's variables point to it."""
    with moto_keys() as environment, moto_s3() as address:
        environment.setenv("AWS_ENDPOINT_URL_S3", address)
        client = boto3.client("s3")
        client.create_bucket(Bucket="pictures")
        client.create_bucket(Bucket="secret")
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(bucket: object, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:  # noqa: ARG001
    tmp_path = tmp_path_factory.mktemp("service")
    settings = Settings(
        local=True,
        port=0,
        metrics_port=0,
        data=tmp_path / "data",
        dataset_root=("s3://pictures/shared/", "s3://pictures/of/{tenant}/"),
        builtin_shapes=write_base(tmp_path / "shapes"),
        upload_limit=1 << 20,
        stop_grace=1.0,
    )
    executor = FakeExecutor()
    with local_platform(settings, executor) as platform:
        async with serving(settings, platform) as service, Api.open(service, executor, tmp_path) as api:
            yield api


def put(bucket: object, folder: str, files: dict[str, bytes]) -> str:
    for name, content in files.items():
        bucket.put_object(Bucket="pictures", Key=folder + name, Body=content)  # type: ignore[attr-defined]
    return f"s3://pictures/{folder}"


def contents(api: Api, name: str) -> dict[str, bytes]:
    """The files of a finalized dataset."""
    keys = TenantKeys("local").dataset(name.partition("/")[2])
    manifest = api.service.store.get(keys.manifest)
    files = Parse(manifest, v1.FileManifest()).files
    return {file.path: api.service.store.get(keys.blob(file.sha256)) for file in files}


async def test_kohya_folders_of_a_bucket(api: Api, bucket: object) -> None:
    files = {
        "10_sks dog/a.png": b"a",
        "10_sks dog/a.caption": b"sks dog, grass",
        "10_sks dog/b.jpg": b"b",
        "x.psd": b"x",
    }
    uri = put(bucket, "shared/dogs/", files)
    request = v1.CreateDatasetRequest(dataset=v1.Dataset(display_name="dogs"), source_uri=uri, request_id="dogs")
    planned = await api.datasets.CreateDataset(
        v1.CreateDatasetRequest(dataset=request.dataset, source_uri=uri, validate_only=True)
    )
    made = await api.datasets.CreateDataset(request)
    assert (planned.name, planned.input, planned.suggested) == ("", made.input, made.suggested)
    assert made.state == v1.DATASET_STATE_FINALIZED
    assert made.input.layout == v1.DATASET_LAYOUT_KOHYA_FOLDERS
    assert (made.input.source, made.input.pictures, made.input.captions) == (uri, 2, 1)
    assert [(group.count, list(group.examples)) for group in made.input.ignored] == [(1, ["x.psd"])]
    assert made.suggested.concept == v1.ConceptSpec(activation_tag="sks", class_words="dog")
    assert contents(api, made.name) == {
        "10_sks dog/a.png": b"a",
        "10_sks dog/a.txt": b"sks dog, grass",
        "10_sks dog/b.jpg": b"b",
    }
    bucket.delete_object(Bucket="pictures", Key="shared/dogs/10_sks dog/b.jpg")  # type: ignore[attr-defined]
    assert await api.datasets.CreateDataset(request) == made  # the same request makes nothing anew


async def test_names_that_no_dataset_can_have_are_told(api: Api, bucket: object) -> None:
    uri = put(bucket, "shared/odd/", {"1.png": b"1", "bell\x07.png": b"2", "a\\b.png": b"3", "empty/": b""})
    answer = await error_of(api.datasets.CreateDataset(v1.CreateDatasetRequest(source_uri=uri)))
    assert "has a backslash, but parts are separated by '/'; rename it. (1 of 2 violations" in answer.message
    assert answer.violations == {"source_uri": "'bell\\x07.png' has control characters; rename it."}


async def test_an_import_that_broke_off_goes_on(api: Api, bucket: object, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = put(bucket, "shared/many/", {f"{number}.png": bytes([number]) for number in range(1, 9)})
    request = v1.CreateDatasetRequest(source_uri=uri, request_id="many")
    add, calls = Datasets.add, []

    def failing(self: Datasets, caller: object, dataset: str, file: v1.DatasetFile, put: object) -> None:
        calls.append(file.path)
        if len(calls) > 3:
            raise OSError("the disk is full")
        add(self, caller, dataset, file, put)  # type: ignore[arg-type]

    monkeypatch.setattr(Datasets, "add", failing)
    assert (await error_of(api.datasets.CreateDataset(request))).code == grpc.StatusCode.INTERNAL
    monkeypatch.setattr(Datasets, "add", lambda *arguments: (calls.append("again"), add(*arguments))[1])
    made = await api.datasets.CreateDataset(request)
    assert (made.state, made.file_count) == (v1.DATASET_STATE_FINALIZED, 8)
    assert calls.count("again") == 5


async def test_archives_shards_and_configurations(api: Api, bucket: object) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("metadata.csv", 'file_name,caption\na.png,"a dog, running"\n')
        archive.writestr("a.png", b"a")
    shard = io.BytesIO()
    with tarfile.open(fileobj=shard, mode="w:gz") as tar:
        for name, content in (("1.jpg", b"1"), ("1.json", b'{"caption": "one"}')):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    configuration = b'[[datasets]]\n[[datasets.subsets]]\nimage_dir = "dogs"\nnum_repeats = 3\n'
    put(bucket, "of/local/a/", {"dogs.zip": packed.getvalue()})
    put(bucket, "of/local/b/", {"000.tar.gz": shard.getvalue()})
    put(bucket, "of/local/c/", {"d.toml": configuration, "dogs/1.png": b"1", "cats/1.png": b"1"})
    expected = {
        "a/dogs.zip": (v1.DATASET_LAYOUT_IMAGEFOLDER, {"a.png": b"a", "a.txt": b"a dog, running"}),
        "b": (v1.DATASET_LAYOUT_WEBDATASET, {"000/1.jpg": b"1", "000/1.txt": b"one"}),
        "c/d.toml": (v1.DATASET_LAYOUT_KOHYA_TOML, {"dogs/1.png": b"1"}),
    }
    for place, (layout, files) in expected.items():
        made = await api.datasets.CreateDataset(v1.CreateDatasetRequest(source_uri=f"s3://pictures/of/local/{place}"))
        assert (made.input.layout, contents(api, made.name)) == (layout, files)


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("s3://secret/shared/", "OUTSIDE_ROOTS"),
        ("s3://pictures/sharedness/", "OUTSIDE_ROOTS"),
        ("s3://pictures/of/another/", "OUTSIDE_ROOTS"),
        ("s3://pictures/shared/../of/another/", "INVALID_NAME"),
        ("s3://pictures/shared/%2e%2e/of/", "INVALID_NAME"),
        ("s3://pictures/", "INVALID_NAME"),
        ("https://pictures/shared/", "INVALID_NAME"),
        ("file:///etc/", "INVALID_NAME"),
        ("s3://pictures/shared/nothing/", "UNSUITABLE_INPUT"),
        ("s3://pictures/shared/no.zip", "UNSUITABLE_INPUT"),
    ],
)
async def test_places_that_are_not_read(api: Api, uri: str, reason: str) -> None:
    answer = await error_of(api.datasets.CreateDataset(v1.CreateDatasetRequest(source_uri=uri)))
    assert answer.code == grpc.StatusCode.INVALID_ARGUMENT
    assert answer.reasons == {"source_uri": reason}


async def test_all_that_is_wrong_with_a_place_is_told_and_nothing_is_made(api: Api, bucket: object) -> None:
    before = await api.datasets.ListDatasets(v1.ListDatasetsRequest())
    uri = put(bucket, "shared/bad/", {"0_dog/a.png": b"a", "1_cat/b.png": b"", "1_cat/big.png": bytes(2 << 20)})
    answer = await error_of(api.datasets.CreateDataset(v1.CreateDatasetRequest(source_uri=uri)))
    assert "(1 of 2 violations" in answer.message
    assert await api.datasets.ListDatasets(v1.ListDatasetsRequest()) == before
    uri = put(bucket, "shared/large/", {"big.png": bytes(2 << 20)})
    answer = await error_of(api.datasets.CreateDataset(v1.CreateDatasetRequest(source_uri=uri)))
    assert "2097152 bytes" in answer.message


async def test_what_goes_only_with_a_source(api: Api) -> None:
    request = v1.CreateDatasetRequest(caption_column="x", validate_only=True, layout=v1.DATASET_LAYOUT_PLAIN)
    answer = await error_of(api.datasets.CreateDataset(request))
    assert set(answer.reasons) == {"caption_column", "validate_only", "layout"}
