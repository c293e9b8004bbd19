"""Following a job from a command that goes on once it has ended."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loramill.cli.common import EXIT_FAILED, Output, say

if TYPE_CHECKING:
    from loramill import v1
    from loramill.client import Client


PreviewsOption = Annotated[
    Path | None, typer.Option("--previews", metavar="DIR", help="Save previews there as they are drawn.")
]
InlineOption = Annotated[
    bool,
    typer.Option(
        "--inline/--no-inline",
        help="Show previews between the lines, where the terminal speaks kitty's or iTerm2's protocol or sixel.",
    ),
]


def follow_job(
    context: typer.Context,
    client: Client,
    name: str,
    output: Output,
    *,
    server: str | None,
    previews: Path | None = None,
    inline: bool = False,
) -> v1.TrainingJob:
    """Shows the job until it has ended. On Ctrl-C says that it goes on and how to find it again, and exits.

    Previews are saved in the folder `previews` if one is given, and shown `inline` where standard output is a terminal that can.
    """
    from loramill.cli.inline import Graphics
    from loramill.cli.live import follow, stream_for
    from loramill.cli.previews import Looking, graphics_for
    from loramill.errors import Unreachable
    from loramill.names import short_name

    given = server or context.find_root().params.get("server")
    again = f"loramill job watch {short_name(name)}" + (f" --server {shlex.quote(given)}" if given else "")
    stream = stream_for(structured=output is not Output.TABLE)
    graphics = graphics_for(stream) if inline and output is Output.TABLE else Graphics.NONE
    try:
        return follow(client, name, stream, Looking(previews, graphics))
    except KeyboardInterrupt:
        say(f"\nStopped watching; the job goes on. Follow it again with:\n  {again}")
        raise  # typer ends the process with 130
    except Unreachable:
        say(f"The job may well go on without being watched. Follow it again with:\n  {again}")
        raise


def followed_to_success(context: typer.Context, client: Client, name: str, *, server: str | None) -> v1.TrainingJob:
    """The job once it has succeeded, its progress told beside the result. Exits with 1, and says why, where it does not."""
    from loramill.names import short_name
    from loramill.v1 import TRAINING_JOB_STATE_SUCCEEDED

    say(f"Job {short_name(name)} is accepted.")
    job = follow_job(context, client, name, Output.NAME, server=server)
    if job.state != TRAINING_JOB_STATE_SUCCEEDED:
        say(f"Job {short_name(name)} did not succeed: {job.state_message}")
        raise typer.Exit(EXIT_FAILED)
    return job
