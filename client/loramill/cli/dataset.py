"""`loramill dataset`: make datasets of pictures, and look after them."""

from __future__ import annotations

import contextlib
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loramill.cli.common import Output, OutputOption, ServerOption, connect, say
from loramill.cli.output import age_of, clock, print_many, print_one, size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from loramill import v1
    from loramill.inputs.result import Layout
    from loramill.upload import UploadProgress


class ReportForm(StrEnum):
    """In which a data report is shown."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"


app = typer.Typer(help="Pictures and captions to train on.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="DATASET", help="The dataset's id, or datasets/ID.")]


@app.command()
def create(
    context: typer.Context,
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="A folder, a .zip, .tar or .tar.gz, a dataset configuration (.toml), or s3://… below a root of the operator's.",
        ),
    ],
    name: Annotated[str, typer.Option("--name", help="A title for people. Default: the folder's name.")] = "",
    layout: Annotated[
        str,
        typer.Option(
            metavar="LAYOUT", help="plain, kohya-folders, kohya-toml, imagefolder, webdataset. Default: found out."
        ),
    ] = "",
    caption_column: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Where metadata has captions. Default: text, caption, prompt or description."
        ),
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be read, and make nothing.")] = False,
    output: OutputOption = Output.TABLE,
    server: ServerOption = None,
) -> None:
    """Make a dataset of pictures and captions, and freeze it. Says what is taken, what is not, and why."""
    if path.startswith("s3://"):
        _import(context, path, name, layout, caption_column, dry_run, output, server)
        return
    from loramill import v1
    from loramill.inputs.describe import record_of
    from loramill.inputs.layouts import read_input
    from loramill.inputs.local import open_local

    place = Path(path)
    with open_local(place) as (source, configuration):
        found = read_input(source, configuration, layout=_layout(layout), caption_column=caption_column)
        origin = place.resolve().name
        described = v1.Dataset(
            display_name=name or origin.partition(".")[0], input=record_of(found, origin), suggested=found.suggested
        )
        _say_found(described)
        if dry_run:
            _print_described(described, output)
            return
        with connect(context, server) as client:
            try:
                with _bar() as progress:
                    dataset = client.upload_input(source, found, origin, described.display_name, progress=progress)
            except KeyboardInterrupt:
                say("Stopped; the unfinished dataset was removed again.")
                raise
            print_one(dataset, output, _details)


def _import(
    context: typer.Context,
    uri: str,
    name: str,
    layout: str,
    caption_column: str,
    dry_run: bool,
    output: Output,
    server: str | None,
) -> None:
    """A dataset that the service reads by itself."""
    from loramill.inputs.describe import number_of

    with connect(context, server) as client:
        dataset = client.import_dataset(
            uri,
            name or uri.rstrip("/").rpartition("/")[2],
            layout=number_of(_layout(layout)),
            caption_column=caption_column,
            validate_only=dry_run,
        )
        _say_found(dataset)
        if dry_run:
            _print_described(dataset, output)
        else:
            print_one(dataset, output, _details)


def _layout(word: str) -> Layout | None:
    from loramill.inputs.result import Layout

    layout = next((layout for layout in Layout if layout.word == word), None)
    if word and layout is None:
        words = ", ".join(layout.word for layout in Layout)
        raise typer.BadParameter(f"it must be one of {words}, not {word!r}.", param_hint="--layout")
    return layout


def _say_found(dataset: v1.Dataset) -> None:
    from loramill.inputs.describe import lines_of

    for line in lines_of(dataset.input, dataset.suggested):
        say(line)


def _print_described(dataset: v1.Dataset, output: Output) -> None:
    """What does not exist has no name, and for people all is said already."""
    if output not in (Output.TABLE, Output.NAME):
        print_one(dataset, output, _details)


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[UploadProgress], None]]:
    """A bar on the terminal; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (
        TextColumn("uploading"),
        BarColumn(),
        TextColumn("{task.fields[files]}"),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, files="")

        def show(progress: UploadProgress) -> None:
            files = f"{progress.files_done}/{progress.files}"
            bar.update(task, total=progress.bytes, completed=progress.bytes_done, files=files)

        yield show


@app.command()
def get(
    context: typer.Context, name: NameArgument, output: OutputOption = Output.TABLE, server: ServerOption = None
) -> None:
    """Show one dataset."""
    with connect(context, server) as client:
        print_one(client.get_dataset(name), output, _details)


@app.command()
def report(
    context: typer.Context,
    name: NameArgument,
    form: Annotated[
        ReportForm, typer.Option("--format", help="text for a terminal, json for programs, html with small pictures.")
    ] = ReportForm.TEXT,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The file to write it to. Default: standard output, of html DATASET.html."),
    ] = None,
    server: ServerOption = None,
) -> None:
    """Show what the newest job on a dataset found in it before it trained, and what it suggests to change."""
    from loramill import v1

    with connect(context, server) as client:
        number = v1.DatasetReportFormat.Value(f"DATASET_REPORT_FORMAT_{form.name}")
        found, content = client.dataset_report(name, number)
    say(f"Made by {found.training_job.rpartition('/')[2]}, launch {found.launch}, {clock(found.create_time)}.")
    if out is None and form is ReportForm.HTML:
        out = Path(f"{name.rpartition('/')[2]}.html")
    if out is None:
        typer.echo(content.decode(), nl=not content.endswith(b"\n"))
        return
    out.write_bytes(content)
    say(f"Saved {out}.")


@app.command("list")
def list_(context: typer.Context, output: OutputOption = Output.TABLE, server: ServerOption = None) -> None:
    """List datasets, newest first."""
    now = datetime.now(UTC)
    columns = {
        "ID": _id,
        "STATE": _state,
        "FILES": lambda dataset: str(dataset.file_count or ""),
        "SIZE": lambda dataset: size_of(dataset.size_bytes) if dataset.size_bytes else "",
        "AGE": lambda dataset: age_of(dataset.create_time, now),
        "TITLE": lambda dataset: dataset.display_name,
    }
    with connect(context, server) as client:
        print_many(client.list_datasets(), output, columns)


@app.command()
def delete(context: typer.Context, name: NameArgument, server: ServerOption = None) -> None:
    """Delete a dataset that no living job uses."""
    with connect(context, server) as client:
        client.delete_dataset(name)
    typer.echo(f"Deleted {name}.")


def _id(dataset: v1.Dataset) -> str:
    return dataset.name.rpartition("/")[2]


def _state(dataset: v1.Dataset) -> str:
    from loramill.scalars import enum_word
    from loramill.v1 import DatasetState

    return enum_word(DatasetState.DESCRIPTOR, dataset.state)


def _details(dataset: v1.Dataset) -> Mapping[str, str]:
    from loramill.inputs.describe import lines_of

    return {
        "Dataset": _id(dataset),
        "Title": dataset.display_name,
        "State": _state(dataset),
        "Files": f"{dataset.file_count}, {size_of(dataset.size_bytes)}" if dataset.file_count else "",
        "Created": clock(dataset.create_time),
        "Frozen": clock(dataset.finalize_time),
        "Digest": dataset.digest,
        "Read": "\n".join(lines_of(dataset.input, dataset.suggested)) if dataset.HasField("input") else "",
    }
