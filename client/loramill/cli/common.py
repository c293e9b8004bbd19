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

_USAGE_ERRORS = (errors.AddressError, errors.SpecError, errors.FolderError, errors.FileError, errors.InvalidRequest)


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

    stamina.instrumentation.set_on_retry_hooks([])  # its notices would stand between the lines too
    with Client(server or context.find_root().params.get("server")) as client:
        yield client


def exit_code_of(error: errors.ClientError) -> int:
    if isinstance(error, errors.Unreachable):
        return EXIT_UNREACHABLE
    return EXIT_USAGE if isinstance(error, _USAGE_ERRORS) else EXIT_FAILED


def sentence_of(error: errors.ClientError) -> str:
    """What to tell; fields are named as in the spec file, which begins below the request's `spec`."""
    return _REQUEST_SPEC.sub("", str(error)) if isinstance(error, errors.InvalidRequest) else str(error)


def say(text: str) -> None:
    """Tells people something beside the result, which alone goes to standard output."""
    from loramill.cli.output import printable

    typer.echo("\n".join(printable(line) for line in text.split("\n")), err=True)
