"""`loramill concept`: what a base model already knows of a concept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loramill.cli.common import ServerOption, connect, say
from loramill.cli.following import followed_to_success
from loramill.cli.spec_files import read_text
from loramill.errors import DownloadError

if TYPE_CHECKING:
    from collections.abc import Mapping

app = typer.Typer(help="What a base model already knows.", no_args_is_help=True)


@app.command()
def analyze(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(help="The spec of the job that shall be trained, in YAML; - for standard input.")
    ],
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="FIELD=VALUE", help="Change a field, such as concept.class_words=dog. May be repeated."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", help="The folder to save analysis.json and analysis.html in. Default: here.")
    ] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that exist with another content.")] = False,
    server: ServerOption = None,
) -> None:
    """Measure how well the base already draws what the dataset shows. Prints the settings that follow, as a spec has them."""
    from loramill.plain import yaml_of
    from loramill.spec import read_spec

    spec = read_spec(read_text(file), changes or [], source=str(file))
    with connect(context, server) as client:
        made = client.analyze_concept(spec)
        for warning in made.warnings:
            say(f"Warning: {warning}")
        job = followed_to_success(context, client, made.name, server=server)
        say(job.state_message)
        saved = [client.save_result(job.name, each.path, out, overwrite=force) for each in job.results]
    for path in saved:
        say(f"Saved {path}.")
    found = _read(saved)
    typer.echo(yaml_of(found["settings"]) if found.get("settings") else "{}\n", nl=False)


def _read(saved: list[Path]) -> Mapping[str, Any]:
    """The analysis as plain data."""
    for path in saved:
        if path.name == "analysis.json":
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return found
    raise DownloadError("The service's analysis has no analysis.json; use a client and a service of the same version.")
