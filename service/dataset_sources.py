"""Places in a store that a dataset may be read from: below roots that the operator listed, and nowhere else."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from loramill.errors import InputError
from loramill.inputs.archives import USUAL, open_archive
from loramill.inputs.kohya_toml import LARGEST, Configuration, in_source
from loramill.inputs.names import is_tar, is_zip, problems_of_paths
from loramill.inputs.result import Entry
from loramill.inputs.source import Source, Together
from loramill.inputs.webdataset import shard_folder, shards_of
from service.caller import Caller
from service.errors import Violation
from store.key_rules import check_prefix
from store.object_store import InvalidKey, NotFound
from store.uris import decoded

if TYPE_CHECKING:
    from store.s3 import S3Store

_TENANT = "{tenant}"


def violation_of_uri(uri: str, roots: Sequence[str], caller: Caller) -> Violation | None:
    """Why this caller may not read there; None if they may. Pure."""
    split = urlsplit(uri)
    if split.scheme != "s3" or not split.netloc or "?" in uri or "#" in uri or not split.path.strip("/"):
        text = f"source_uri is {uri[:200]!r}, but must be s3://bucket/folder/, or an archive or a .toml there."
        return Violation("source_uri", text, "INVALID_NAME")
    try:
        check_prefix(decoded(split.path.strip("/")))
    except InvalidKey as error:
        return Violation("source_uri", f"source_uri {uri[:200]!r} names no place in a store: {error}.", "INVALID_NAME")
    allowed = [root.replace(_TENANT, caller.tenant).rstrip("/") + "/" for root in roots]
    if any(f"{uri.rstrip('/')}/".startswith(root) for root in allowed):
        return None
    names = ", ".join(allowed) or "none: the operator starts the service with --dataset-root s3://…"
    text = f"source_uri {uri[:200]!r} does not lie below a root for datasets ({names})."
    return Violation("source_uri", text, "OUTSIDE_ROOTS")


@contextmanager
def opened(uri: str, staging: Path) -> Iterator[tuple[Source, Configuration | None]]:
    """The source at an address; archives are fetched into `staging`. Raises InputError for what is none."""
    parent, _, name = uri.rstrip("/").rpartition("/")
    with ExitStack() as stack:
        if is_zip(name) or is_tar(name):
            folder = _Objects(_bucket(f"{parent}/"), uri, staging)
            yield stack.enter_context(_archive(folder, decoded(name), stack)), None
        elif name.lower().endswith(".toml"):
            folder = _Objects(_bucket(f"{parent}/"), uri, staging)
            label = decoded(name)
            yield folder, in_source(label, folder.read(label, LARGEST), folder.entries)
        else:
            yield _folder(uri, staging, stack), None


def _bucket(uri: str) -> S3Store:
    from store.s3 import S3Store  # here, because boto3 takes a while to import and local mode may have no use for it

    bucket, _, folder = uri.removeprefix("s3://").partition("/")
    return S3Store(bucket, decoded(folder))


def _folder(uri: str, staging: Path, stack: ExitStack) -> Source:
    """What lies below a prefix; a folder of shards as their samples."""
    folder = _Objects(_bucket(f"{uri.rstrip('/')}/"), uri, staging)
    shards = shards_of(folder.entries)
    if not shards:
        return folder
    parts = {shard_folder(label): stack.enter_context(_archive(folder, label, stack)) for label in shards}
    return Together(folder.title, parts, [entry for entry in folder.entries if entry.label not in shards])


@contextmanager
def _archive(folder: _Objects, label: str, stack: ExitStack) -> Iterator[Source]:
    path = stack.enter_context(folder.file(label, suffix=_ending(label)))
    with open_archive(path) as source:
        yield source


def _ending(label: str) -> str:
    return next(end for end in (".tar.gz", ".tgz", ".tar", ".zip") if label.lower().endswith(end))


class _Objects:
    """The objects below a place in a store."""

    def __init__(self, store: S3Store, uri: str, staging: Path) -> None:
        self.title = uri
        self._store = store
        self._staging = staging
        self._entries: tuple[Entry, ...] | None = None

    @property
    def entries(self) -> Sequence[Entry]:
        """Listed when first asked for."""
        if self._entries is None:
            found = (Entry(info.key, info.size) for info in self._store.list())
            self._entries = tuple(sorted(found, key=lambda entry: entry.label))
        return self._entries

    @property
    def problems(self) -> Sequence[str]:
        """Names that no dataset can have, so that they are not among the entries."""
        return tuple(problems_of_paths(self._store.strays()))

    def read(self, label: str, limit: int) -> bytes:
        try:
            return self._store.get_range(label, 0, limit)
        except NotFound as error:
            raise InputError(f"{self.title} is not there: {error}.", []) from error

    @contextmanager
    def file(self, label: str, suffix: str = "") -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=self._staging, prefix="dataset-") as folder:
            path = Path(folder) / f"content{suffix}"
            try:
                if self._store.info(label).size > USUAL.total:
                    raise InputError(
                        f"{self.title} is larger than {USUAL.total} bytes; make several datasets of it.", []
                    )
                self._store.fetch(label, path)
            except NotFound as error:
                raise InputError(f"{self.title} is not there: {error}.", []) from error
            yield path
