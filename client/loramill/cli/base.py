"""`loramill base`: the base models that adapters are trained on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from loramill.cli.common import EXIT_FAILED, Output, OutputOption, ServerOption, connect, say
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
        "STATE": _state,
        "FAMILY": lambda base: base.family,
        "RESOLUTION": lambda base: str(base.resolution or ""),
        "SIZE": lambda base: size_of(base.size_bytes) if base.size_bytes else "",
        "LICENCE": lambda base: base.license,
        "SOURCE": lambda base: base.source_uri,
    }
    with connect(context, server) as client:
        print_many(client.list_bases(), output, columns)


@app.command()
def get(
    context: typer.Context, name: NameArgument, output: OutputOption = Output.TABLE, server: ServerOption = None
) -> None:
    """Show one base model, and how its newest import stands."""
    with connect(context, server) as client:
        print_one(client.get_base(name), output, _details)


@app.command("import")
def import_(
    context: typer.Context,
    base_id: Annotated[str, typer.Argument(metavar="ID", help="Its id: 1 to 63 lower-case letters, digits and -.")],
    source_uri: Annotated[
        str,
        typer.Argument(
            metavar="URI",
            help="hf://owner/repo[@revision][/path], s3://bucket/path or file:///path: a folder in the diffusers layout, or a "
            "single file in safetensors.",
        ),
    ],
    license: Annotated[
        str,
        typer.Option(help="The licence it came with, as an SPDX identifier or in words; else as the hub states it."),
    ] = "",
    vae: Annotated[str, typer.Option(metavar="URI", help="A VAE to put in the place of its own.")] = "",
    variant: Annotated[str, typer.Option(help="fp16 takes the half-size files where there are any.")] = "",
    wait: Annotated[bool, typer.Option(help="Follow the import to its end; it goes on without that.")] = True,
    output: OutputOption = Output.TABLE,
    server: ServerOption = None,
) -> None:
    """Import a base model into the service's store. For operators."""
    from loramill import v1
    from loramill.cli.imports import ImportView

    with connect(context, server) as client:
        base = client.import_base(base_id, source_uri, license=license, vae=vae, variant=variant)
        if wait:
            with ImportView(sys.stderr) as view:
                for seen in client.watch_import(base):
                    view.show(seen)
                    base = seen
        else:
            say(f"The import goes on; look at it with: loramill base get {_id(base)}")
        print_one(base, output, _details)
    if wait and base.last_import.state == v1.BASE_MODEL_IMPORT_STATE_FAILED:
        raise typer.Exit(EXIT_FAILED)


def _id(base: v1.BaseModel) -> str:
    return base.name.rpartition("/")[2]


def _state(base: v1.BaseModel) -> str:
    from loramill import v1
    from loramill.scalars import enum_word

    return enum_word(v1.BaseModelState.DESCRIPTOR, base.state) if base.state else ""


def _details(base: v1.BaseModel) -> Mapping[str, str]:
    from loramill.cli.imports import told

    return {
        "Base model": _id(base),
        "State": _state(base),
        "Family": base.family,
        "Resolution": f"{base.resolution} pixels" if base.resolution else "",
        "Prediction": base.prediction_type + (", zero terminal SNR" if base.zero_terminal_snr else ""),
        "Size": size_of(base.size_bytes) if base.size_bytes else "",
        "Licence": base.license or "unknown",
        "Source": base.source_uri,
        "Variant": base.variant,
        "VAE": base.vae_source_uri,
        "Imported": clock(base.create_time) if base.HasField("create_time") else "",
        "Digest": base.digest,
        "Notes": "\n".join(base.notes),
        "Last import": told(base.last_import),
    }
