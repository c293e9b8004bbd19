"""`loramill adapter`: list, show, download and delete trained adapters."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loramill.cli.common import Output, OutputOption, ServerOption, connect
from loramill.cli.output import age_of, clock, print_many, print_one, size_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from loramill import v1

app = typer.Typer(help="Trained adapters.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="ADAPTER", help="The adapter's id, or adapters/ID.")]


class Format(StrEnum):
    """What of an adapter to download; but for ALL, the words of AdapterFormat."""

    KOHYA = "kohya"
    DIFFUSERS = "diffusers"
    CONTACT_SHEET = "contact-sheet"
    REPORT = "report"
    ALL = "all"


@app.command()
def download(
    context: typer.Context,
    name: NameArgument,
    folder: Annotated[
        Path, typer.Option("--output-dir", "-o", metavar="DIR", help="Where to; made if missing.")
    ] = Path(),
    format: Annotated[
        Format,
        typer.Option(
            help="kohya (ComfyUI, Forge, A1111, diffusers), diffusers, contact-sheet (PNG), report (HTML), or all."
        ),
    ] = Format.KOHYA,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that have another content.")] = False,
    server: ServerOption = None,
) -> None:
    """Download an adapter, each file checked by its digest, and print the paths."""
    from loramill.scalars import parse_enum
    from loramill.v1 import AdapterFormat

    with connect(context, server) as client:
        formats: Iterable[v1.AdapterFormat.ValueType]
        if format is Format.ALL:
            formats = [file.format for file in client.get_adapter(name).files]
        else:
            formats = [AdapterFormat.ValueType(parse_enum(AdapterFormat.DESCRIPTOR, format.value))]
        for wanted in formats:
            typer.echo(client.download_adapter(name, folder, format=wanted, overwrite=force))


@app.command()
def get(
    context: typer.Context, name: NameArgument, output: OutputOption = Output.TABLE, server: ServerOption = None
) -> None:
    """Show one adapter and its files."""
    with connect(context, server) as client:
        print_one(client.get_adapter(name), output, _details)


@app.command("list")
def list_(
    context: typer.Context,
    job: Annotated[str, typer.Option("--job", help="Only those of this job.")] = "",
    output: OutputOption = Output.TABLE,
    server: ServerOption = None,
) -> None:
    """List adapters, newest job first."""
    now = datetime.now(UTC)
    columns = {
        "ID": _id,
        "TYPE": _type,
        "RANK": lambda adapter: str(adapter.rank),
        "STEP": lambda adapter: f"{adapter.step}{' (partial)' if adapter.partial else ''}",
        "BASE": lambda adapter: adapter.base_model.rpartition("/")[2],
        "TAG": lambda adapter: adapter.activation_tag,
        "AGE": lambda adapter: age_of(adapter.create_time, now),
    }
    with connect(context, server) as client:
        print_many(client.list_adapters(job=job), output, columns)


@app.command()
def delete(context: typer.Context, name: NameArgument, server: ServerOption = None) -> None:
    """Delete an adapter in every format."""
    with connect(context, server) as client:
        client.delete_adapter(name)
    typer.echo(f"Deleted {name}.")


def _id(adapter: v1.Adapter) -> str:
    return adapter.name.rpartition("/")[2]


def _type(adapter: v1.Adapter) -> str:
    from loramill.scalars import enum_word
    from loramill.v1 import AdapterType

    return enum_word(AdapterType.DESCRIPTOR, adapter.type)


def _details(adapter: v1.Adapter) -> Mapping[str, str]:
    return {
        "Adapter": _id(adapter),
        "Type": f"{_type(adapter)}, rank {adapter.rank}",
        "Step": f"{adapter.step}{' (partial: its job was cancelled)' if adapter.partial else ''}",
        "Tag": adapter.activation_tag,
        "Base model": adapter.base_model.rpartition("/")[2],
        "Job": adapter.training_job.rpartition("/")[2],
        "Created": clock(adapter.create_time),
        "Files": "\n".join(f"{file.file_name}  {size_of(file.size_bytes)}" for file in adapter.files),
        "Tensors": adapter.tensors_sha256,
    }
