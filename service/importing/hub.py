"""A model repository of a Hugging Face hub, at one commit, through huggingface_hub. What was fetched is kept until it is stored.

Only names that stand in the commit's listing are asked for, with the size and digest that it states: what a hub sends beyond
that, or in its place, is refused. A token goes to the hub alone, never to where it redirects.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx2
import stamina
import structlog
from huggingface_hub import HfApi, errors, get_hf_file_metadata, hf_hub_url
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers, disable_progress_bars, get_session, hf_raise_for_status  # type: ignore[attr-defined]

from service.importing import problems
from service.importing.counting import Counting, Told
from service.importing.places import Listing, Progress
from service.importing.problems import ImportFailed, failed
from service.importing.sources import HubSource
from store.digests import sha256_of

T = TypeVar("T")

DEFAULT_ENDPOINT = "https://huggingface.co"

_ATTEMPTS = 6
_PATIENCE_S = 120.0
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
_ANSWER_S = 30.0
_BLOCK = 64 << 10
_LARGEST_HTTP = 50_000_000_000
"""Bytes of one file that hubs send over plain HTTP."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Sibling:
    """A file of the commit."""

    size: int
    sha256: str
    """Empty for files that git itself keeps."""
    blob_id: str
    """Git's own digest; empty if the hub does not tell."""


class HubPlace:
    """See Place."""

    def __init__(self, source: HubSource, downloads: Path, endpoint: str = DEFAULT_ENDPOINT, token: str = "") -> None:
        """`downloads` is the folder that fetched files are kept in, below one of their commit's own."""
        disable_progress_bars()
        self._source = source
        self._downloads = downloads
        self._endpoint = endpoint.rstrip("/")
        self._token: str | bool = token or False  # False: not the token of whoever has logged in on this machine
        self._api = HfApi(endpoint=self._endpoint, token=self._token)
        self._commit = ""
        self._siblings: Mapping[str, _Sibling] = {}

    def listed(self) -> Listing:
        info = self._asked(self._model_info)
        commit = info.sha or ""
        pinned = HubSource(self._source.repository, commit, self._source.path)
        if not pinned.is_pinned or (self._source.is_pinned and commit != self._source.revision):
            raise failed(
                problems.SOURCE_CHANGED,
                f"{self._source.uri} was answered with the commit {commit[:60]!r}, for which it does not stand; check the hub.",
            )
        self._commit = commit
        self._siblings = {sibling.rfilename: _sibling(sibling) for sibling in info.siblings or ()}
        card: Any = info.card_data or {}
        license = card.get("license") if hasattr(card, "get") else None
        path = self._source.path
        if path in self._siblings:
            name = path.rpartition("/")[2]
            return Listing(pinned.uri, {name: self._siblings[path].size}, name, _text(license))
        prefix = f"{path}/" if path else ""
        sizes = {
            name.removeprefix(prefix): sibling.size
            for name, sibling in self._siblings.items()
            if name.startswith(prefix)
        }
        if not sizes:
            raise failed(problems.NOT_FOUND, f"{pinned.uri} has no file; check the path behind the repository.")
        return Listing(pinned.uri, sizes, "", _text(license))

    def head(self, name: str, length: int) -> bytes:
        url = hf_hub_url(self._source.repository, self._full(name), revision=self._commit, endpoint=self._endpoint)
        return self._asked(lambda: self._first_bytes(url, length))

    def fetch(self, name: str, progress: Progress) -> Path:
        full = self._full(name)
        sibling = self._siblings[full]
        # Names are a hub's word: none becomes a path of this machine.
        target = self._folder / hashlib.sha256(full.encode()).hexdigest()
        if target.exists() and _is_whole(target, sibling):
            progress(sibling.size)
            return target
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".partial")
        told = Told(progress)
        self._asked(lambda: self._download(full, sibling, partial, told))
        if not _is_whole(partial, sibling):
            partial.unlink()
            raise failed(
                problems.SOURCE_UNAVAILABLE,
                f"{full} of {self._source.repository} came with another digest than the hub states for it; import it again.",
            )
        partial.rename(target)
        return target

    def done(self) -> None:
        if self._commit:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _folder(self) -> Path:
        return self._downloads / hashlib.sha256(f"{self._source.repository}@{self._commit}".encode()).hexdigest()

    def _full(self, name: str) -> str:
        """From the repository's root."""
        return self._source.path if self._is_file(name) else "/".join(filter(None, (self._source.path, name)))

    def _is_file(self, name: str) -> bool:
        return self._source.path in self._siblings and name == self._source.path.rpartition("/")[2]

    def _model_info(self) -> Any:
        return self._api.model_info(
            self._source.repository, revision=self._source.revision, files_metadata=True, timeout=_ANSWER_S
        )

    def _first_bytes(self, url: str, length: int) -> bytes:
        """Whatever is sent, no more is read. The client leaves the token out where it is redirected to another origin."""
        headers = {**self._headers(url), "Range": f"bytes=0-{length - 1}"}
        content = b""
        with get_session().stream("GET", url, headers=headers, timeout=_ANSWER_S, follow_redirects=True) as answer:
            hf_raise_for_status(answer)
            for block in answer.iter_bytes(_BLOCK):
                content += block
                if len(content) >= length:
                    break
        return content[:length]

    def _download(self, name: str, sibling: _Sibling, partial: Path, told: Told) -> None:
        """Goes on where the partial file ends."""
        url = hf_hub_url(self._source.repository, name, revision=self._commit, endpoint=self._endpoint)
        found = get_hf_file_metadata(url, token=self._token, timeout=_ANSWER_S, endpoint=self._endpoint)
        if found.commit_hash != self._commit or found.size not in (None, sibling.size):
            raise failed(
                problems.SOURCE_CHANGED,
                f"{name} of {self._source.repository} changed while it was imported: it has {found.size} bytes at commit "
                f"{found.commit_hash}, and was listed with {sibling.size} at {self._commit}; import it again.",
            )
        with partial.open("ab") as file:
            begun = file.tell()
            if begun > sibling.size:
                file.truncate(0)
                begun = 0
            told.at(begun)
            if begun < sibling.size:
                http_get(
                    found.location,
                    Counting(file, begun, sibling.size, told),  # type: ignore[arg-type]
                    resume_size=begun,
                    headers=self._headers(found.location),
                    expected_size=sibling.size,
                )

    def _headers(self, location: str) -> dict[str, str]:
        own = _origin(location) == _origin(self._endpoint)
        return {**build_hf_headers(token=self._token if own else False), "Accept-Encoding": "identity"}

    def _asked(self, ask: Callable[[], T]) -> T:
        """The answer, asked for again while the hub is busy or cannot be reached. Raises ImportFailed."""
        try:
            for attempt in stamina.retry_context(on=_may_pass, attempts=_ATTEMPTS, timeout=_PATIENCE_S, wait_max=20.0):
                with attempt:
                    return ask()
        except Exception as error:
            known = (errors.HfHubHTTPError, errors.FileMetadataError, httpx2.HTTPError, httpx2.InvalidURL)
            if isinstance(error, known) or _is_cut_short(error):
                raise self._why(error) from error
            raise
        raise AssertionError  # every attempt answers or raises

    def _why(self, error: Exception) -> ImportFailed:
        repository, status = self._source.repository, _status_of(error)
        if isinstance(error, errors.GatedRepoError):
            return failed(
                problems.ACCESS_REFUSED,
                f"{repository} is gated: accept its conditions on the hub with the account whose token the service has.",
            )
        if isinstance(error, errors.RevisionNotFoundError):
            return failed(
                problems.NOT_FOUND, f"{repository} has no revision {self._source.revision!r}; check it on the hub."
            )
        if status in (401, 403):
            return failed(
                problems.ACCESS_REFUSED,
                f"{self._endpoint} does not show {repository} to us ({status}): check the name, or give the service a token "
                "that may read it.",
            )
        if status == 404:
            return failed(
                problems.NOT_FOUND, f"{self._endpoint} has no {repository}, or not this file of it; check the name."
            )
        what = f"answered {status}" if status is not None else f"did not answer as a hub does: {_words(error)}"
        return failed(
            problems.SOURCE_UNAVAILABLE, f"{self._endpoint} {what}; what was fetched is kept: import again later."
        )


def _sibling(found: Any) -> _Sibling:
    sha256 = found.lfs.sha256 if found.lfs is not None else ""
    size = found.size if found.size is not None else 0
    return _Sibling(size, sha256 or "", found.blob_id or "")


def _is_whole(path: Path, sibling: _Sibling) -> bool:
    """Whether the file is what the commit's listing says."""
    if path.stat().st_size != sibling.size:
        return False
    if sibling.sha256:
        return sha256_of(path) == sibling.sha256
    if sibling.blob_id and sibling.size <= 64 << 20:
        content = path.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == sibling.blob_id
    return True


def _may_pass(error: Exception) -> bool:
    if isinstance(error, errors.HfHubHTTPError):
        return _status_of(error) in _BUSY
    return isinstance(error, httpx2.TransportError) or _is_cut_short(error)


def _is_cut_short(error: Exception) -> bool:
    """huggingface_hub has no class of its own for a download that ended early."""
    return type(error) is OSError and "Consistency check failed" in str(error)


def _status_of(error: Exception) -> int | None:
    response = getattr(error, "response", None)
    return getattr(response, "status_code", None)


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _origin(url: str) -> tuple[str, str | None, int | None]:
    split = urlsplit(url)
    return split.scheme, split.hostname, split.port


def _text(license: object) -> str:
    if isinstance(license, list):
        return ", ".join(str(each) for each in license)[:1000]
    return str(license)[:1000] if isinstance(license, str) else ""
