"""What can go wrong in a call, and how the caller hears of it.

    ServiceError                 code                  reason in ErrorInfo
    ├── InvalidRequest           INVALID_ARGUMENT      INVALID_REQUEST; carries every violation at once
    ├── ResourceNotFound         NOT_FOUND             RESOURCE_NOT_FOUND
    ├── ResourceExists           ALREADY_EXISTS        RESOURCE_EXISTS
    ├── Refused                  FAILED_PRECONDITION   as given
    ├── Interrupted              ABORTED               CONCURRENT_CHANGE; the same call again may succeed
    ├── NotIdentified            UNAUTHENTICATED       as given
    ├── NotPermitted             PERMISSION_DENIED     as given
    ├── NotAvailable             UNAVAILABLE           as given; the same call again may succeed
    └── Damaged                  DATA_LOSS             DAMAGED_RECORD

Errors of the store and of the executor become NotAvailable or Damaged; every other exception is INTERNAL with an id that is
also in the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from service.executors import ExecutorError
from store.object_store import RecordError, StoreError

DOMAIN = "loramill"

_DETAILS_BYTES = 4800
"""Details travel in a trailer, in base64; most gRPC clients take no more than 8 KiB of trailers."""
_LONGEST_TEXT = 500


@dataclass(frozen=True)
class Violation:
    """One thing that is wrong with a request.

    `field` is its path from the request, such as `spec.adapter.rank`; `description` names value, range and remedy;
    `reason` is one of a few words that programs can act on.
    """

    field: str
    description: str
    reason: str = "OUT_OF_RANGE"


class ServiceError(Exception):
    """An answer to the caller: one sentence that names the thing, what was expected, and the remedy."""

    code = grpc.StatusCode.INTERNAL
    reason = "INTERNAL"

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if reason is not None:
            self.reason = reason

    def details(self) -> Sequence[Message]:
        return [error_details_pb2.ErrorInfo(reason=self.reason, domain=DOMAIN)]


class InvalidRequest(ServiceError):
    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_REQUEST"

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        first = self.violations[0].description
        more = f" (1 of {len(violations)} violations; the details list them.)" if len(violations) > 1 else ""
        super().__init__(_shortened(first) + more)

    def details(self) -> Sequence[Message]:
        return [error_details_pb2.BadRequest(field_violations=_entries(self.violations)), *super().details()]


def _entries(violations: Sequence[Violation]) -> list[error_details_pb2.BadRequest.FieldViolation]:
    """All violations; where they would not fit into a trailer, as many as do and the number of the others."""
    entries: list[error_details_pb2.BadRequest.FieldViolation] = []
    size = 0
    for violation in violations:
        entry = error_details_pb2.BadRequest.FieldViolation(
            field=violation.field, description=_shortened(violation.description), reason=violation.reason
        )
        size += entry.ByteSize()
        if size > _DETAILS_BYTES:
            left = len(violations) - len(entries)
            text = f"{left} more violations do not fit into this answer; put the others right to see them."
            return [*entries, error_details_pb2.BadRequest.FieldViolation(description=text, reason="MORE_VIOLATIONS")]
        entries.append(entry)
    return entries


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"


class ResourceNotFound(ServiceError):
    code = grpc.StatusCode.NOT_FOUND
    reason = "RESOURCE_NOT_FOUND"


class ResourceExists(ServiceError):
    code = grpc.StatusCode.ALREADY_EXISTS
    reason = "RESOURCE_EXISTS"


class Refused(ServiceError):
    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "REFUSED"


class Interrupted(ServiceError):
    code = grpc.StatusCode.ABORTED
    reason = "CONCURRENT_CHANGE"


class NotIdentified(ServiceError):
    """Nobody is served before it is known who calls."""

    code = grpc.StatusCode.UNAUTHENTICATED
    reason = "NOT_IDENTIFIED"

    def __init__(self, message: str, reason: str | None = None, check: str = "") -> None:
        """`check` says what was found wrong: for the service's log, never for the caller."""
        super().__init__(message, reason)
        self.check = check


class NotPermitted(ServiceError):
    """It is known who calls, and that this is not theirs to do."""

    code = grpc.StatusCode.PERMISSION_DENIED
    reason = "NOT_PERMITTED"


class NotAvailable(ServiceError):
    code = grpc.StatusCode.UNAVAILABLE
    reason = "NOT_AVAILABLE"


class Damaged(ServiceError):
    code = grpc.StatusCode.DATA_LOSS
    reason = "DAMAGED_RECORD"


class Internal(ServiceError):
    """Stands for an exception that nobody foresaw; says nothing but where to look."""

    def __init__(self, call_id: str) -> None:
        super().__init__(f"An error in Loramill; the service's log names it under call id {call_id}.")


def invalid(field: str, description: str, reason: str = "OUT_OF_RANGE") -> InvalidRequest:
    """An InvalidRequest of one violation."""
    return InvalidRequest([Violation(field, description, reason)])


def translated(error: Exception, call_id: str) -> ServiceError:
    """What the caller is told of any exception."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, RecordError):
        return Damaged(f"A record in the object store cannot be read: {error}")
    if isinstance(error, StoreError):
        return NotAvailable(f"The object store could not be used: {error}; try again.", "STORE_UNAVAILABLE")
    if isinstance(error, ExecutorError):
        return NotAvailable(f"The executor could not be used: {error} Try again.", "EXECUTOR_UNAVAILABLE")
    return Internal(call_id)


def status_of(error: ServiceError) -> status_pb2.Status:
    """The error as google.rpc.Status."""
    details = []
    for detail in error.details():
        packed = any_pb2.Any()
        packed.Pack(detail)
        details.append(packed)
    return status_pb2.Status(code=error.code.value[0], message=error.message, details=details)
