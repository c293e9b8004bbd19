"""What an import may read, and how much: the operator's word, on one machine and on a cluster alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from service.importing.sources import ObjectSource, SourceError, parse_source

LARGEST = 40 << 30
"""Bytes of one base model, unless the operator says otherwise."""


@dataclass(frozen=True, kw_only=True)
class ImportSettings:
    """Where base models may come from."""

    folders: tuple[Path, ...] = ()
    """Folders below which `file://` may name something."""
    buckets: tuple[ObjectSource, ...] = ()
    """Prefixes of buckets below which `s3://` may name something."""
    hub_endpoint: str | None = None
    """Address of the Hugging Face hub; None where there is none to be asked."""
    hub_token: str = ""
    """What the hub is shown; empty for what everybody may read."""
    largest: int = LARGEST
    """Bytes of one import's files."""


def bucket_of(uri: str) -> ObjectSource:
    """The prefix that an operator has listed. Raises SourceError."""
    source = parse_source(uri)
    if not isinstance(source, ObjectSource):
        raise SourceError(f"{uri!r} is no prefix that can be imported from: expected s3://bucket/prefix")
    return source


def is_listed(source: ObjectSource, buckets: tuple[ObjectSource, ...]) -> bool:
    """Whether an address lies below one of the operator's prefixes."""
    return any(
        source.bucket == root.bucket and (not root.path or f"{source.path}/".startswith(f"{root.path}/"))
        for root in buckets
    )
