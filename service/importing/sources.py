"""Addresses of base models: `hf://owner/repo@revision/path`, `s3://bucket/path`, `file:///path`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

_OWNER_AND_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,199}")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,62}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
DEFAULT_REVISION = "main"
_FORMS = "hf://owner/repo[@revision][/path], s3://bucket/path or file:///path"


class SourceError(Exception):
    """No address that can be imported from. The message is the rest of a sentence that begins with the address."""


@dataclass(frozen=True)
class HubSource:
    """A model repository of a Hugging Face hub, or a folder or file in it."""

    repository: str
    """`owner/name`."""
    revision: str
    """A branch, a tag or a commit."""
    path: str
    """Below the repository's root, without `/` at the ends; empty for all of it."""

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit, which always stands for the same."""
        return _COMMIT.fullmatch(self.revision) is not None

    @property
    def uri(self) -> str:
        return f"hf://{self.repository}@{quote(self.revision, safe='')}{'/' * bool(self.path)}{quote(self.path)}"


@dataclass(frozen=True)
class ObjectSource:
    """A prefix of a bucket, or an object in it."""

    bucket: str
    path: str
    """Without `/` at the ends; empty for the whole bucket."""

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{quote(self.path)}"


@dataclass(frozen=True)
class FileSource:
    """A folder, or a file, of the machine that imports."""

    path: str
    """Absolute; not yet resolved."""

    @property
    def uri(self) -> str:
        return f"file://{quote(self.path)}"


Source = HubSource | ObjectSource | FileSource


def parse_source(uri: str) -> Source:
    """Raises SourceError."""
    split = urlsplit(uri)
    if split.query or split.fragment or "\0" in unquote(uri) or "\\" in unquote(uri):
        raise SourceError(f"must have no query, no fragment and no backslash: {_FORMS}")
    if split.scheme == "hf":
        return _hub_source(uri.partition("://")[2])
    if split.scheme == "s3":
        if _BUCKET.fullmatch(split.netloc) is None:
            raise SourceError("must name a bucket: s3://bucket/path")
        return ObjectSource(split.netloc, _relative(unquote(split.path)))
    if split.scheme == "file" and split.netloc in ("", "localhost"):
        path = unquote(split.path)
        if not path.startswith("/"):
            raise SourceError("must name an absolute path: file:///path")
        return FileSource(path)
    raise SourceError(f"must be {_FORMS}")


def _hub_source(rest: str) -> HubSource:
    owner, _, rest = rest.partition("/")
    repository, slash, path = rest.partition("/")
    name, at, revision = repository.partition("@")
    revision = unquote(revision) if at else DEFAULT_REVISION
    if not all(_OWNER_AND_NAME.fullmatch(part) and ".." not in part for part in (owner, name)):
        raise SourceError("must name a model repository: hf://owner/repo[@revision][/path]")
    if _REVISION.fullmatch(revision) is None or ".." in revision or "//" in revision:
        raise SourceError("must name a branch, tag or commit behind the @, with %2F for a /")
    return HubSource(f"{owner}/{name}", revision, _relative(unquote(path)) if slash else "")


def _relative(path: str) -> str:
    """A path of plain parts. Raises SourceError."""
    parts = path.strip("/").split("/")
    if parts != [""] and any(part in ("", ".", "..") for part in parts):
        raise SourceError("must have a path without empty parts, '.' and '..'")
    return "/".join(parts)
