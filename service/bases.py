"""Base models in the store: imported once, checked and pinned, the same for all tenants. Synchronous: called in threads.

An import first copies the files aside, so that what is recorded is what is stored even if the source changes meanwhile. It
then claims the id for that content, stores the files and their manifest, and writes the record last.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog

from loramill import v1
from service import keys
from service.audit import Audit
from service.base_files import BaseFiles, folder_of, inspect
from service.caller import Caller
from service.errors import Interrupted, InvalidRequest, ResourceExists, ResourceNotFound, Violation, invalid
from service.pages import entry_before, page_size, page_token
from service.times import to_timestamp, utc_now
from store.digests import manifest_digest, sha256_of
from store.object_store import AlreadyExists, ObjectStore
from store.records import put_record, read_record

log = structlog.get_logger(__name__)

SHAPES_ID = "shapes"
SHAPES_URI = "builtin://shapes"

_LONGEST_LICENSE = 1000
_PAST_FOLDER = "0"  # sorts right behind "/"


def base_id(name: str, field: str = "name") -> str:
    """The id in `baseModels/<id>`. Raises InvalidRequest."""
    base = keys.base_of_name(name)
    if base is None:
        raise invalid(field, f"{field} is {name[:80]!r}, but must be baseModels/<id>.", "INVALID_NAME")
    return base


@dataclass(frozen=True)
class Bases:
    """The base models of the record."""

    store: ObjectStore
    audit: Audit
    roots: Sequence[Path]
    """Folders below which operators may import from."""
    staging: Path
    clock: Callable[[], datetime] = utc_now

    def find(self, base: str) -> v1.BaseModel | None:
        record = read_record(self.store, keys.BaseKeys(base).record, v1.BaseModelRecord)
        return record.base_model if record is not None else None

    def get(self, base: str) -> v1.BaseModel:
        """Raises ResourceNotFound."""
        found = self.find(base)
        if found is None:
            raise ResourceNotFound(f"{keys.base_name(base)} does not exist; list the base models, or import it.")
        return found

    def page(self, request: v1.ListBaseModelsRequest) -> v1.ListBaseModelsResponse:
        """One page, by name."""
        size = page_size(request.page_size)
        after = entry_before(request.page_token, "bases")
        response = v1.ListBaseModelsResponse()
        for base in self._ids(after):
            found = self.find(base)
            if found is None:  # an import is under way
                continue
            if len(response.base_models) == size:
                response.next_page_token = page_token(base_id(response.base_models[-1].name), "bases")
                break
            response.base_models.append(found)
        return response

    def import_(self, caller: Caller, request: v1.ImportBaseModelRequest) -> v1.BaseModel:
        """Copies a base model into the store. Raises InvalidRequest with everything that is wrong, and ResourceExists."""
        found = _violations(request)
        if found:
            raise InvalidRequest(found)
        folder = folder_of(request.source_uri, self.roots)
        self.audit.record(caller, keys.base_name(request.base_model_id), keys.SHARED)
        model = v1.BaseModel(
            name=keys.base_name(request.base_model_id), source_uri=request.source_uri, license=request.license
        )
        return self._store(model, inspect(folder, self.roots))

    def import_shapes(self, folder: Path) -> v1.BaseModel:
        """Imports the base model that comes with Loramill. Raises as `import_`."""
        model = v1.BaseModel(name=keys.base_name(SHAPES_ID), source_uri=SHAPES_URI, license="Apache-2.0")
        return self._store(model, inspect(folder.resolve(), [folder]))

    def _store(self, model: v1.BaseModel, source: BaseFiles) -> v1.BaseModel:
        with tempfile.TemporaryDirectory(dir=self.staging, prefix="import-") as staging:
            staged = {
                name: _copied(path, Path(staging) / str(n)) for n, (name, path) in enumerate(source.files.items())
            }
            manifest = _manifest(staged)
            model.family = source.found.family
            model.resolution = source.found.resolution
            model.prediction_type = source.found.prediction_type
            model.digest = manifest.digest
            model.size_bytes = sum(file.size_bytes for file in manifest.files)
            model.create_time.CopyFrom(to_timestamp(self.clock()))
            claimed = self._claim(model)
            base_keys = keys.BaseKeys(base_id(model.name))
            for name, path in staged.items():
                try:
                    self.store.put_new(base_keys.files + name, path)
                except AlreadyExists:  # the claim binds the id to one content, so it is the same
                    continue
            put_record(self.store, base_keys.manifest, manifest)
            self._check_stored(base_keys, manifest)
            put_record(self.store, base_keys.record, v1.BaseModelRecord(base_model=claimed))
        return self.get(base_id(model.name))

    def _check_stored(self, base_keys: keys.BaseKeys, manifest: v1.FileManifest) -> None:
        """What an import that failed long ago had stored may have been collected while this one counted on it."""
        wanted = {base_keys.claim, base_keys.manifest, *(base_keys.files + file.path for file in manifest.files)}
        if not wanted <= {entry.key for entry in self.store.list(base_keys.root)}:
            name = keys.base_name(base_keys.base)
            raise Interrupted(
                f"An earlier import of {name} was being cleared away at the same moment; import it again."
            )

    def _claim(self, model: v1.BaseModel) -> v1.BaseModel:
        """Binds the id to this content; the base model as it was first claimed. Raises ResourceExists for another content."""
        base_keys = keys.BaseKeys(base_id(model.name))
        put_record(self.store, base_keys.claim, v1.BaseModelRecord(base_model=model))
        record = read_record(self.store, base_keys.claim, v1.BaseModelRecord)
        claimed = record.base_model if record is not None else model
        if claimed.digest != model.digest:
            raise ResourceExists(
                f"{model.name} already stands for another content (imported from {claimed.source_uri}, "
                f"digest {claimed.digest[:12]}…, now {model.digest[:12]}…); import it under another id."
            )
        return claimed

    def _ids(self, after: str) -> Iterator[str]:
        """Ids, by name, one look at the store each: what lies below them is skipped."""
        prefix = keys.BASES_PREFIX
        while (
            entry := next(iter(self.store.list(prefix, f"{prefix}{after}{_PAST_FOLDER}" if after else "")), None)
        ) is not None:
            after = keys.part_after(prefix, entry.key)
            yield after


def _violations(request: v1.ImportBaseModelRequest) -> list[Violation]:
    found = []
    if not keys.is_base_id(request.base_model_id):
        text = (
            f"base_model_id is {request.base_model_id[:80]!r}, but must be 1 to 63 lower-case letters, digits and '-', "
            "beginning with a letter or digit."
        )
        found.append(Violation("base_model_id", text, "INVALID_NAME"))
    if request.base_model_id == SHAPES_ID:
        text = f"base_model_id {SHAPES_ID!r} belongs to the base model that comes with Loramill; choose another."
        found.append(Violation("base_model_id", text, "RESERVED"))
    if not request.source_uri:
        found.append(Violation("source_uri", "source_uri is required; give file:///folder.", "REQUIRED"))
    if len(request.license) > _LONGEST_LICENSE:
        text = f"license has {len(request.license)} characters, but must have at most {_LONGEST_LICENSE}; name it by its SPDX id."
        found.append(Violation("license", text))
    return found


def _copied(source: Path, target: Path) -> Path:
    shutil.copyfile(source, target)
    return target


def _manifest(files: Mapping[str, Path]) -> v1.FileManifest:
    entries = [
        v1.DatasetFile(path=name, sha256=sha256_of(path), size_bytes=path.stat().st_size)
        for name, path in sorted(files.items(), key=lambda item: item[0].encode())
    ]
    return v1.FileManifest(files=entries, digest=manifest_digest(entries))
