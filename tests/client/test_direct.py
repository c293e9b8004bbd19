"""Files that go straight to the object store and come straight from it, and through the service where that does not work."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import stamina

from loramill import errors, v1
from loramill.client import Client
from loramill.direct import SMALLEST, Direct
from loramill.upload import LocalFile
from tests.client.fake_service import FakeService
from tests.client.fake_store import FakeStore
from tests.service.auth.authority import Authority

CONTENT = os.urandom(16 * SMALLEST)
CREATE_URLS, CREATE_URL, DOWNLOAD = v1.CreateUploadUrlsRequest, v1.CreateDownloadUrlRequest, v1.DownloadAdapterRequest


@pytest.fixture(autouse=True)
def _retries_without_pauses() -> Iterator[None]:
    with stamina.set_testing(True, attempts=4):
        yield


@pytest.fixture
def store(service: FakeService) -> Iterator[FakeStore]:
    service.state.store = FakeStore()
    yield service.state.store
    service.state.store.stop()


@pytest.fixture
def file(tmp_path: Path) -> LocalFile:
    path = tmp_path / "a.png"
    path.write_bytes(CONTENT)
    return LocalFile(path, "a.png")


@pytest.fixture
def adapter(service: FakeService) -> str:
    return service.add_adapter("job1-final", {"mine.safetensors": (v1.ADAPTER_FORMAT_KOHYA, CONTENT)}).name


def count(service: FakeService, kind: type) -> int:
    """How many requests of a kind the service was sent."""
    return sum(isinstance(request, kind) for request in service.state.requests)


def uploaded(service: FakeService, client: Client, file: LocalFile) -> bytes:
    """What the service has after the upload of a file."""
    name = client.create_dataset().name
    client.upload_file(name, file)
    return service.state.contents[name]["a.png"]


def test_a_file_is_sent_to_the_store_with_the_headers_that_were_given(
    service: FakeService, client: Client, store: FakeStore, file: LocalFile
) -> None:
    assert uploaded(service, client, file) == CONTENT
    ((method, _, headers),) = store.requests
    assert (method, headers["x-signed"], headers["If-None-Match"]) == ("PUT", "yes", "*")
    assert headers["Content-Length"] == str(len(CONTENT))
    assert "Transfer-Encoding" not in headers


def test_a_small_file_goes_through_the_service(client: Client, store: FakeStore, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"a cat")
    client.upload_file(client.create_dataset().name, LocalFile(path, "a.txt"))
    assert store.requests == []


def test_a_service_without_addresses_is_asked_once(service: FakeService, client: Client, file: LocalFile) -> None:
    assert uploaded(service, client, file) == CONTENT
    assert uploaded(service, client, file) == CONTENT
    assert count(service, CREATE_URLS) == 1


@pytest.mark.parametrize("script", [[503], [500, 429, 409], ["lost"]], ids=str)
def test_an_upload_is_sent_again_after_what_passes(
    service: FakeService, client: Client, store: FakeStore, file: LocalFile, script: list[int | str]
) -> None:
    store.script = list(script)
    assert uploaded(service, client, file) == CONTENT
    assert len(store.requests) == len(script) + 1


@pytest.mark.parametrize("script", [[403], [302], [503] * 4], ids=str)
def test_a_store_that_does_not_take_files_is_left_alone(
    service: FakeService, client: Client, store: FakeStore, file: LocalFile, script: list[int | str]
) -> None:
    """A redirection is never followed."""
    store.script = list(script)
    assert uploaded(service, client, file) == CONTENT
    assert uploaded(service, client, file) == CONTENT
    assert len(store.requests) == len(script)
    assert "/elsewhere" not in {path for _, path, _ in store.requests}


def test_a_store_out_of_reach_is_no_hindrance(
    service: FakeService, client: Client, store: FakeStore, file: LocalFile, adapter: str, tmp_path: Path
) -> None:
    store.address = "http://127.0.0.1:9"  # the discard port, where nobody listens
    assert uploaded(service, client, file) == CONTENT
    assert client.download_adapter(adapter, tmp_path).read_bytes() == CONTENT
    assert count(service, CREATE_URL) == 0


def test_an_address_that_is_none_is_no_hindrance(
    service: FakeService, client: Client, store: FakeStore, file: LocalFile
) -> None:
    store.address = "ftp://elsewhere"
    assert uploaded(service, client, file) == CONTENT


def test_other_refusals_are_told(service: FakeService, client: Client, store: FakeStore, file: LocalFile) -> None:
    store.objects.clear()
    store.script = [412]
    with pytest.raises(errors.InvalidRequest, match="did not come as announced"):
        uploaded(service, client, file)


def test_an_adapter_is_fetched_from_the_store(
    service: FakeService, client: Client, store: FakeStore, adapter: str, tmp_path: Path
) -> None:
    assert client.download_adapter(adapter, tmp_path).read_bytes() == CONTENT
    assert [method for method, _, _ in store.requests] == ["GET"]
    assert count(service, DOWNLOAD) == 0


def test_a_download_that_breaks_off_goes_on_where_it_was(
    service: FakeService, client: Client, store: FakeStore, adapter: str, tmp_path: Path
) -> None:
    store.script = ["half", 503, "half"]
    assert client.download_adapter(adapter, tmp_path).read_bytes() == CONTENT
    ranges = [headers.get("Range") for _, _, headers in store.requests]
    half = len(CONTENT) // 2
    assert ranges == [None, f"bytes={half}-", f"bytes={half}-", f"bytes={half + half // 2}-"]
    assert count(service, CREATE_URL) == 3, "the first address may have expired meanwhile"


def test_a_download_that_is_refused_on_its_way_is_told_and_leaves_nothing(
    client: Client, store: FakeStore, adapter: str, tmp_path: Path
) -> None:
    store.script = ["half", 403]
    with pytest.raises(errors.DownloadError, match="broke off after"):
        client.download_adapter(adapter, tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_download_that_the_store_refuses_comes_through_the_service(
    service: FakeService, client: Client, store: FakeStore, adapter: str, tmp_path: Path
) -> None:
    store.script = [403]
    assert client.download_adapter(adapter, tmp_path).read_bytes() == CONTENT
    assert count(service, DOWNLOAD) == 1


@pytest.mark.parametrize(("content", "problem"), [(CONTENT[::-1], "arrived damaged"), (CONTENT + b"x", "instead of")])
def test_what_the_store_gives_is_checked(
    service: FakeService, client: Client, store: FakeStore, adapter: str, tmp_path: Path, content: bytes, problem: str
) -> None:
    assert service.state.store is store
    file = service.state.adapters[adapter][0].files[0]
    service.state.adapters[adapter][1][file.file_name] = content
    with pytest.raises(errors.DownloadError, match=problem):
        client.download_adapter(adapter, tmp_path)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("A company")


@pytest.fixture
def encrypted(service: FakeService, authority: Authority, tmp_path: Path) -> Iterator[FakeStore]:
    """A store whose certificate only the company's own authority signs."""
    pair, chain = authority.server(), tmp_path / "chain.pem"
    chain.write_bytes(pair.certificate + pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    service.state.store = FakeStore(context)
    yield service.state.store
    service.state.store.stop()


def test_a_companys_own_authority_is_trusted_where_it_is_named(
    service: FakeService, encrypted: FakeStore, authority: Authority, file: LocalFile, tmp_path: Path
) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.certificate)
    with Client(service.address) as client:
        client._direct = Direct(client._calls, client._datasets, client._adapters, ca)
        assert uploaded(service, client, file) == CONTENT
    assert [method for method, _, _ in encrypted.requests] == ["PUT"]


def test_a_store_that_nobody_vouches_for_is_sent_nothing(
    service: FakeService, client: Client, encrypted: FakeStore, file: LocalFile
) -> None:
    assert uploaded(service, client, file) == CONTENT
    assert encrypted.requests == []
