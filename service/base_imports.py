"""ImportBaseModel: checks what is asked for, begins the import or joins one under way, and waits a while for its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from loramill import v1
from service import keys
from service.audit import Audit
from service.bases import SHAPES_ID, Bases
from service.caller import Caller
from service.errors import (
    Interrupted,
    InvalidRequest,
    NotAvailable,
    Refused,
    ResourceExists,
    ServiceError,
    Violation,
)
from service.executors import ExecutorError
from service.import_states import begun
from service.importing import problems
from service.importing.folders import OutsideRoots, resolved
from service.importing.launching import ImportLauncher
from service.importing.selection import VARIANTS
from service.importing.settings import ImportSettings, is_listed
from service.importing.sources import FileSource, HubSource, ObjectSource, Source, SourceError, parse_source
from service.times import to_timestamp, utc_now
from store.object_store import ObjectStore
from store.records import put_record, read_record

_LONGEST_LICENSE = 1000
_ANSWER_S = 10.0
"""Seconds that a call waits for the end of its import."""
_LOOK_S, _LONGEST_LOOK_S = 0.02, 0.5

_UNAVAILABLE = frozenset(
    {problems.SOURCE_UNAVAILABLE, problems.STORE_UNAVAILABLE, problems.NO_SPACE, problems.INTERNAL}
)


@dataclass(frozen=True)
class BaseImports:
    """Imports on callers' behalf. Synchronous: called in threads."""

    store: ObjectStore
    bases: Bases
    launcher: ImportLauncher
    audit: Audit
    settings: ImportSettings
    """What may be imported."""
    mixed: bool = True
    """Whether the service's own files and those from elsewhere can be imported together."""
    clock: Callable[[], datetime] = utc_now
    answer_s: float = _ANSWER_S

    def import_(self, caller: Caller, request: v1.ImportBaseModelRequest) -> v1.BaseModel:
        """Raises InvalidRequest with everything that is wrong, ResourceExists, Refused, Interrupted, NotAvailable."""
        found = _violations(request, self.settings, mixed=self.mixed)
        if found:
            raise InvalidRequest(found)
        self.audit.record(caller, keys.base_name(request.base_model_id), keys.SHARED)
        number = self._begin(request)
        ended = self._ended(request.base_model_id, number)
        if ended is not None and ended.state == v1.BASE_MODEL_IMPORT_STATE_FAILED:
            raise _error_of(ended)
        return self.bases.get(request.base_model_id)

    def _begin(self, request: v1.ImportBaseModelRequest) -> int:
        """The number of the import that carries out this request."""
        base = request.base_model_id
        while True:
            number = self.bases.states.newest_number(base)
            state = self.bases.states.of(base, number) if number else None
            if state is not None and state.state == v1.BASE_MODEL_IMPORT_STATE_RUNNING:
                record = read_record(self.store, keys.BaseKeys(base).import_(number).request, v1.BaseModelImportRecord)
                if record is not None and record.request == request:
                    return number
                raise Refused(
                    f"{keys.base_name(base)} is being imported from {state.source_uri}; wait for its end, or import under "
                    "another id.",
                    "IMPORT_RUNNING",
                )
            record = v1.BaseModelImportRecord(
                request=request, create_time=to_timestamp(self.clock()), number=number + 1
            )
            if put_record(self.store, keys.BaseKeys(base).import_(number + 1).request, record):
                self._start(record)
                return number + 1

    def _start(self, record: v1.BaseModelImportRecord) -> None:
        base = record.request.base_model_id
        try:
            self.launcher.start(base, record.number, record.request)
        except ExecutorError as error:
            ended = begun(record)
            ended.state, ended.message = v1.BASE_MODEL_IMPORT_STATE_FAILED, f"The import could not be begun: {error}"
            ended.problems.add(reason=problems.INTERRUPTED, description=ended.message)
            ended.end_time.CopyFrom(to_timestamp(self.clock()))
            end = keys.BaseKeys(base).import_(record.number).end
            put_record(self.store, end, v1.BaseModelImportStatus(base_import=ended))
            raise

    def _ended(self, base: str, number: int) -> v1.BaseModelImport | None:
        """How the import ended; None if it goes on when the call's time is over."""
        until, wait = time.monotonic() + self.answer_s, _LOOK_S
        while time.monotonic() < until:
            state = self.bases.states.of(base, number)
            if state is not None and state.state != v1.BASE_MODEL_IMPORT_STATE_RUNNING:
                return state
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST_LOOK_S)
        return None


def _violations(request: v1.ImportBaseModelRequest, settings: ImportSettings, *, mixed: bool) -> list[Violation]:
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
    if len(request.license) > _LONGEST_LICENSE:
        text = f"license has {len(request.license)} characters, but must have at most {_LONGEST_LICENSE}; name it by its SPDX id."
        found.append(Violation("license", text))
    if request.variant not in VARIANTS:
        found.append(
            Violation("variant", f"variant is {request.variant[:80]!r}, but must be fp16 or empty.", "INVALID_NAME")
        )
    if not request.source_uri:
        text = "source_uri is required; give hf://owner/repo, s3://bucket/path or file:///path."
        found.append(Violation("source_uri", text, "REQUIRED"))
    kinds = set()
    for field in ("source_uri", "vae_source_uri"):
        uri: str = getattr(request, field)
        try:
            if uri:
                kinds.add(isinstance(_listed_source(uri, settings), FileSource))
        except _NotListed as error:
            found.append(Violation(field, f"{field} {uri[:200]!r} {error}.", error.reason))
    if len(kinds) > 1 and not mixed:
        text = (
            "vae_source_uri is read where source_uri cannot be: file:// by the service, hf:// and s3:// by a Job; "
            "copy both to one place."
        )
        found.append(Violation("vae_source_uri", text, "NOT_SUPPORTED"))
    return found


class _NotListed(Exception):
    """The message is the rest of a sentence that begins with the address."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def _listed_source(uri: str, settings: ImportSettings) -> Source:
    """The source, which the operator allows. Raises _NotListed."""
    try:
        source = parse_source(uri)
    except SourceError as error:
        raise _NotListed(str(error), "INVALID_NAME") from error
    if isinstance(source, FileSource):
        try:
            resolved(source, settings.folders)
        except OutsideRoots as error:
            raise _NotListed(str(error), "OUTSIDE_ROOTS") from error
    if isinstance(source, ObjectSource) and not is_listed(source, settings.buckets):
        names = ", ".join(bucket.uri for bucket in settings.buckets) or "none"
        raise _NotListed(
            f"does not lie below a prefix that the operator listed for imports ({names}); have it listed, or name another place",
            "OUTSIDE_ROOTS",
        )
    if isinstance(source, HubSource) and settings.hub_endpoint is None:
        raise _NotListed(
            "cannot be imported: the operator has named no hub (imports.hub of its file, --hub-endpoint in local mode); "
            "have one named, or import from a bucket or a folder",
            "NOT_CONFIGURED",
        )
    return source


def _error_of(ended: v1.BaseModelImport) -> ServiceError:
    """What the caller hears of an import that failed while they waited."""
    reasons = {problem.reason for problem in ended.problems}
    if problems.ALREADY_EXISTS in reasons:
        return ResourceExists(ended.message)
    if problems.INTERRUPTED in reasons:
        return Interrupted(ended.message)
    if reasons & _UNAVAILABLE:
        return NotAvailable(ended.message, min(reasons & _UNAVAILABLE))
    return InvalidRequest([Violation("source_uri", problem.description, problem.reason) for problem in ended.problems])
