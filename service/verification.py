"""Whether what a run has committed is whole: its files are there, with the sizes and digests that its record states.

What a job is for is its final adapter or, of other kinds than training, the results that a run's last word lists. Which of them
there is follows from what its runs have left, so that nobody here asks for the kind.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

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


class Deliverable(Protocol):
    """What a job is for, as one of its runs committed it."""

    @property
    def launch(self) -> int: ...

    @property
    def whole(self) -> bool: ...

    @property
    def partial(self) -> bool:
        """Whether the work was cut short."""
        ...

    @property
    def told(self) -> str:
        """A sentence; of what is partial the rest of one that begins with "Was cancelled"."""
        ...

    @property
    def damage(self) -> str:
        """What is wrong with it, as a sentence that names it."""
        ...


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

    @property
    def partial(self) -> bool:
        return self.adapter.partial

    @property
    def told(self) -> str:
        steps = "1 step" if self.adapter.step == 1 else f"{self.adapter.step} steps"
        if self.partial:
            return f"after {steps}; what was learnt until then is {self.adapter.name}."
        return f"{steps} of training are done; the adapter is {self.adapter.name}."

    @property
    def damage(self) -> str:
        return f"The final adapter of launch {self.launch} is not whole: {self.problem}"


@dataclass(frozen=True)
class CommittedResults:
    """The results that a run's last word lists, and what is wrong with them."""

    launch: int
    told: str
    """By the run itself."""
    problem: str | None
    """One sentence; None if they are whole."""
    partial: bool = False

    @property
    def whole(self) -> bool:
        return self.problem is None

    @property
    def damage(self) -> str:
        return f"What launch {self.launch} has made is not whole: {self.problem}"


def deliverables(store: ObjectStore, facts: JobFacts) -> tuple[Deliverable, ...]:
    """The final adapters and the results that runs committed, each verified by reading all of its files; newest run first."""
    adapters = [_verified(store, facts, number, adapter) for number, adapter in _committed(facts) if is_final(adapter)]
    return (*adapters, *_results(store, facts))


def _results(store: ObjectStore, facts: JobFacts) -> Iterator[CommittedResults]:
    for launch in reversed(facts.launches):
        if launch.end is not None and launch.end.results:
            root = TenantKeys(facts.tenant).job(facts.job).run(launch.number).root
            files = launch.end.results
            problems = [_problem(store, root + file.path, file.path, file) for file in files]
            found = [problem for problem in problems if problem is not None]
            yield CommittedResults(launch.number, launch.end.message, " ".join(found) or None)


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
    problems = [_problem(store, f"{folder}/{file.file_name}", file.file_name, file) for file in adapter.files]
    if not adapter.files:
        problems.append(f"{adapter.name} lists no files.")
    found = [problem for problem in problems if problem is not None]
    return CommittedAdapter(number, adapter, manifest_key, " ".join(found) or None)


def _problem(store: ObjectStore, key: str, name: str, file: v1.AdapterFile | v1.ResultFile) -> str | None:
    try:
        size = store.info(key).size
        if size != file.size_bytes:
            return f"{name} has {size} bytes where {file.size_bytes} were committed."
        found = sha256_of_stored(store, key, size)
    except NotFound:
        return f"{name} was committed and is not there."
    return None if found == file.sha256 else f"{name} has another SHA-256 than was committed."


def sha256_of_stored(store: ObjectStore, key: str, size: int) -> str:
    """SHA-256 of an object of `size` bytes, read piece by piece, in hexadecimal. Raises NotFound."""
    digest = hashlib.sha256()
    for start in range(0, size, _PIECE):
        digest.update(store.get_range(key, start, _PIECE))
    return digest.hexdigest()


def _adapter_id(adapter: v1.Adapter) -> str:
    return adapter.name.partition("/")[2]


def _suffix(adapter: v1.Adapter) -> str:
    """What its id has behind the job's."""
    return _adapter_id(adapter).partition("-")[2]


def is_final(adapter: v1.Adapter) -> bool:
    """Whether it is its job's last one; it may be partial."""
    return _suffix(adapter) == FINAL
