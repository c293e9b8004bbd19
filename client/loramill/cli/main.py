"""The command `loramill`. Modules that take time to load are imported by the commands that need them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from loramill.cli import adapter, admission, base, compute, concept, dataset, inspect, job, operator
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
app.add_typer(admission.app, name="admission")
app.add_typer(operator.app, name="operator")
app.add_typer(inspect.app, name="inspect")
app.add_typer(concept.app, name="concept")


@app.callback()
def _root(
    server: ServerOption = None,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Holds the token to show. Default: $LORAMILL_TOKEN_FILE.")
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Connect with TLS. Default: $LORAMILL_TLS.")] = False,
    ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Authority of the service's certificate. Default: $LORAMILL_CA.")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option("--cert", metavar="FILE", help="Certificate to show. Default: $LORAMILL_CERT.")
    ] = None,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its private key. Default: $LORAMILL_KEY.")] = None,
    tenant: Annotated[
        str | None, typer.Option(help="For which of your tenants. Default: $LORAMILL_TENANT, else your only one.")
    ] = None,
    insecure_token: Annotated[
        bool, typer.Option("--insecure-token", help="Send the token without TLS, also to other machines.")
    ] = False,
) -> None:
    """All of it is read by `common.connect`, from the root's parameters, whose names are the fields of `Credentials`."""


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
