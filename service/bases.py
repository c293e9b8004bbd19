"""Base models in the store: imported once, checked and pinned, the same for all tenants. Synchronous: called in threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from loramill import v1
from service import keys
from service.base_files import inspect
from service.errors import ResourceNotFound, invalid
from service.import_states import ImportStates
from service.importing.folders import FolderPlace
from service.importing.selection import select
from service.importing.sources import FileSource
from service.importing.storing import describe, manifest_of, store_base
from service.pages import entry_before, page_size, page_token
from service.times import utc_now
from store.object_store import ObjectStore
from store.records import read_record

SHAPES_ID = "shapes"
SHAPES_URI = "builtin://shapes"

_PAST_FOLDER = "0"  # sorts right behind "/"
_STATES = {
    v1.BASE_MODEL_IMPORT_STATE_RUNNING: v1.BASE_MODEL_STATE_IMPORTING,
    v1.BASE_MODEL_IMPORT_STATE_FAILED: v1.BASE_MODEL_STATE_FAILED,
}


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
    states: ImportStates
    clock: Callable[[], datetime] = utc_now

    def find(self, base: str) -> v1.BaseModel | None:
        """A base model that is ready; None for any other."""
        record = read_record(self.store, keys.BaseKeys(base).record, v1.BaseModelRecord)
        if record is None:
            return None
        record.base_model.state = v1.BASE_MODEL_STATE_READY
        return record.base_model

    def get(self, base: str) -> v1.BaseModel:
        """With its newest import, whether it is ready or not. Raises ResourceNotFound."""
        found = self._with_import(base)
        if found is None:
            raise ResourceNotFound(f"{keys.base_name(base)} does not exist; list the base models, or import it.")
        return found

    def page(self, request: v1.ListBaseModelsRequest) -> v1.ListBaseModelsResponse:
        """One page of those that are ready or being imported, by name."""
        size = page_size(request.page_size)
        after = entry_before(request.page_token, "bases")
        response = v1.ListBaseModelsResponse()
        for base in self._ids(after):
            found = self._with_import(base)
            if found is None or found.state == v1.BASE_MODEL_STATE_FAILED:
                continue
            if len(response.base_models) == size:
                response.next_page_token = page_token(base_id(response.base_models[-1].name), "bases")
                break
            response.base_models.append(found)
        return response

    def import_shapes(self, folder: Path) -> v1.BaseModel:
        """Stores the base model that comes with Loramill. Raises ImportFailed with everything that is wrong with it."""
        place = FolderPlace(FileSource(str(folder.resolve())), [folder.resolve()])
        selection = select(place.listed().sizes.keys())
        files = {name: place.fetch(names[0], _unheard) for name, names in selection.files.items()}
        found = inspect(files)
        model = v1.BaseModel(name=keys.base_name(SHAPES_ID), source_uri=SHAPES_URI, license="Apache-2.0")
        describe(model, found)
        return store_base(self.store, model, files, manifest_of(files, _unheard), self.clock())

    def _with_import(self, base: str) -> v1.BaseModel | None:
        found, newest = self.find(base), self.states.newest(base)
        if newest is None:
            return found
        if found is None:
            state = _STATES.get(newest.state, v1.BASE_MODEL_STATE_IMPORTING)
            found = v1.BaseModel(name=keys.base_name(base), source_uri=newest.source_uri, state=state)
        found.last_import.CopyFrom(newest)
        return found

    def _ids(self, after: str) -> Iterator[str]:
        """Ids, by name, one look at the store each: what lies below them is skipped."""
        prefix = keys.BASES_PREFIX
        while (
            entry := next(iter(self.store.list(prefix, f"{prefix}{after}{_PAST_FOLDER}" if after else "")), None)
        ) is not None:
            after = keys.part_after(prefix, entry.key)
            yield after


def _unheard(_: int) -> None:
    """Nobody waits to hear of it."""
