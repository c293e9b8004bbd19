"""`loramill dataset`: upload folders of pictures, and look after them."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loramill.cli.common import Output, OutputOption, ServerOption, connect, say
from loramill.cli.output import age_of, clock, print_many, print_one, size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from loramill import v1
    from loramill.folder import Selection
    from loramill.upload import UploadProgress

app = typer.Typer(help="Pictures and captions to train on.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="DATASET", help="The dataset's id, or datasets/ID.")]

_SKIPPED_SHOWN = 5


@app.command()
def create(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Pictures, with captions in .txt or .caption files beside them.")],
    name: Annotated[str, typer.Option("--name", help="A title for people. Default: the folder's name.")] = "",
    output: OutputOption = Output.TABLE,
    server: ServerOption = None,
) -> None:
    """Upload a folder of pictures and freeze it as a dataset."""
    from loramill.folder import select_files

    selection = select_files(folder)
    say(_found(selection))
    with connect(context, server) as client:
        title = name or folder.resolve().name
        try:
            with _bar() as progress:
                dataset = client.upload_dataset(selection, title, progress=progress)
        except KeyboardInterrupt:
            say("Stopped; the unfinished dataset was removed again.")
            raise
        print_one(dataset, output, _details)


def _found(selection: Selection) -> str:
    """What was found, what was skipped and why, and what may be missing."""
    others = len(selection.files) - len(selection.pictures) - len(selection.captions)
    parts = [_counted(len(selection.pictures), "picture"), _counted(len(selection.captions), "caption")]
    parts += [_counted(others, "file") + " of metadata"] if others else []
    lines = [f"Found {', '.join(parts)}."]
    for reason, count in Counter(skipped.reason for skipped in selection.skipped).items():
        labels = [skipped.label for skipped in selection.skipped if skipped.reason == reason]
        more = f" and {count - _SKIPPED_SHOWN} more" if count > _SKIPPED_SHOWN else ""
        lines.append(f"Skipped ({reason}): {', '.join(labels[:_SKIPPED_SHOWN])}{more}.")
    missing = selection.without_caption
    if missing:
        lines.append(
            f"Without a caption file: {_counted(len(missing), 'picture')}, such as {missing[0].label}; the spec must then give"
            " a fixed caption."
        )
    return "\n".join(lines)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


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
    return {
        "Dataset": _id(dataset),
        "Title": dataset.display_name,
        "State": _state(dataset),
        "Files": f"{dataset.file_count}, {size_of(dataset.size_bytes)}" if dataset.file_count else "",
        "Created": clock(dataset.create_time),
        "Frozen": clock(dataset.finalize_time),
        "Digest": dataset.digest,
    }
