"""Files that go straight to the object store and back, over moto; what real stores refuse is tested on real ones."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

import grpc
import pytest
from pydantic import ValidationError

from loramill import v1
from service.audit import Audit
from service.caller import Caller
from service.datasets import Datasets
from service.direct_transfers import REASON, DirectTransfers, DirectTransferSettings, direct_transfers
from service.direct_uploads import MOST_FILES, DirectUploads, violations_of_files
from service.errors import InvalidRequest, Refused, ResourceExists
from service.keys import TenantKeys, dataset_of_name
from store.files import FileStore
from store.object_store import NotFound
from store.s3 import S3Store
from store.s3_client import make_client
from tests.moto_s3 import moto_keys, moto_s3
from tests.service.api.api import Api, error_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CALLER = Caller("team-a", "test", "/test", "call")
LIMIT = 1 << 20


@pytest.fixture(scope="module")
def s3_client() -> Iterator[S3Client]:
    with moto_s3() as endpoint, moto_keys():
        client = make_client(endpoint)
        client.create_bucket(Bucket="bucket")
        yield client


@pytest.fixture
def store(s3_client: S3Client) -> S3Store:
    """An empty one."""
    return S3Store("bucket", uuid.uuid4().hex, s3_client)


@pytest.fixture(params=[True, False], ids=["the store compares", "the service compares"])
def uploads(request: pytest.FixtureRequest, store: S3Store) -> DirectUploads:
    direct = DirectTransfers(store.addresses(), timedelta(minutes=1), checks_content=request.param)
    return DirectUploads(Datasets(store, Audit(store)), direct, LIMIT)


@pytest.fixture
def comparing(store: S3Store) -> DirectUploads:
    """The service compares contents, as with any store that does not, such as moto."""
    direct = DirectTransfers(store.addresses(), timedelta(minutes=1), checks_content=False)
    return DirectUploads(Datasets(store, Audit(store)), direct, LIMIT)


def file_of(path: str, content: bytes) -> v1.DatasetFile:
    return v1.DatasetFile(path=path, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))


def opened(uploads: DirectUploads) -> str:
    return uploads.datasets.create(CALLER, v1.CreateDatasetRequest()).name


def urls(uploads: DirectUploads, dataset: str, *files: v1.DatasetFile) -> list[v1.UploadUrl]:
    return list(uploads.urls(CALLER, v1.CreateUploadUrlsRequest(dataset=dataset, files=files)).urls)


def complete(uploads: DirectUploads, dataset: str, *files: v1.DatasetFile) -> list[v1.DatasetFile]:
    return list(uploads.complete(CALLER, v1.CompleteUploadsRequest(dataset=dataset, files=files)).files)


def send(url: v1.UploadUrl, content: bytes) -> None:
    headers = {**url.headers, "Content-Length": str(len(content)), "Content-Type": "application/octet-stream"}
    urlopen(Request(url.url, content, headers, method="PUT"), timeout=10).close()


def send_all(uploads: DirectUploads, dataset: str, **contents: bytes) -> list[v1.DatasetFile]:
    files = [file_of(path, content) for path, content in contents.items()]
    contents_by_digest = {url.file.sha256: (url, contents[url.file.path]) for url in urls(uploads, dataset, *files)}
    for url, content in contents_by_digest.values():
        send(url, content)
    return files


def problems(caught: pytest.ExceptionInfo[InvalidRequest]) -> dict[str, str]:
    return {violation.field: violation.reason for violation in caught.value.violations}


def left(store: S3Store) -> list[str]:
    """What lies where callers send to."""
    return [entry.key for entry in store.list(TenantKeys(CALLER.tenant).uploads_prefix)]


def test_files_sent_to_addresses_are_in_the_dataset_as_uploaded_ones_are(
    store: S3Store, uploads: DirectUploads
) -> None:
    name = opened(uploads)
    files = send_all(uploads, name, a=b"one", b=b"two", again=b"one", empty=b"")
    assert complete(uploads, name, *files) == files
    assert complete(uploads, name, *files) == files
    frozen = uploads.datasets.finalize(CALLER, dataset_of_name(name) or "")
    assert (frozen.file_count, frozen.size_bytes) == (4, 9)
    keys = TenantKeys(CALLER.tenant).dataset(dataset_of_name(name) or "")
    assert [store.get(keys.blob(file.sha256)) for file in files] == [b"one", b"two", b"one", b""]
    assert left(store) == []


def test_a_content_that_is_there_need_not_be_sent(uploads: DirectUploads) -> None:
    name = opened(uploads)
    complete(uploads, name, *send_all(uploads, name, a=b"one"))
    known, under_another_path, new = urls(
        uploads, name, *(file_of(*each) for each in (("a", b"one"), ("b", b"one"), ("c", b"x")))
    )
    assert (known.url, under_another_path.url) == ("", "")
    assert new.url
    assert new.expire_time.seconds > 0
    complete(uploads, name, file_of("b", b"one"))
    assert urls(uploads, opened(uploads), file_of("a", b"one"))[0].url, "another dataset has nothing of this one"


def test_what_did_not_come_is_named_and_nothing_of_the_request_is_added(store: S3Store, uploads: DirectUploads) -> None:
    name = opened(uploads)
    files = send_all(uploads, name, a=b"one")
    with pytest.raises(InvalidRequest) as caught:
        complete(uploads, name, *files, file_of("b", b"two"))
    assert problems(caught) == {"files[1]": "NOT_SENT"}
    assert list(store.list(TenantKeys(CALLER.tenant).dataset(dataset_of_name(name) or "").files_prefix)) == []
    assert complete(uploads, name, *files) == files


def test_another_size_is_refused_and_may_be_sent_again(uploads: DirectUploads) -> None:
    name = opened(uploads)
    file = file_of("a", b"one")
    (url,) = urls(uploads, name, file)
    send(url, b"much more")
    with pytest.raises(InvalidRequest) as caught:
        complete(uploads, name, file)
    assert problems(caught) == {"files[0].size_bytes": "SIZE_MISMATCH"}
    send(url, b"one")
    assert complete(uploads, name, file) == [file]


def test_another_content_is_refused_where_the_store_does_not_compare(store: S3Store, comparing: DirectUploads) -> None:
    name = opened(comparing)
    file = file_of("a", b"one")
    (url,) = urls(comparing, name, file)
    send(url, b"eno")
    with pytest.raises(InvalidRequest) as caught:
        complete(comparing, name, file)
    assert problems(caught) == {"files[0].sha256": "DIGEST_MISMATCH"}
    assert left(store) == []
    send(url, b"one")
    assert complete(comparing, name, file) == [file]


def test_a_replay_after_completion_changes_nothing(store: S3Store, comparing: DirectUploads) -> None:
    name = opened(comparing)
    file = file_of("a", b"one")
    (url,) = urls(comparing, name, file)
    send(url, b"one")
    complete(comparing, name, file)
    send(url, b"eno")
    assert complete(comparing, name, file) == [file]
    blob = TenantKeys(CALLER.tenant).dataset(dataset_of_name(name) or "").blob(file.sha256)
    assert store.get(blob) == b"one"


def test_a_replay_between_comparing_and_storing_changes_nothing(store: S3Store, comparing: DirectUploads) -> None:
    """The sharpest moment: what was sent is replaced just after it was found right."""
    name = opened(comparing)
    file = file_of("a", b"one")
    (url,) = urls(comparing, name, file)
    send(url, b"one")
    copies = comparing.direct.addresses

    class Replayed:
        upload, download = copies.upload, copies.download

        def copy(self, source: str, target: str) -> None:
            copies.copy(source, target)
            store.put_status(TenantKeys(CALLER.tenant).upload(dataset_of_name(name) or "", file.sha256), b"eno")

    attacked = DirectUploads(
        comparing.datasets, DirectTransfers(Replayed(), timedelta(minutes=1), checks_content=False), LIMIT
    )
    complete(attacked, name, file)
    assert store.get(TenantKeys(CALLER.tenant).dataset(dataset_of_name(name) or "").blob(file.sha256)) == b"one"


def test_a_finalized_dataset_and_a_path_with_another_content_get_no_address(uploads: DirectUploads) -> None:
    name = opened(uploads)
    complete(uploads, name, *send_all(uploads, name, a=b"one"))
    with pytest.raises(ResourceExists):
        urls(uploads, name, file_of("a", b"two"))
    uploads.datasets.finalize(CALLER, dataset_of_name(name) or "")
    with pytest.raises(Refused):
        urls(uploads, name, file_of("b", b"two"))


def test_another_tenant_cannot_complete_what_was_sent(uploads: DirectUploads) -> None:
    name = opened(uploads)
    files = send_all(uploads, name, a=b"one")
    stranger = Caller("team-b", "test", "/test", "call")
    with pytest.raises(Exception, match="does not exist"):
        uploads.complete(stranger, v1.CompleteUploadsRequest(dataset=name, files=files))


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ([], {"files": "OUT_OF_RANGE"}),
        ([file_of("a", b"x")] * (MOST_FILES + 1), {"files": "OUT_OF_RANGE"}),
        ([file_of("../a", b"x")], {"files[0].path": "INVALID_PATH"}),
        ([file_of("a", b"x"), v1.DatasetFile(path="b", sha256="A" * 64)], {"files[1].sha256": "INVALID_DIGEST"}),
        ([v1.DatasetFile(path="b", sha256="a" * 64, size_bytes=LIMIT + 1)], {"files[0].size_bytes": "OUT_OF_RANGE"}),
        ([v1.DatasetFile(path="b", sha256="a" * 64, size_bytes=-1)], {"files[0].size_bytes": "OUT_OF_RANGE"}),
        ([file_of("a", b"x"), file_of("a", b"y")], {"files[1].path": "CONFLICT"}),
        ([file_of("a", b"x"), file_of("a", b"x"), file_of("b", b"x")], {}),
    ],
)
def test_everything_wrong_with_a_request_is_told(files: list[v1.DatasetFile], found: dict[str, str]) -> None:
    assert {violation.field: violation.reason for violation in violations_of_files(files, LIMIT)} == found


def test_addresses_are_given_out_only_where_they_hold_what_they_promise(store: S3Store, tmp_path: Path) -> None:
    settings = DirectTransferSettings()
    assert direct_transfers(FileStore(tmp_path), settings) is None
    assert direct_transfers(store, settings) is None, "moto takes more bytes than were announced"
    assert DirectTransferSettings.model_validate(False).enabled is False
    with pytest.raises(ValidationError):
        DirectTransferSettings(lifetime=timedelta(minutes=16))


@pytest.mark.asyncio(loop_scope="module")
async def test_a_service_over_a_folder_says_what_to_use_instead(api: Api) -> None:
    name = await api.dataset()
    for call, instead in (
        (api.datasets.CreateUploadUrls(v1.CreateUploadUrlsRequest(dataset=name)), "UploadFile"),
        (api.datasets.CompleteUploads(v1.CompleteUploadsRequest(dataset=name)), "UploadFile"),
        (api.adapters.CreateDownloadUrl(v1.CreateDownloadUrlRequest(name="adapters/x")), "DownloadAdapter"),
    ):
        answer = await error_of(call)
        assert (answer.code, answer.reason) == (grpc.StatusCode.FAILED_PRECONDITION, REASON)
        assert instead in answer.message


def test_an_arrival_that_vanishes_while_it_is_completed_is_told(store: S3Store, uploads: DirectUploads) -> None:
    name = opened(uploads)
    files = send_all(uploads, name, a=b"one")

    class Vanishing:
        upload, download = uploads.direct.addresses.upload, uploads.direct.addresses.download

        def copy(self, source: str, target: str) -> None:
            store.delete(source)
            uploads.direct.addresses.copy(source, target)

    direct = DirectTransfers(Vanishing(), timedelta(minutes=1), uploads.direct.checks_content)
    with pytest.raises(NotFound):
        complete(DirectUploads(uploads.datasets, direct, LIMIT), name, *files)
    assert list(store.list(TenantKeys(CALLER.tenant).dataset(dataset_of_name(name) or "").files_prefix)) == []
