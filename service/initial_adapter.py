"""The adapter that a job goes on from: which of its files, pinned when the job is accepted, and kept while the job lives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loramill import v1
from service import indexes, keys
from service.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.object_store import ObjectStore

_FORMATS = (v1.ADAPTER_FORMAT_KOHYA, v1.ADAPTER_FORMAT_DIFFUSERS)
"""What a job can go on from; the first that is there."""


def pinned(files: Sequence[v1.AdapterFile], folder: str) -> v1.InitialAdapter | None:
    """The file to go on from, of those that lie in the folder; None if there is none. Pure."""
    by_format = {file.format: file for file in reversed(files)}
    file = next((by_format[format_] for format_ in _FORMATS if format_ in by_format), None)
    return None if file is None else v1.InitialAdapter(key=folder + file.file_name, file=file)


def refuse_used(store: ObjectStore, tenant: str, adapter: str) -> None:
    """Raises Refused while a living job goes on from the adapter."""
    name = keys.adapter_name(adapter)
    job = indexes.living_job(store, tenant, lambda record: record.spec.adapter.initial_adapter == name)
    if job is not None:
        raise Refused(f"{keys.job_name(job)}, which has not ended, goes on from {name}; cancel it or wait.", "IN_USE")
