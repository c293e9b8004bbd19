"""What all commands share: their options, the connection, and how errors become sentences and exit codes."""

from __future__ import annotations

import contextlib
import os
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from loramill import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loramill.client import Client

EXIT_FAILED = 1
"""The service or this machine could not do it, or the watched job did not succeed."""
EXIT_USAGE = 2
"""What was given is wrong: the command line, the spec, the folder."""
EXIT_UNREACHABLE = 3
"""No service answers."""
EXIT_NOT_AUTHENTICATED = 4
"""The service does not know who calls."""
EXIT_NOT_ALLOWED = 5
"""It knows, and this is not theirs to do."""

_USAGE_ERRORS = (
    errors.AddressError,
    errors.CredentialsError,
    errors.SpecError,
    errors.InputError,
    errors.FileError,
    errors.InvalidRequest,
)
_EXIT_CODES: dict[type[errors.ClientError], int] = {
    errors.Unreachable: EXIT_UNREACHABLE,
    errors.NotAuthenticated: EXIT_NOT_AUTHENTICATED,
    errors.NotAllowed: EXIT_NOT_ALLOWED,
    **dict.fromkeys(_USAGE_ERRORS, EXIT_USAGE),
}


_REQUEST_SPEC = re.compile(r"(?<![\w.])spec\.(?=[a-z_]+)")


class Output(StrEnum):
    """How something is printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


class Data(StrEnum):
    """How something without a name is printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


ServerOption = Annotated[
    str | None,
    typer.Option("--server", metavar="HOST:PORT", help="The service. Default: $LORAMILL_SERVER, else 127.0.0.1:50051."),
]
OutputOption = Annotated[
    Output,
    typer.Option(
        "--output", "-o", help="table for people, json (ProtoJSON) or yaml (as specs) for programs, name alone."
    ),
]
DataOption = Annotated[Data, typer.Option("--output", "-o", help="table for people, json or yaml for programs.")]


@contextlib.contextmanager
def connect(context: typer.Context, server: str | None) -> Iterator[Client]:
    """The client for a command; `server` may also stand before the command, as in `loramill --server X job list`."""
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # gRPC's core else writes its own notices between the lines
    import stamina.instrumentation

    from loramill.client import Client
    from loramill.credentials import Credentials

    stamina.instrumentation.set_on_retry_hooks([])  # its notices would stand between the lines too
    given = dict(context.find_root().params)
    address = given.pop("server")
    with Client(server or address, credentials=Credentials.from_environment(**given)) as client:
        yield client


def exit_code_of(error: errors.ClientError) -> int:
    return _EXIT_CODES.get(type(error), EXIT_FAILED)


def sentence_of(error: errors.ClientError) -> str:
    """What to tell; fields are named as in the spec file, which begins below the request's `spec`."""
    return _REQUEST_SPEC.sub("", str(error)) if isinstance(error, errors.InvalidRequest) else str(error)


def say(text: str) -> None:
    """Tells people something beside the result, which alone goes to standard output."""
    from loramill.cli.output import printable

    typer.echo("\n".join(printable(line) for line in text.split("\n")), err=True)
