"""`loramill job`: submit, watch, list, cancel and delete jobs; their metrics and logs."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loramill.cli import common
from loramill.cli.common import Data, DataOption, Output, OutputOption, ServerOption, connect, say
from loramill.cli.compute import plan_line
from loramill.cli.following import InlineOption, PreviewsOption, follow_job
from loramill.cli.length import length_line
from loramill.cli.output import age_of, clock, print_many, print_one, printable, size_of
from loramill.cli.spec_files import read_text
from loramill.errors import FileError, SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loramill import v1
    from loramill.client import Client

app = typer.Typer(help="Train adapters.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="JOB", help="The job's id, or trainingJobs/ID.")]


@app.command()
def submit(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(help="The spec in YAML; - reads it from standard input."),
    ],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Change a field, such as adapter.rank=8. May be repeated."),
    ] = None,
    watch: Annotated[
        bool | None,
        typer.Option("--watch/--no-watch", help="Follow the job until it ends. Default: only with -o table."),
    ] = None,
    validate_only: Annotated[
        bool, typer.Option("--validate-only", help="Only check the spec, and print it with every field filled in.")
    ] = False,
    previews: PreviewsOption = None,
    inline: InlineOption = True,
    output: OutputOption = Output.TABLE,
    server: ServerOption = None,
) -> None:
    """Submit a job, and follow it until it ends. Ctrl-C stops following; the job goes on."""
    from loramill.spec import read_spec

    spec = read_spec(read_text(file), changes or [], source=str(file))
    with connect(context, server) as client:
        job = _create(client, spec, validate_only=validate_only)
        for warning in job.warnings:
            say(f"Warning: {warning}")
        if validate_only:
            _print_resolved(job, output)
            return
        if output is Output.TABLE:
            typer.echo(f"Job {_id(job)} is accepted.{_place(job)}{_length(job)}")
        follow = watch if watch is not None else output is Output.TABLE
        if follow:
            job = follow_job(context, client, job.name, output, server=server, previews=previews, inline=inline)
        _finish(job, output, watched=follow)


@app.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            help="A command line or --config_file of kohya's or diffusers' scripts, a YAML of ai-toolkit, a JSON of OneTrainer."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to write the spec. Default: standard output.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite that file.")] = False,
) -> None:
    """Make a spec of another trainer's configuration, and say what became of each of its keys. Nothing is sent."""
    from loramill.foreign.companions import with_companions
    from loramill.foreign.importing import import_configuration
    from loramill.foreign.reading import read_configuration
    from loramill.foreign.writing import advice, lines_of, spec_file

    program, values = read_configuration(file.name, read_text(file))
    draft = import_configuration(program, with_companions(values, lambda name: _text_beside(file, name)))
    text = spec_file(draft, file.name)
    say(f"Read as {program.title}.")
    for line in lines_of(draft):
        say(line)
    say("Left for you:")
    for sentence in advice(draft):
        say(f"  {sentence}")
    if out is None:
        typer.echo(text, nl=False)
        return
    if out.exists() and not force:
        raise SpecError(f"{out} exists; name another file, or overwrite it with --force.", [])
    out.write_text(text, encoding="utf-8")
    say(
        f"Wrote {out}. Check it with: loramill job submit {out} --set base_model=… --set dataset.dataset=… --validate-only"
    )


def _text_beside(file: Path, name: str) -> str | None:
    """The text of a file that a configuration names, relative to it or to where the command runs."""
    for path in (file.parent / name, Path(name)):
        if path.is_file():
            return read_text(path)
    return None


def _create(client: Client, spec: v1.TrainingSpec, *, validate_only: bool) -> v1.TrainingJob:
    try:
        return client.create_job(spec, validate_only=validate_only)
    except KeyboardInterrupt:
        if not validate_only:
            say("Stopped before the service answered; `loramill job list` shows whether it accepted the job.")
        raise


def _print_resolved(job: v1.TrainingJob, output: Output) -> None:
    from loramill.annotated import dump_annotated

    if output is Output.TABLE:
        say(f"The spec is valid.{_place(job)}{_length(job)} With every field filled in it is:")
        typer.echo(dump_annotated(job.spec), nl=False)
    elif output is not Output.NAME:  # what does not exist has no name
        print_one(job, output, _details)


def _place(job: v1.TrainingJob) -> str:
    """The sentence on the compute class; empty where there is none to tell."""
    return f" It runs on {plan_line(job.compute)}." if job.compute.compute_class else ""


def _length(job: v1.TrainingJob) -> str:
    """The sentence on how long it trains; empty where that is not told."""
    told = _length_line(job)
    return f" It trains for {told}." if told else ""


def _length_line(job: v1.TrainingJob) -> str:
    by_epochs = job.spec.optimization.HasField("epochs")
    return length_line(job.length, by_epochs=by_epochs) if job.HasField("length") else ""


def _finish(job: v1.TrainingJob, output: Output, *, watched: bool) -> None:
    """Prints how a job came out, and exits with 1 if it was watched and did not succeed."""
    from loramill.v1 import TRAINING_JOB_STATE_SUCCEEDED

    if output is not Output.TABLE:
        print_one(job, output, _details)
    elif watched:
        typer.echo(printable(f"Job {_id(job)} {_state(job)}: {job.state_message}"))
        if job.results:
            typer.echo(f"Get what it has made with: loramill job results {_id(job)}")
        for adapter in job.adapters:
            typer.echo(f"Get the adapter with: loramill adapter download {adapter.rpartition('/')[2]} --format all")
    else:
        typer.echo(f"Follow it with: loramill job watch {_id(job)}")
    if watched and job.state != TRAINING_JOB_STATE_SUCCEEDED:
        raise typer.Exit(common.EXIT_FAILED)


@app.command()
def watch(
    context: typer.Context,
    name: NameArgument,
    previews: PreviewsOption = None,
    inline: InlineOption = True,
    output: OutputOption = Output.TABLE,
    server: ServerOption = None,
) -> None:
    """Follow a job until it ends. Ctrl-C stops following; the job goes on."""
    with connect(context, server) as client:
        job = follow_job(context, client, name, output, server=server, previews=previews, inline=inline)
        _finish(job, output, watched=True)


@app.command()
def get(
    context: typer.Context, name: NameArgument, output: OutputOption = Output.TABLE, server: ServerOption = None
) -> None:
    """Show one job. With -o yaml, its spec with every field filled in too."""
    with connect(context, server) as client:
        print_one(client.get_job(name), output, _details)


@app.command("list")
def list_(
    context: typer.Context,
    states: Annotated[
        list[str] | None,
        typer.Option(
            "--state",
            help="Only these: queued, launching, running, cancelling, succeeded, failed, cancelled. May be repeated.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="The most jobs to show.")] = 50,
    output: OutputOption = Output.TABLE,
    server: ServerOption = None,
) -> None:
    """List jobs, newest first."""
    from loramill.scalars import parse_enum
    from loramill.v1 import TrainingJobState

    try:
        wanted = [TrainingJobState.ValueType(parse_enum(TrainingJobState.DESCRIPTOR, state)) for state in states or []]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--state") from None
    now = datetime.now(UTC)
    columns = {
        "ID": _id,
        "KIND": _kind,
        "STATE": _state,
        "STEP": _steps,
        "LOSS": lambda job: f"{job.progress.loss:.4f}" if job.progress.HasField("loss") else "",
        "BASE": lambda job: job.spec.base_model.rpartition("/")[2],
        "AGE": lambda job: age_of(job.create_time, now),
        "TITLE": lambda job: job.spec.display_name,
    }
    with connect(context, server) as client:
        print_many(itertools.islice(client.list_jobs(states=wanted), limit), output, columns)


@app.command()
def cancel(
    context: typer.Context, name: NameArgument, output: OutputOption = Output.TABLE, server: ServerOption = None
) -> None:
    """Ask for a job's end. What it learned so far is kept as a partial adapter if it took a step."""
    with connect(context, server) as client:
        print_one(client.cancel_job(name), output, _details)


@app.command()
def delete(
    context: typer.Context,
    name: NameArgument,
    adapters: Annotated[bool, typer.Option("--adapters", help="Delete its adapters too; else they stay.")] = False,
    server: ServerOption = None,
) -> None:
    """Delete a job that has ended. Its adapters stay."""
    with connect(context, server) as client:
        client.delete_job(name, delete_adapters=adapters)
    typer.echo(f"Deleted {name}{' and its adapters' if adapters else ''}.")


@app.command()
def logs(
    context: typer.Context,
    name: NameArgument,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for further lines until the launch has ended.")
    ] = False,
    launch: Annotated[int, typer.Option(min=0, help="Which launch; 0 is the newest.")] = 0,
    server: ServerOption = None,
) -> None:
    """Print a trainer's log."""
    with connect(context, server) as client:
        for line in client.stream_logs(name, launch=launch, follow=follow):
            typer.echo(printable(line))


@app.command()
def results(
    context: typer.Context,
    name: NameArgument,
    out: Annotated[Path, typer.Option("--out", help="The folder to save them in. Default: here.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that exist with another content.")] = False,
    server: ServerOption = None,
) -> None:
    """Save what a job that does not train has made: a dataset's report, an analysis, captions."""
    with connect(context, server) as client:
        job = client.get_job(name)
        if not job.results:
            raise FileError(f"{name} has made no files; jobs that do not train have some once they have succeeded.")
        for file in job.results:
            path = client.save_result(job.name, file.path, out, overwrite=force)
            typer.echo(f"Saved {path}.")


@app.command()
def previews(
    context: typer.Context,
    name: NameArgument,
    folder: Annotated[
        Path, typer.Option("--output-dir", "-o", metavar="DIR", help="Where to; made if missing.")
    ] = Path(),
    step: Annotated[int | None, typer.Option(min=0, help="Only those after this step; 0 without the adapter.")] = None,
    server: ServerOption = None,
) -> None:
    """Save what a job has drawn so far, one PNG for each step, prompt and strength, and print the paths."""
    from loramill.previews import save_picture

    with connect(context, server) as client:
        for picture in client.get_previews(name, step=step):
            typer.echo(save_picture(picture, folder))


@app.command()
def metrics(
    context: typer.Context,
    name: NameArgument,
    after_step: Annotated[int, typer.Option(min=0, help="Only steps after this one.")] = 0,
    output: DataOption = Data.TABLE,
    server: ServerOption = None,
) -> None:
    """Print what was measured, by step."""
    columns = {
        "STEP": lambda metric: str(metric.step),
        "LOSS": lambda metric: f"{metric.loss:.5f}",
        "PRIOR": lambda metric: f"{metric.prior_loss:.5f}" if metric.HasField("prior_loss") else "",
        "VALIDATION": lambda metric: f"{metric.validation_loss:.5f}" if metric.HasField("validation_loss") else "",
        "RATE": lambda metric: f"{metric.learning_rate:.3g}",
        "GRADIENT": lambda metric: f"{metric.gradient_norm:.3g}",
        "IMAGES/S": lambda metric: f"{metric.images_per_second:.1f}",
        "MEMORY": lambda metric: size_of(metric.memory_bytes) if metric.HasField("memory_bytes") else "",
    }
    with connect(context, server) as client:
        print_many(client.list_metrics(name, after_step=after_step), output, columns)


def _id(job: v1.TrainingJob) -> str:
    return job.name.rpartition("/")[2]


def _state(job: v1.TrainingJob) -> str:
    from loramill.cli.live import state_word

    return state_word(job)


def _kind(job: v1.TrainingJob) -> str:
    from loramill.scalars import enum_word
    from loramill.v1 import JobKind

    return enum_word(JobKind.DESCRIPTOR, job.kind).replace("_", " ") if job.kind else ""


def _steps(job: v1.TrainingJob) -> str:
    return f"{job.progress.step}/{job.progress.steps}" if job.progress.steps else ""


def _details(job: v1.TrainingJob) -> Mapping[str, str]:
    from loramill.cli.live import numbers
    from loramill.cli.starts import start_table

    launches = [f"{launch.number}: {launch.message or 'no word yet'}" for launch in job.launches]
    return {
        "Job": _id(job),
        "Title": job.spec.display_name,
        "Kind": _kind(job),
        "State": _state(job),
        "": job.state_message,
        "Progress": "  ".join(numbers(job)),
        "Base model": job.spec.base_model.rpartition("/")[2],
        "Dataset": job.spec.dataset.dataset.rpartition("/")[2],
        "Runs on": plan_line(job.compute),
        "Falls back to": ", ".join(plan_line(plan) for plan in job.compute_fallbacks),
        "Length": _length_line(job),
        "Created": clock(job.create_time),
        "Started": clock(job.start_time),
        "Ended": clock(job.end_time),
        "Launches": "\n".join(launches),
        "First step": start_table(job),
        "Adapters": "\n".join(adapter.rpartition("/")[2] for adapter in job.adapters),
        "Results": "\n".join(file.path for file in job.results),
        "Warnings": "\n".join(job.warnings),
    }
