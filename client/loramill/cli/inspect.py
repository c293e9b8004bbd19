"""`loramill inspect`: how a base model reads what is written."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Annotated

import typer

from loramill.cli.common import Data, DataOption, ServerOption, connect
from loramill.cli.output import print_many

if TYPE_CHECKING:
    from collections.abc import Callable

    from loramill import v1

app = typer.Typer(help="How a base model reads what is written.", no_args_is_help=True)


@app.command()
def tokens(
    context: typer.Context,
    caption: Annotated[str, typer.Argument(metavar="CAPTION", help="A caption, a prompt, or an activation tag.")],
    base: Annotated[str, typer.Option("--base", metavar="BASE", help="The base model's id, or baseModels/ID.")],
    max_tokens: Annotated[
        int, typer.Option(help="Tokens that a job would read, as text.max_tokens: 75, 150 or 225.")
    ] = 75,
    output: DataOption = Data.TABLE,
    server: ServerOption = None,
) -> None:
    """Show how each text encoder of a base model splits a caption, and what is cut off."""
    with connect(context, server) as client:
        read = client.inspect_tokens(base, caption, max_tokens=max_tokens)
    if output is not Data.TABLE:
        print_many(read.encoders, output, {})
        return
    for place, encoder in enumerate(read.encoders):
        typer.echo(f"{chr(10) if place else ''}{_summary(encoder, max_tokens)}")
        if encoder.tokens:
            print_many(encoder.tokens, output, _columns())


def _columns() -> dict[str, Callable[[v1.Token], str]]:
    places = itertools.count(1)
    return {
        "#": lambda _: str(next(places)),
        "ID": lambda token: str(token.id),
        "PIECE": lambda token: token.piece,
        "TEXT": lambda token: token.text,
        "CHUNK": lambda token: str(token.chunk) if token.chunk else "cut off",
    }


def _summary(encoder: v1.EncoderTokens, max_tokens: int) -> str:
    """`text_encoder: 80 tokens in 1 chunk of 75; 5 are cut off`."""
    count = len(encoder.tokens)
    words = (
        f"{count} token{'' if count == 1 else 's'} in {encoder.chunks} chunk{'' if encoder.chunks == 1 else 's'} of 75"
    )
    cut = f"; the last {encoder.cut} are beyond {max_tokens} and cut off" if encoder.cut else ""
    return f"{encoder.encoder}: {words}{cut}"
