"""Whether a committed adapter is whole: its files are there, with the sizes and digests that its manifest states."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.keys import TenantKeys, adapter_name
from store.object_store import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loramill import v1
    from service.facts import JobFacts
    from store.object_store import ObjectStore

FINAL = "final"
"""Suffix of the adapter at the end of training; it may be partial."""

_PIECE = 8 << 20
"""Bytes read at a time."""


@dataclass(frozen=True)
class CommittedAdapter:
    """An adapter that a run committed, and what is wrong with it."""

    launch: int
    adapter: v1.Adapter
    manifest_key: str
    problem: str | None
    """One sentence; None if it is whole."""

    @property
    def adapter_id(self) -> str:
        return _adapter_id(self.adapter)

    @property
    def whole(self) -> bool:
        return self.problem is None


def final_adapters(store: ObjectStore, facts: JobFacts) -> tuple[CommittedAdapter, ...]:
    """The final adapters that runs committed, each verified by reading all of its files; newest run first."""
    return tuple(
        _verified(store, facts, number, adapter) for number, adapter in _committed(facts) if _suffix(adapter) == FINAL
    )


def adapters_to_list(store: ObjectStore, facts: JobFacts) -> Iterator[CommittedAdapter]:
    """Every committed adapter that is not in the index yet, verified; newest run first. Lazy."""
    keys = TenantKeys(facts.tenant)
    for number, adapter in _committed(facts):
        index_key = keys.adapter(_adapter_id(adapter))
        try:
            store.info(index_key)
        except NotFound:
            yield _verified(store, facts, number, adapter)


def _committed(facts: JobFacts) -> list[tuple[int, v1.Adapter]]:
    """(launch, adapter), those of later runs first: where two runs committed the same adapter, the later one counts."""
    prefix = f"{adapter_name(facts.job)}-"
    return [
        (launch.number, manifest.adapter)
        for launch in reversed(facts.launches)
        for manifest in launch.adapters
        if manifest.adapter.name.startswith(prefix)
    ]


def _verified(store: ObjectStore, facts: JobFacts, number: int, adapter: v1.Adapter) -> CommittedAdapter:
    manifest_key = TenantKeys(facts.tenant).job(facts.job).run(number).adapter_manifest(_suffix(adapter))
    folder = manifest_key.rpartition("/")[0]
    problems = [_problem(store, f"{folder}/{file.file_name}", file) for file in adapter.files]
    if not adapter.files:
        problems.append(f"{adapter.name} lists no files.")
    found = [problem for problem in problems if problem is not None]
    return CommittedAdapter(number, adapter, manifest_key, " ".join(found) or None)


def _problem(store: ObjectStore, key: str, file: v1.AdapterFile) -> str | None:
    try:
        size = store.info(key).size
        if size != file.size_bytes:
            return f"{file.file_name} has {size} bytes where {file.size_bytes} were committed."
        found = sha256_of_stored(store, key, size)
    except NotFound:
        return f"{file.file_name} was committed and is not there."
    return None if found == file.sha256 else f"{file.file_name} has another SHA-256 than was committed."


def sha256_of_stored(store: ObjectStore, key: str, size: int) -> str:
    """SHA-256 of an object of `size` bytes, read piece by piece, in hexadecimal. Raises NotFound."""
    digest = hashlib.sha256()
    for start in range(0, size, _PIECE):
        digest.update(store.get_range(key, start, _PIECE))
    return digest.hexdigest()


def _adapter_id(adapter: v1.Adapter) -> str:
    return adapter.name.partition("/")[2]


def _suffix(adapter: v1.Adapter) -> str:
    return adapter.name.rpartition("-")[2]
