"""`loramill admission`: whether waiting jobs begin. Seeing it is for everybody, setting it for operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from loramill.cli.common import Output, OutputOption, ServerOption, connect
from loramill.cli.output import clock, print_one

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loramill import v1

app = typer.Typer(help="Whether waiting jobs begin; setting it is for operators.", no_args_is_help=True)

ReasonOption = Annotated[str, typer.Option(help="Why, as waiting jobs tell it.")]
ClassArgument = Annotated[str, typer.Argument(metavar="CLASS", help="A compute class.")]


@app.command()
def show(context: typer.Context, output: OutputOption = Output.TABLE, server: ServerOption = None) -> None:
    """Show whether waiting jobs begin."""
    with connect(context, server) as client:
        print_one(client.get_admission(), output, _details)


@app.command()
def pause(
    context: typer.Context,
    reason: ReasonOption = "",
    output: OutputOption = Output.TABLE,
    server: ServerOption = None,
) -> None:
    """Let no waiting job begin. Those that have begun go on; new ones are accepted and wait."""
    with connect(context, server) as client:
        admission = client.get_admission()
        admission.paused, admission.reason = True, reason or admission.reason
        print_one(client.set_admission(admission), output, _details)


@app.command()
def resume(context: typer.Context, output: OutputOption = Output.TABLE, server: ServerOption = None) -> None:
    """Let waiting jobs begin again, also after a restore. Closed and drained classes stay so."""
    with connect(context, server) as client:
        admission = client.get_admission()
        admission.paused = admission.restored = False
        _forget_reason(admission)
        print_one(client.set_admission(admission), output, _details)


@app.command()
def close(
    context: typer.Context,
    compute_class: ClassArgument,
    reason: ReasonOption = "",
    output: OutputOption = Output.TABLE,
    server: ServerOption = None,
) -> None:
    """Close a compute class: no further job begins on it; those that have begun go on there to their end."""
    with connect(context, server) as client:
        admission = client.get_admission()
        admission.closed_compute_classes.append(compute_class)
        admission.reason = reason or admission.reason
        print_one(client.set_admission(admission), output, _details)


@app.command()
def drain(
    context: typer.Context,
    compute_class: ClassArgument,
    reason: ReasonOption = "",
    output: OutputOption = Output.TABLE,
    server: ServerOption = None,
) -> None:
    """Empty a compute class: as close, and its trainers write a checkpoint and end. Their jobs go on in another class that their
    spec allows, or here once it is open."""
    with connect(context, server) as client:
        admission = client.get_admission()
        admission.drained_compute_classes.append(compute_class)
        admission.reason = reason or admission.reason
        print_one(client.set_admission(admission), output, _details)


@app.command("open")
def open_(
    context: typer.Context,
    compute_class: ClassArgument,
    output: OutputOption = Output.TABLE,
    server: ServerOption = None,
) -> None:
    """Let jobs begin on a compute class again."""
    with connect(context, server) as client:
        admission = client.get_admission()
        for classes in (admission.closed_compute_classes, admission.drained_compute_classes):
            classes[:] = [name for name in classes if name != compute_class]
        _forget_reason(admission)
        print_one(client.set_admission(admission), output, _details)


def _forget_reason(admission: v1.Admission) -> None:
    """Where nothing is held back any more."""
    if not admission.paused and not admission.closed_compute_classes and not admission.drained_compute_classes:
        admission.reason = ""


def _details(admission: v1.Admission) -> Mapping[str, str]:
    return {
        "waiting jobs": "do not begin" if admission.paused else "begin",
        "launches": "none at all, until it is resumed: the store was restored" if admission.restored else "",
        "closed classes": ", ".join(admission.closed_compute_classes),
        "drained classes": ", ".join(admission.drained_compute_classes),
        "reason": admission.reason,
        "since": clock(admission.update_time) if admission.HasField("update_time") else "",
    }
