"""`loramill base`: the base models that adapters are trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from loramill.cli.common import Output, OutputOption, ServerOption, connect
from loramill.cli.output import clock, print_many, print_one, size_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loramill import v1

app = typer.Typer(help="Base models.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="BASE", help="The base model's id, or baseModels/ID.")]


@app.command("list")
def list_(context: typer.Context, output: OutputOption = Output.TABLE, server: ServerOption = None) -> None:
    """List base models by name."""
    columns = {
        "ID": _id,
        "FAMILY": lambda base: base.family,
        "RESOLUTION": lambda base: str(base.resolution),
        "SIZE": lambda base: size_of(base.size_bytes),
        "LICENCE": lambda base: base.license,
        "SOURCE": lambda base: base.source_uri,
    }
    with connect(context, server) as client:
        print_many(client.list_bases(), output, columns)


@app.command()
def get(
    context: typer.Context, name: NameArgument, output: OutputOption = Output.TABLE, server: ServerOption = None
) -> None:
    """Show one base model."""
    with connect(context, server) as client:
        print_one(client.get_base(name), output, _details)


@app.command("import")
def import_(
    context: typer.Context,
    base_id: Annotated[str, typer.Argument(metavar="ID", help="Its id: 1 to 63 lower-case letters, digits and -.")],
    source_uri: Annotated[
        str, typer.Argument(metavar="URI", help="file:///folder, below a root that the service was started with.")
    ],
    license: Annotated[str, typer.Option(help="The licence it came with, as an SPDX identifier or in words.")] = "",
    output: OutputOption = Output.TABLE,
    server: ServerOption = None,
) -> None:
    """Copy a base model into the service's store. For operators."""
    with connect(context, server) as client:
        print_one(client.import_base(base_id, source_uri, license=license), output, _details)


def _id(base: v1.BaseModel) -> str:
    return base.name.rpartition("/")[2]


def _details(base: v1.BaseModel) -> Mapping[str, str]:
    return {
        "Base model": _id(base),
        "Family": base.family,
        "Resolution": f"{base.resolution} pixels",
        "Prediction": base.prediction_type,
        "Size": size_of(base.size_bytes),
        "Licence": base.license or "unknown",
        "Source": base.source_uri,
        "Imported": clock(base.create_time),
        "Digest": base.digest,
    }
