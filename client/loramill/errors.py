"""What can go wrong for a caller. Every message is meant for people; none needs a stack trace beside it.

    ClientError                 the service or this machine could not do what was asked
    ├── AddressError            the server's address is none
    ├── CredentialsError        tokens or certificates cannot be used as they were given (found here, nothing was sent)
    ├── SpecError               the spec cannot be read; carries every problem at once (found here, nothing was sent)
    ├── InputError              a folder or archive cannot become a dataset; carries every problem at once
    ├── FileError               a file cannot be uploaded as an adapter (found here, nothing was sent)
    ├── DownloadError           a file did not arrive whole, or may not be written here
    ├── Unreachable             no service answers at the address, or not in time
    └── CallError               the service answered with an error
        ├── InvalidRequest      INVALID_ARGUMENT; carries every violation at once
        ├── NotFound            NOT_FOUND
        ├── AlreadyExists       ALREADY_EXISTS
        ├── NotNow              FAILED_PRECONDITION: true only in another state of the thing
        ├── NotAuthenticated    UNAUTHENTICATED: the service does not know who calls
        ├── NotAllowed          PERMISSION_DENIED: it knows, and this is not theirs to do
        └── ServerFailed        every other code

`from_rpc` makes a CallError or Unreachable out of what gRPC raised; it alone knows gRPC's codes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import grpc
    from google.rpc import status_pb2


class ClientError(Exception):
    """The service or this machine could not do what was asked. The message is one sentence with the remedy."""


class _ProblemsError(ClientError):
    """Carries `problems`, a sentence each, all of them at once."""

    def __init__(self, summary: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join([summary, *(f"  {problem}" for problem in self.problems)]))


class AddressError(ClientError):
    """The server's address is none."""


class CredentialsError(ClientError):
    """Tokens or certificates cannot be used as they were given. Nothing was sent."""


class SpecError(_ProblemsError):
    """The spec cannot be read. Nothing was sent."""


class InputError(_ProblemsError):
    """A folder or archive cannot become a dataset. Nothing was sent."""


class FileError(ClientError):
    """A file cannot be uploaded as an adapter. Nothing was sent."""


class DownloadError(ClientError):
    """A file did not arrive whole, or may not be written here. Nothing was left behind."""


class Unreachable(ClientError):
    """No service answers at the address, or not in time."""


@dataclass(frozen=True)
class Violation:
    """One thing that is wrong with a request: the `field` by its path, and a sentence."""

    field: str
    description: str

    def __str__(self) -> str:
        """The sentence, led by the field unless it names it itself."""
        names_it = not self.field or self.description.startswith((self.field, f"`{self.field}`"))
        return self.description if names_it else f"{self.field}: {self.description}"


@dataclass(frozen=True)
class ErrorDetails:
    """What the service said in google.rpc.Status.

    `sentence` is its message; `reason` and `metadata` are ErrorInfo's, empty without one; `code` is the name of gRPC's.
    """

    code: str
    sentence: str
    reason: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    violations: tuple[Violation, ...] = ()


class CallError(ClientError):
    """The service answered with an error."""

    def __init__(self, details: ErrorDetails) -> None:
        self.details = details
        # Where the message only strings the violations together, the list of them is enough.
        told = any(violation.description in details.sentence for violation in details.violations)
        if told and len(details.violations) == 1:
            super().__init__(str(details.violations[0]))
            return
        summary = "The service refused the request:" if told else details.sentence
        super().__init__("\n".join([summary, *(f"  {violation}" for violation in details.violations)]))

    @property
    def reason(self) -> str:
        return self.details.reason

    @property
    def violations(self) -> tuple[Violation, ...]:
        return self.details.violations


class InvalidRequest(CallError):
    pass


class NotFound(CallError):
    pass


class AlreadyExists(CallError):
    pass


class NotNow(CallError):
    pass


class NotAuthenticated(CallError):
    pass


class NotAllowed(CallError):
    pass


class ServerFailed(CallError):
    pass


CALL_ERRORS: dict[str, type[CallError]] = {
    "INVALID_ARGUMENT": InvalidRequest,
    "OUT_OF_RANGE": InvalidRequest,
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": AlreadyExists,
    "FAILED_PRECONDITION": NotNow,
    "PERMISSION_DENIED": NotAllowed,
    "UNAUTHENTICATED": NotAuthenticated,
}
"""By the name of gRPC's code. Others are ServerFailed, but UNAVAILABLE, CANCELLED and DEADLINE_EXCEEDED Unreachable."""


def no_service_at(address: str) -> str:
    """The sentence for a connection that cannot be made."""
    return (
        f"No Loramill service answers at {address}. Start one on this machine with `python -m service --local`,"
        " or name another with --server or LORAMILL_SERVER."
    )


def _no_tls(address: str, said: str) -> str:
    """The sentence for a connection that TLS did not let come about; empty if gRPC's words (`said`) tell of nothing like it."""
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return (
            f"The certificate of {address} is of no authority that is trusted here. Name the service's own with --ca."
        )
    if "WRONG_VERSION_NUMBER" in said:
        return (
            f"The service at {address} does not speak TLS. Leave out --tls, --ca and --cert, or name another address."
        )
    if "andshake" in said:
        return f"No TLS connection to {address} comes about: {said} Look at --ca, --cert and --key."
    if "last error" in said and "Socket closed" in said:
        return (
            f"The service at {address} hangs up on connections like this one. It may want TLS (--tls or --ca), or a client"
            " certificate (--cert and --key)."
        )
    return ""


def from_rpc(error: grpc.RpcError, address: str) -> ClientError:
    """The error to raise for what gRPC raised while talking to `address`."""
    code = error.code().name
    details = _details(error)
    if code == "UNAVAILABLE":
        if details.reason:  # it comes only from a service that does answer
            return Unreachable(details.sentence)
        return Unreachable(_no_tls(address, details.sentence) or no_service_at(address))
    if code == "CANCELLED":
        return Unreachable(f"The service at {address} broke the call off; it may be restarting. Try again.")
    if code == "DEADLINE_EXCEEDED":
        return Unreachable(
            f"The service at {address} did not answer in time. Look at its log, or try again; repeating is safe."
        )
    if code == "UNIMPLEMENTED":
        sentence = f"The service at {address} does not know this call. Use a client and a service of the same version."
        return ServerFailed(ErrorDetails(code, sentence))
    return CALL_ERRORS.get(code, ServerFailed)(details)


def _details(error: grpc.RpcError) -> ErrorDetails:
    from google.rpc import error_details_pb2

    code = error.code().name
    sentence = error.details() or f"The service answered {code} without a word. Its log says more."
    status = _status(error)
    reason, metadata, violations = "", dict[str, str](), list[Violation]()
    for detail in status.details if status else ():
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(bad):
            violations += [Violation(entry.field, entry.description) for entry in bad.field_violations]
    return ErrorDetails(code, sentence, reason, metadata, tuple(violations))


def _status(error: grpc.RpcError) -> status_pb2.Status | None:
    """The rich status that came with the error; None if there is none, or one that cannot be read."""
    from google.protobuf.message import DecodeError
    from google.rpc import status_pb2

    metadata = cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ())
    for key, value in metadata:
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None
    return None
