"""From an address to what can be done with it, as far as the operator has listed it."""

from __future__ import annotations

from pathlib import Path

from service.importing.folders import FolderPlace
from service.importing.objects import ObjectPlace
from service.importing.places import Place
from service.importing.problems import failed
from service.importing.settings import ImportSettings, is_listed
from service.importing.sources import FileSource, ObjectSource, SourceError, parse_source
from store.open import open_store


def open_place(settings: ImportSettings, downloads: Path, uri: str) -> Place:
    """The source, whose files are kept in `downloads` when they are fetched. Raises ImportFailed for what is not listed."""
    try:
        source = parse_source(uri)
    except SourceError as error:
        raise failed("INVALID_NAME", f"{uri[:200]!r} {error}.") from error
    if isinstance(source, FileSource):
        return FolderPlace(source, settings.folders)
    if isinstance(source, ObjectSource):
        if not is_listed(source, settings.buckets):
            raise failed(
                "OUTSIDE_ROOTS",
                f"{source.uri} does not lie below a prefix that the operator listed; have it listed, or name another place.",
            )
        return ObjectPlace(source, open_store(f"s3://{source.bucket}/"), downloads)
    if settings.hub_endpoint is None:
        raise failed(
            "NOT_CONFIGURED",
            "The operator has named no hub to import from; have one named, or import from s3:// or file://.",
        )
    from service.importing.hub import HubPlace  # here, because it takes a while to import

    return HubPlace(source, downloads, settings.hub_endpoint, settings.hub_token)
