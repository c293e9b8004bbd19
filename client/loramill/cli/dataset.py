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
from loramill.cli.following import followed_to_success
from loramill.cli.output import age_of, clock, print_many, print_one, size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from loramill import v1
    from loramill.client import Client
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
    base: Annotated[
        str | None, typer.Option("--base", metavar="BASE", help="Have a report made now, by asking this base model.")
    ] = None,
    tag: Annotated[str, typer.Option("--tag", help="The activation tag that captions will begin with.")] = "",
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="A field of the job, such as dataset.resolution=768."),
    ] = None,
    server: ServerOption = None,
) -> None:
    """Show what there is to say of a dataset, and what to change. With --base a job finds it out; without, the newest job has."""
    from loramill import v1

    if base is None and (tag or changes):
        raise typer.BadParameter("they tell how the report is made; name the base model too, with --base.")
    with connect(context, server) as client:
        if base is not None:
            made = client.create_dataset_report(_spec_of_report(name, base, tag, changes or []))
            followed_to_success(context, client, made.name, server=server)
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


@app.command()
def caption(
    context: typer.Context,
    name: NameArgument,
    captioner: Annotated[
        str, typer.Option("--with", metavar="MODEL", help="A captioner that the operator imported, of `base list`.")
    ],
    prompt: Annotated[str, typer.Option("--prompt", help="What a writer begins with, or its task.")] = "",
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="How sure a tagger must be, 0 to 1. Default: 0.35.")
    ] = None,
    compute_class: Annotated[str, typer.Option("--class", help="Where it runs. Default: the cheapest class.")] = "",
    out: Annotated[
        Path, typer.Option("--out", help="The folder to save captions.jsonl and captions.html in. Default: here.")
    ] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that exist with another content.")] = False,
    server: ServerOption = None,
) -> None:
    """Have the pictures captioned that lack a caption, and save the captions to look through."""
    from loramill import v1

    with connect(context, server) as client:
        how = v1.CaptioningSpec(prompt=prompt, threshold=threshold)
        made = client.caption_dataset(name, captioner, how, compute_class=compute_class)
        job = followed_to_success(context, client, made.name, server=server)
        say(job.state_message)
        for file in job.results:
            say(f"Saved {client.save_result(job.name, file.path, out, overwrite=force)}.")
        say("Look through them, and change what is wrong in captions.jsonl; then make a dataset of them with:")
        typer.echo(f"loramill dataset captioned {job.name.rpartition('/')[2]} --captions {out / 'captions.jsonl'}")


@app.command()
def captioned(
    context: typer.Context,
    job: Annotated[
        str, typer.Argument(metavar="JOB", help="The job of `dataset caption`: its id, or trainingJobs/ID.")
    ],
    captions: Annotated[
        Path | None,
        typer.Option(
            "--captions",
            help="Its captions.jsonl as you have changed it; without its line a picture gets none. Default: as it is.",
        ),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="A title for people. Default: the captioned dataset's.")] = "",
    output: OutputOption = Output.TABLE,
    server: ServerOption = None,
) -> None:
    """Make a dataset of the one that a job captioned, with its captions; the captioned one stays as it is."""
    edited = _read_captions(captions) if captions is not None else None
    with connect(context, server) as client:
        changed = _changed(client, job, edited) if edited is not None else None
        print_one(client.create_captioned_dataset(job, name, captions=changed), output, _details)


def _changed(client: Client, job: str, edited: Mapping[str, str]) -> dict[str, str]:
    """What differs from the job's own captions; of many thousands nothing else need be sent."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        written = _read_captions(client.save_result(job, "captions/captions.jsonl", Path(folder)))
    left_out = dict.fromkeys(set(written) - set(edited), "")
    return {path: text for path, text in {**left_out, **edited}.items() if written.get(path) != text}


def _read_captions(path: Path) -> dict[str, str]:
    """By the path of the picture. What is no such file is FileError, with the first line that is wrong."""
    import json

    from loramill.errors import FileError

    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path} cannot be read ({error}); give the captions.jsonl of the job.") from error
    found = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            picture, text = row["path"], row["caption"]
        except (ValueError, TypeError, KeyError):
            picture = text = None
        if not isinstance(picture, str) or not isinstance(text, str):
            raise FileError(f'{path}, line {number}: expected {{"path": "…", "caption": "…"}}; write it so.')
        found[picture] = text
    return found


def _spec_of_report(name: str, base: str, tag: str, changes: list[str]) -> v1.TrainingSpec:
    from loramill.spec import read_spec
    from loramill.v1 import CAPTION_SOURCE_FILE_OR_FIXED

    spec = read_spec("", [f"base_model={base}", f"dataset={name}", *changes], source="The report")
    if not spec.dataset.subsets:  # that pictures lack captions is for the report to say
        spec.dataset.subsets.add().captions.source = CAPTION_SOURCE_FILE_OR_FIXED
    if tag:
        spec.concept.activation_tag = tag
    return spec


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
