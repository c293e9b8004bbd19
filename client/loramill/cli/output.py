"""Prints messages as a table, JSON, YAML or names."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

import typer

from loramill.cli.common import Data, Output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp

M = TypeVar("M", bound="Message")

_UNBOUNDED_WIDTH = 10_000
_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def print_many(messages: Iterable[M], output: Output | Data, columns: Mapping[str, Callable[[M], str]]) -> None:
    """A list; `columns` are the table's, by their heads."""
    if output.value == Output.JSON:
        from google.protobuf.json_format import MessageToDict

        typer.echo(json.dumps([MessageToDict(message) for message in messages], indent=2, ensure_ascii=False))
    elif output.value == Output.YAML:
        from loramill.plain import dump_yaml_list

        typer.echo(dump_yaml_list(messages), nl=False)
    elif output.value == Output.NAME:
        for message in messages:
            typer.echo(_name(message))
    else:
        _print_table(messages, columns)


def print_one(message: M, output: Output, details: Callable[[M], Mapping[str, str]]) -> None:
    """One thing; `details` are its lines in a table, by their heads; empty ones are left out."""
    if output is Output.JSON:
        from google.protobuf.json_format import MessageToJson

        typer.echo(MessageToJson(message, ensure_ascii=False))
    elif output is Output.YAML:
        from loramill.plain import dump_yaml

        typer.echo(dump_yaml(message), nl=False)
    elif output is Output.NAME:
        typer.echo(_name(message))
    else:
        lines = {head: text for head, text in details(message).items() if text}
        width = max(len(head) for head in lines)
        for head, text in lines.items():
            first, *others = text.split("\n")
            typer.echo(f"{head:<{width}}  {printable(first)}")
            for line in others:
                typer.echo(f"{'':<{width}}  {printable(line)}")


def _name(message: Message) -> str:
    return str(getattr(message, "name", ""))


def _print_table(messages: Iterable[M], columns: Mapping[str, Callable[[M], str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console = Console(width=_UNBOUNDED_WIDTH)  # a file or a pipe gets every column whole
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for place, head in enumerate(columns):
        table.add_column(head, no_wrap=place == 0, overflow="fold")
    for message in messages:
        table.add_row(*(Text(printable(cell(message))) for cell in columns.values()))
    if table.row_count == 0:
        typer.echo("None.", err=True)
        return
    with console.capture() as capture:
        console.print(table)
    typer.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def printable(text: str) -> str:
    """`text` without signs that could move a terminal's cursor or change its colours."""
    return "".join(sign if sign.isprintable() or sign == "\t" else "�" for sign in text)


def age_of(time: Timestamp, now: datetime) -> str:
    """How long ago, in one unit: `5s`, `12m`, `3h`, `9d`; empty for an unset time."""
    if not time.seconds:
        return ""
    return brief(now - time.ToDatetime(tzinfo=UTC))


def brief(span: timedelta) -> str:
    """A span in its largest whole unit; below two of a unit, in the next smaller one: `90s`, `119m`."""
    seconds = max(0, int(span.total_seconds()))
    for unit, size in _UNITS:
        if seconds >= 2 * size or unit == "s":
            return f"{seconds // size}{unit}"
    raise AssertionError("unreachable: seconds fit everything")


def clock(time: Timestamp) -> str:
    """Date and time where the reader is; empty for an unset time."""
    if not time.seconds:
        return ""
    return time.ToDatetime(tzinfo=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def size_of(count: int) -> str:
    """Bytes for people: `512 B`, `3.4 MB`."""
    size, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
