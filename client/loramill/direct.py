"""Files that go straight to the object store and come straight from it, over HTTP, where the service gives out addresses.

Where it does not, or the store cannot be reached from here, the same bytes go through the service instead: then the methods
say None, and a client does not ask again. The store's certificate may be signed by an authority of the system's
(SSL_CERT_FILE), or by the one that the service's own is trusted by.
"""

from __future__ import annotations

import ssl
import threading
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import stamina
import urllib3

from loramill import v1
from loramill.calls import LONG_SECONDS
from loramill.errors import CallError, DownloadError, NotNow, ServerFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from loramill.calls import Calls
    from loramill.v1.adapter_service_pb2_grpc import AdapterServiceStub
    from loramill.v1.dataset_service_pb2_grpc import DatasetServiceStub

SMALLEST = 64 * 2**10
"""Bytes. Smaller files go through the service: two calls about one would cost more than its bytes."""

_NOT_OFFERED = "NO_DIRECT_TRANSFERS"
_CHUNK_BYTES = 2**18
"""The most that is fetched again after a connection broke off."""
_CONNECTIONS = 8
_ATTEMPTS = 4
_LONGEST_RETRYING = 600.0
"""Seconds, of all attempts together: an address does not last much longer."""
_TIMEOUT = urllib3.Timeout(connect=5.0, read=60.0)
_EXISTS = 412
"""An earlier attempt has arrived, though its answer was lost. Whether the content is right, the service finds."""
_PARTIAL = 206
_PASSING = frozenset({408, 409, 429, 500, 502, 503, 504})

Answer = TypeVar("Answer")


class _Passing(Exception):
    """The store did not answer, or says that it cannot just now."""


class _Refused(Exception):
    """The store does not take or give this; asking again would not help."""


class Direct:
    """Transfers by addresses. Threads may share it."""

    def __init__(
        self, calls: Calls, datasets: DatasetServiceStub, adapters: AdapterServiceStub, ca: Path | None = None
    ) -> None:
        """`ca` is a PEM file of further authorities."""
        self._calls = calls
        self._datasets = datasets
        self._adapters = adapters
        self._ca = ca
        self._off = threading.Event()

    def upload(self, dataset: str, file: v1.DatasetFile, path: Path) -> v1.DatasetFile | None:
        """Adds a file to a dataset; None if it has to go through the service. Raises as the calls do."""
        if file.size_bytes < SMALLEST:
            return None
        asked = v1.CreateUploadUrlsRequest(dataset=dataset, files=[file])
        answer = self._asked(lambda: self._calls.unary(self._datasets.CreateUploadUrls, asked))
        if answer is None:
            return None
        url = answer.urls[0]
        if url.url and not self._reached(lambda: self._put(url, path)):
            return None
        done = v1.CompleteUploadsRequest(dataset=dataset, files=[file])
        return self._calls.unary(self._datasets.CompleteUploads, done, timeout=LONG_SECONDS).files[0]

    def download(self, request: v1.DownloadAdapterRequest) -> Iterator[v1.DownloadAdapterResponse] | None:
        """The messages that DownloadAdapter would send; None if that has to be called. Raises as the calls do."""
        wanted = v1.CreateDownloadUrlRequest(name=request.name, format=request.format, file_name=request.file_name)

        def ask() -> v1.CreateDownloadUrlResponse:
            return self._calls.unary(self._adapters.CreateDownloadUrl, wanted)

        answer = self._asked(ask)
        if answer is None:
            return None
        opened: list[urllib3.BaseHTTPResponse] = []
        if not self._reached(lambda: opened.append(self._get(answer.url, 0))):
            return None
        return self._messages(answer.file, opened[0], lambda start: self._get(ask().url, start))

    def close(self) -> None:
        if "_pool" in self.__dict__:
            self._pool.clear()

    def _asked(self, call: Callable[[], Answer]) -> Answer | None:
        """The answer of a call that gives out addresses; None if the service gives out none."""
        if self._off.is_set():
            return None
        try:
            return call()
        except CallError as error:
            offered = not (isinstance(error, NotNow) and error.reason == _NOT_OFFERED)
            known = not (isinstance(error, ServerFailed) and error.details.code == "UNIMPLEMENTED")
            if offered and known:
                raise
            self._off.set()
            return None

    def _reached(self, transfer: Callable[[], None]) -> bool:
        """Whether a transfer came about. If not, none is tried again."""
        try:
            transfer()
        except (_Passing, _Refused):
            self._off.set()
            return False
        return True

    def _put(self, url: v1.UploadUrl, path: Path) -> None:
        size = url.file.size_bytes
        headers = {**url.headers, "Content-Length": str(size)}
        for attempt in _attempts():
            with attempt:
                answer = self._request("PUT", url.url, headers, _pieces(path, size))
                if answer.status != _EXISTS:
                    _check(answer)

    def _get(self, url: str, start: int) -> urllib3.BaseHTTPResponse:
        """The answer that goes on from byte `start`; its content is still to be read."""
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
        for attempt in _attempts():
            with attempt:
                answer = self._request("GET", url, headers, None)
                _check(answer)
        if start and answer.status != _PARTIAL:
            raise _Refused("the store does not give a part of an object")
        return answer

    def _messages(
        self,
        file: v1.AdapterFile,
        answer: urllib3.BaseHTTPResponse,
        go_on: Callable[[int], urllib3.BaseHTTPResponse],
    ) -> Iterator[v1.DownloadAdapterResponse]:
        """The file, then its bytes, over as many connections as it takes; never many more bytes than it has."""
        yield v1.DownloadAdapterResponse(file=file)
        size, left = 0, _ATTEMPTS
        while size < file.size_bytes:
            before = size
            try:
                for piece in answer.stream(_CHUNK_BYTES):
                    size += len(piece)
                    yield v1.DownloadAdapterResponse(data=piece)
                    if size > file.size_bytes:
                        return
            except urllib3.exceptions.HTTPError:
                pass
            finally:
                answer.close()
            left = _ATTEMPTS if size > before else left - 1
            if size < file.size_bytes:
                answer = self._gone_on(file, size, left, go_on)

    def _gone_on(
        self, file: v1.AdapterFile, size: int, left: int, go_on: Callable[[int], urllib3.BaseHTTPResponse]
    ) -> urllib3.BaseHTTPResponse:
        try:
            if left:
                return go_on(size)
        except (_Passing, _Refused):
            pass
        raise DownloadError(f"{file.file_name} broke off after {size} of {file.size_bytes} bytes. Try again.")

    def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: Iterator[bytes] | None
    ) -> urllib3.BaseHTTPResponse:
        try:
            return self._pool.request(
                method,
                url,
                body=body,
                headers={"Content-Type": "application/octet-stream", **headers},
                redirect=False,
                retries=False,
                preload_content=body is not None,
            )
        except urllib3.exceptions.LocationValueError as error:
            raise _Refused(f"the service gave out an address that is none: {error}") from error
        except urllib3.exceptions.HTTPError as error:
            raise _Passing(str(error)) from error

    @cached_property
    def _pool(self) -> urllib3.PoolManager:
        context = ssl.create_default_context()
        if self._ca is not None:
            context.load_verify_locations(self._ca)
        return urllib3.PoolManager(maxsize=_CONNECTIONS, timeout=_TIMEOUT, retries=False, ssl_context=context)


def _attempts() -> Iterable[stamina.Attempt]:
    """A block, because a function's arguments are logged with each retry, and an address is a secret while it lasts."""
    return stamina.retry_context(
        on=_Passing, attempts=_ATTEMPTS, timeout=_LONGEST_RETRYING, wait_initial=0.2, wait_max=2.0
    )


def _check(answer: urllib3.BaseHTTPResponse) -> None:
    """Raises for what is no success; a redirection is none, since where it leads was not given out by the service."""
    if 200 <= answer.status < 300:
        return
    answer.close()
    if answer.status in _PASSING:
        raise _Passing(f"HTTP status {answer.status}")
    raise _Refused(f"HTTP status {answer.status}")


def _pieces(path: Path, size: int) -> Iterator[bytes]:
    """Exactly so many bytes of the file, as were announced."""
    with path.open("rb") as content:
        while size:
            piece = content.read(min(size, _CHUNK_BYTES))
            if not piece:
                raise _Refused(f"{path} has become shorter")
            size -= len(piece)
            yield piece
