"""The command `loramill`. Modules that take time to load are imported by the commands that need them."""

from __future__ import annotations

import os
import sys

import typer

from loramill.cli import adapter, base, compute, dataset, job
from loramill.cli.common import EXIT_FAILED, ServerOption, exit_code_of, say, sentence_of
from loramill.errors import ClientError

TRACEBACK_VARIABLE = "LORAMILL_TRACEBACK"

app = typer.Typer(
    name="loramill",
    help="Train adapters for Stable Diffusion models with a Loramill service.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(dataset.app, name="dataset")
app.add_typer(job.app, name="job")
app.add_typer(adapter.app, name="adapter")
app.add_typer(base.app, name="base")
app.add_typer(compute.app, name="compute")


@app.callback()
def _root(server: ServerOption = None) -> None:
    """`server` is read by `common.connect`, from the root's parameters."""


def run() -> None:
    """Runs the command line, and ends the process with its exit code. People see sentences, never a stack trace."""
    try:
        app(prog_name="loramill")
    except ClientError as error:
        say(f"Error: {sentence_of(error)}")
        sys.exit(exit_code_of(error))
    except Exception as error:  # whatever it is, it is told in a sentence
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        say(f"Error in loramill itself: {type(error).__name__}: {error}. {TRACEBACK_VARIABLE}=1 shows where.")
        sys.exit(EXIT_FAILED)
