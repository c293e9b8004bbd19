"""`loramill operator`: what operators ask and do across tenants."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from loramill.cli.common import Output, OutputOption, ServerOption, connect, say
from loramill.cli.output import age_of, print_many

if TYPE_CHECKING:
    from loramill import v1

app = typer.Typer(help="For operators: jobs of all tenants that are stuck.", no_args_is_help=True)


@app.command()
def stuck(context: typer.Context, output: OutputOption = Output.TABLE, server: ServerOption = None) -> None:
    """List the jobs of all tenants that do not get on: why, since when, and what would help."""
    now = datetime.now(UTC)
    columns = {
        "JOB": lambda job: job.name.rpartition("/")[2],
        "TENANT": lambda job: job.tenant,
        "LAUNCH": lambda job: str(job.launch or ""),
        "CLASS": lambda job: job.compute_class,
        "STATE": _standing,
        "SINCE": lambda job: age_of(job.since, now),
        "WHY": lambda job: job.state_message,
        "WHAT HELPS": lambda job: job.remedy,
    }
    with connect(context, server) as client:
        print_many(client.list_stuck_jobs(), output, columns)


@app.command("give-up")
def give_up(
    context: typer.Context,
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="Whose job it is.")],
    job: Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")],
    launch: Annotated[int, typer.Option(min=1, help="Number of its newest launch, as `stuck` tells.")],
    reason: Annotated[str, typer.Option(help="Why, for the record.")],
    server: ServerOption = None,
) -> None:
    """Give a launch up whose trainer is lost or hangs; the next one goes on from the last checkpoint."""
    with connect(context, server) as client:
        given_up = client.give_up_launch(tenant, job, launch, reason)
    say(f"Launch {launch} of {given_up.name} is given up. {given_up.state_message}")


def _standing(job: v1.StuckJob) -> str:
    """`LAUNCHING UNSCHEDULABLE`."""
    from loramill import v1

    state = v1.TrainingJobState.Name(job.state).removeprefix("TRAINING_JOB_STATE_") if job.state else ""
    reason = v1.StateReason.Name(job.state_reason).removeprefix("STATE_REASON_")
    return f"{state} {reason}".strip()
