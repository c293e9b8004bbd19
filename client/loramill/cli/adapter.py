"""`loramill adapter`: list, show, download, upload, promote and delete adapters."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loramill.cli.common import Output, OutputOption, ServerOption, connect
from loramill.cli.output import age_of, clock, print_many, print_one, size_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loramill import v1

app = typer.Typer(help="Trained adapters, and those to go on from.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="ADAPTER", help="The adapter's id, or adapters/ID.")]


class Format(StrEnum):
    """What of an adapter to download; but for ALL, the words of AdapterFormat."""

    KOHYA = "kohya"
    DIFFUSERS = "diffusers"
    CONTACT_SHEET = "contact-sheet"
    REPORT = "report"
    PEFT = "peft"
    CONVERTED = "converted"
    TRUNCATED = "truncated"
    EMBEDDING = "embedding"
    MODEL_CARD = "model-card"
    TENSORBOARD = "tensorboard"
    ALL = "all"


@app.command()
def download(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="ADAPTER", help="The adapter's id, or that of a job for its preferred one.")
    ],
    folder: Annotated[
        Path, typer.Option("--output-dir", "-o", metavar="DIR", help="Where to; made if missing.")
    ] = Path(),
    format: Annotated[
        Format | None,
        typer.Option(
            help="kohya (ComfyUI, Forge, A1111; the default), diffusers, peft (unpacked), converted (a LoRA made of another"
            " type), truncated (a DyLoRA at each smaller rank), contact-sheet (PNG), report (HTML), model-card,"
            " tensorboard, or all."
        ),
    ] = None,
    file: Annotated[
        str, typer.Option("--file", metavar="NAME", help="One file by its name, instead of --format.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that have another content.")] = False,
    server: ServerOption = None,
) -> None:
    """Download an adapter, each file checked by its digest, and print the paths."""
    if file and format:
        raise typer.BadParameter("--file and --format exclude each other; give one.")
    with connect(context, server) as client:
        if _is_job(name):
            name = client.preferred_adapter(name).name
        names = [file] if file else _names_of(client.get_adapter(name), format or Format.KOHYA)
        for wanted in names:
            typer.echo(client.download_adapter(name, folder, file_name=wanted, overwrite=force))


def _is_job(name: str) -> bool:
    """Ids of adapters are a job's with `-` and a word behind it."""
    return name.startswith("trainingJobs/") or "-" not in name


def _names_of(adapter: v1.Adapter, format: Format) -> list[str]:
    """The adapter's files of a format."""
    from loramill.errors import DownloadError

    names = [file.file_name for file in adapter.files if format in (Format.ALL, _format(file))]
    if not names:
        there = ", ".join(sorted({_format(file) for file in adapter.files}))
        raise DownloadError(f"{_id(adapter)} has no file of format {format.value}; it has {there}.")
    return names


@app.command()
def upload(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A LoRA, LoCon, LoHa or LoKr from elsewhere, in safetensors.")],
    output: OutputOption = Output.TABLE,
    server: ServerOption = None,
) -> None:
    """Upload an adapter, so that a job can go on from it (adapter.initial_adapter)."""
    with connect(context, server) as client:
        print_one(client.upload_adapter(file), output, _details)


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
        "RANK": lambda adapter: str(adapter.rank or "full"),
        "STEP": lambda adapter: f"{adapter.step}{_short_note(adapter)}" if adapter.training_job else "",
        "PREFERRED": lambda adapter: "yes" if adapter.preferred else "",
        "BASE": lambda adapter: adapter.base_model.rpartition("/")[2],
        "TAG": lambda adapter: adapter.activation_tag,
        "AGE": lambda adapter: age_of(adapter.create_time, now),
    }
    with connect(context, server) as client:
        print_many(client.list_adapters(job=job), output, columns)


@app.command()
def promote(
    context: typer.Context, name: NameArgument, output: OutputOption = Output.TABLE, server: ServerOption = None
) -> None:
    """Make an adapter that was saved on the way its job's preferred one, in the place of the final one."""
    with connect(context, server) as client:
        print_one(client.promote_adapter(name), output, _details)


@app.command()
def compare(
    context: typer.Context,
    names: Annotated[
        list[str],
        typer.Argument(metavar="ADAPTER...", help="Ids of adapters, or those of jobs for their preferred ones."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Where the page is written.")] = Path("comparison.html"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite that file.")] = False,
    server: ServerOption = None,
) -> None:
    """Write a page of what adapters drew of the same prompts and seeds, beside each other. It works offline."""
    from loramill.cli.comparing import compared
    from loramill.errors import FileError
    from loramill.whole_files import whole_file

    if len(names) < 2:
        raise typer.BadParameter("give at least two adapters to compare.")
    if out.exists() and not force:
        raise FileError(f"{out} exists; name another file with --out, or overwrite it with --force.")
    with connect(context, server) as client:
        adapters = [client.preferred_adapter(name).name if _is_job(name) else name for name in names]
        page = compared(client, adapters)
    with whole_file(out) as content:
        content.write(page.encode())
    typer.echo(out)


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


def _format(file: v1.AdapterFile) -> str:
    from loramill.scalars import enum_word
    from loramill.v1 import AdapterFormat

    return enum_word(AdapterFormat.DESCRIPTOR, file.format).replace("_", "-")


def _file(file: v1.AdapterFile) -> str:
    """One file in one line."""
    rank = f", rank {file.rank}" if file.rank else ""
    error = f", relative error {file.relative_error:.3g}" if file.HasField("relative_error") else ""
    return f"{file.file_name}  {size_of(file.size_bytes)}  {_format(file)}{rank}{error}"


def _short_note(adapter: v1.Adapter) -> str:
    notes = [word for word, holds in (("partial", adapter.partial), ("abandoned", adapter.abandoned)) if holds]
    return f" ({', '.join(notes)})" if notes else ""


def _details(adapter: v1.Adapter) -> Mapping[str, str]:
    partial = " (partial: its job was cancelled)" if adapter.partial else ""
    abandoned = " (abandoned: training diverged behind it and was taken back)" if adapter.abandoned else ""
    trained = f"{adapter.step}{partial}{abandoned}"
    return {
        "Adapter": _id(adapter),
        "Type": f"{_type(adapter)}, {f'rank {adapter.rank}' if adapter.rank else 'full matrices'}",
        "Step": trained if adapter.training_job else "",
        "Preferred": "yes, of its job" if adapter.preferred else "",
        "Tag": adapter.activation_tag,
        "Base model": adapter.base_model.rpartition("/")[2],
        "Job": adapter.training_job.rpartition("/")[2],
        "Created": clock(adapter.create_time),
        "Files": "\n".join(map(_file, adapter.files)),
        "Tensors": adapter.tensors_sha256,
    }
