"""The story of one import: what is there, what is taken of it, fetched, converted, checked, stored.

What it stores counts only with the record, which it writes last: killed anywhere, it can be begun again.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import structlog

from loramill import v1
from service import keys
from service.base_files import inspect
from service.importing import problems
from service.importing.assembly import Assembled, Fetched, assemble, check_head
from service.importing.family_configs import FamilyConfigs, read_families
from service.importing.opening import open_place
from service.importing.places import Listing, Place, Progress
from service.importing.problems import ImportFailed, Problem, failed
from service.importing.reporting import Reporter
from service.importing.selection import Selection, select, select_file, select_vae
from service.importing.settings import ImportSettings
from service.importing.sources import HubSource, parse_source
from service.importing.storing import describe, manifest_of, store_base
from service.times import to_timestamp, utc_now
from store.object_store import ObjectStore, StoreError
from store.records import put_record, read_record

log = structlog.get_logger(__name__)

_STAGING, _DOWNLOADS = "staging-", "downloads"
_NO_LICENSE = "The source states no licence, and none was given with the import."
_FORGOTTEN = timedelta(days=7)
"""After which what an import left behind to go on from is removed."""


@dataclass(frozen=True)
class Workshop:
    """Where an import works."""

    store: ObjectStore
    folder: Path
    """Of this machine, with room for a base model twice; what is fetched is kept there until it is stored."""
    settings: ImportSettings
    families: Mapping[str, FamilyConfigs]
    clock: Callable[[], datetime] = utc_now


def workshop(store: ObjectStore, folder: Path, settings: ImportSettings) -> Workshop:
    return Workshop(store, folder, settings, read_families())


def run_import(shop: Workshop, base: str, number: int, stopped: threading.Event) -> None:
    """Carries out import `number` of an id, whose request is in the store, and records how it ended. Raises StoreError."""
    import_keys = keys.BaseKeys(base).import_(number)
    record = read_record(shop.store, import_keys.request, v1.BaseModelImportRecord)
    if record is None or read_record(shop.store, import_keys.end, v1.BaseModelImportStatus) is not None:
        return
    status = v1.BaseModelImport(
        number=number,
        state=v1.BASE_MODEL_IMPORT_STATE_RUNNING,
        source_uri=record.request.source_uri,
        vae_source_uri=record.request.vae_source_uri,
        create_time=record.create_time,
    )
    reporter = Reporter(shop.store, import_keys, status, stopped, shop.clock)
    with reporter.reporting():
        try:
            _import(shop, record.request, reporter)
            found: tuple[Problem, ...] = ()
        except ImportFailed as error:
            found = error.problems
        except StoreError as error:
            found = (
                Problem(problems.STORE_UNAVAILABLE, f"The object store could not be used: {error}; import it again."),
            )
        except OSError as error:
            found = (_of_machine(error),)
        except Exception:
            log.exception("an import failed in a way that nobody foresaw", base=base, number=number)
            found = (Problem(problems.INTERNAL, "An error in Loramill; the log of the import tells more."),)
    _end(shop, import_keys, status, found)


def _import(shop: Workshop, request: v1.ImportBaseModelRequest, reporter: Reporter) -> None:
    forget_old(shop.folder, shop.clock())
    reporter.begin(v1.BASE_MODEL_IMPORT_PHASE_LISTING)
    downloads, vae_uri = shop.folder / _DOWNLOADS, request.vae_source_uri
    base = _Import(open_place(shop.settings, downloads, request.source_uri))
    vae = _Import(open_place(shop.settings, downloads, vae_uri)) if vae_uri else None
    model = _model(request, base, vae)
    if not _is_there_already(shop.store, model):
        total = base.choose(lambda listing: _selected(listing, request.variant, needs_vae=vae is None))
        total += vae.choose(_selected_vae) if vae is not None else 0
        _check_size(shop, total)
        with tempfile.TemporaryDirectory(dir=shop.folder, prefix=_STAGING) as folder:
            base.check_head(shop, Path(folder), needs_vae=vae is None)
        reporter.begin(v1.BASE_MODEL_IMPORT_PHASE_FETCHING, total)
        fetched = base.fetch(reporter.progress)
        vae_fetched = vae.fetch(reporter.progress) if vae is not None else None
        with tempfile.TemporaryDirectory(dir=shop.folder, prefix=_STAGING) as folder:
            assembled = assemble(fetched, vae_fetched, shop.families, Path(folder), reporter)
            _check_and_store(shop, model, assembled, Path(folder), reporter)
    base.place.done()
    if vae is not None:
        vae.place.done()


def _check_and_store(
    shop: Workshop, model: v1.BaseModel, assembled: Assembled, folder: Path, reporter: Reporter
) -> None:
    total = sum(path.stat().st_size for path in assembled.files.values())
    reporter.begin(v1.BASE_MODEL_IMPORT_PHASE_CHECKING, total)
    found = inspect(assembled.files)
    files = {name: _own(path, shop.folder, folder / str(n)) for n, (name, path) in enumerate(assembled.files.items())}
    manifest = manifest_of(files, reporter.progress)
    describe(model, found)
    model.notes.extend([*assembled.notes, *([] if model.license else [_NO_LICENSE])])
    reporter.begin(v1.BASE_MODEL_IMPORT_PHASE_STORING, total)
    store_base(shop.store, model, files, manifest, shop.clock(), reporter.progress)


class _Import:
    """One source of an import: the base model's, or the VAE's."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.listing = place.listed()
        self._selection = Selection()

    def choose(self, select: Callable[[Listing], Selection]) -> int:
        """Decides what is taken; its bytes."""
        self._selection = select(self.listing)
        return sum(self.listing.sizes[name] for name in self._selection.names)

    def check_head(self, shop: Workshop, folder: Path, *, needs_vae: bool) -> None:
        """Of a single file: raises ImportFailed where its header is enough to know that it is not suitable."""
        name = self._selection.checkpoint
        if name:
            head, size = partial(self.place.head, name), self.listing.sizes[name]
            check_head(name, head, size, shop.families, folder, needs_vae=needs_vae)

    def fetch(self, progress: Progress) -> Fetched:
        """Raises ImportFailed; where files themselves are unsuitable, with all of them."""
        paths: dict[str, Path] = {}
        unsuitable: list[Problem] = []
        for name in self._selection.names:
            try:
                paths[name] = self.place.fetch(name, progress)
            except ImportFailed as error:
                if any(problem.reason != problems.UNSUITABLE for problem in error.problems):
                    raise
                unsuitable += error.problems
        if unsuitable:
            raise ImportFailed(unsuitable)
        return Fetched(self._selection, paths)


def _model(request: v1.ImportBaseModelRequest, base: _Import, vae: _Import | None) -> v1.BaseModel:
    """What is known of the base model before it is fetched."""
    return v1.BaseModel(
        name=keys.base_name(request.base_model_id),
        source_uri=base.listing.uri,
        vae_source_uri=vae.listing.uri if vae is not None else "",
        license=request.license or base.listing.license,
        variant=request.variant,
    )


def _is_there_already(store: ObjectStore, model: v1.BaseModel) -> bool:
    """Whether the id stands for this very commit already, so that nothing need be fetched to know it."""
    base = keys.base_of_name(model.name)
    record = read_record(store, keys.BaseKeys(base or "").record, v1.BaseModelRecord)
    if record is None:
        return False
    found = record.base_model
    pinned = all(isinstance(parse_source(uri), HubSource) for uri in (model.source_uri, model.vae_source_uri) if uri)
    same = (found.source_uri, found.vae_source_uri, found.variant) == (
        model.source_uri,
        model.vae_source_uri,
        model.variant,
    )
    return pinned and same


def _selected(listing: Listing, variant: str, *, needs_vae: bool) -> Selection:
    if listing.file:
        return select_file(listing.file)
    return select(listing.sizes.keys(), variant, needs_vae=needs_vae)


def _selected_vae(listing: Listing) -> Selection:
    return select_file(listing.file) if listing.file else select_vae(listing.sizes.keys())


def _check_size(shop: Workshop, total: int) -> None:
    if total > shop.settings.largest:
        raise failed(
            problems.TOO_LARGE,
            f"The files have {total} bytes, but the operator allows {shop.settings.largest}; raise the limit of imports.",
        )
    free = shutil.disk_usage(shop.folder).free
    if total > free:
        raise failed(
            problems.NO_SPACE,
            f"The files have {total} bytes, but the disk of {shop.folder} has room for {free}; give imports more of it.",
        )


def _own(path: Path, folder: Path, copy: Path) -> Path:
    """The file, or a copy of one that somebody else may change."""
    if path.is_relative_to(folder):
        return path
    shutil.copyfile(path, copy)
    return copy


def _of_machine(error: OSError) -> Problem:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Problem(problems.NO_SPACE, f"The disk that imports work on is full: {error}; give them more of it.")
    return Problem(problems.INTERNAL, f"A file could not be used: {error}; import it again.")


def _end(
    shop: Workshop, import_keys: keys.BaseImportKeys, status: v1.BaseModelImport, found: tuple[Problem, ...]
) -> None:
    status.state = v1.BASE_MODEL_IMPORT_STATE_FAILED if found else v1.BASE_MODEL_IMPORT_STATE_SUCCEEDED
    status.problems.extend(
        v1.BaseModelImportProblem(reason=problem.reason, description=problem.description) for problem in found
    )
    more = f" ({len(found) - 1} more problems.)" if len(found) > 1 else ""
    status.message = found[0].description + more if found else ""
    status.end_time.CopyFrom(to_timestamp(shop.clock()))
    status.update_time.CopyFrom(status.end_time)
    put_record(shop.store, import_keys.end, v1.BaseModelImportStatus(base_import=status))


def forget_old(folder: Path, now: datetime) -> None:
    """Removes what imports that were never repeated have left."""
    folder.mkdir(parents=True, exist_ok=True)
    for entry in [*folder.glob(f"{_STAGING}*"), *(folder / _DOWNLOADS).glob("*")]:
        if now.timestamp() - entry.stat().st_mtime > _FORGOTTEN.total_seconds():
            shutil.rmtree(entry, ignore_errors=True)
