"""The command line of the tools. Each tool is a file beside this one, loaded when it is asked for: help and wrong command lines
answer at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from store import StoreError
from trainer.config import Targets
from trainer.errors import StorageFailed, TrainerError, UserError
from trainer.samplers import SamplerName
from trainer.tools.options import UNBOUNDED, Format, Limits, Precision, weighted

TRACEBACK_VARIABLE = "LORAMILL_TRACEBACK"

app = typer.Typer(
    help="Works on the files of adapters and base models. Given the URI of an assignment, does that assignment instead.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Adapter = Annotated[
    Path,
    typer.Argument(metavar="ADAPTER", help="A .safetensors file of kohya, LyCORIS or diffusers, or PEFT's directory."),
]
Out = Annotated[Path, typer.Option("--out", help="Where the result is written.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")]
Rank = Annotated[int | None, typer.Option(min=1, help="The largest rank of a layer.")]
ConvRank = Annotated[
    int | None, typer.Option(min=1, help="The largest rank of a convolution wider than 1x1. Default: as --rank.")
]
Keep = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Share of the energy to keep in each layer, by the lowest rank that does."),
]
Dtype = Annotated[Precision | None, typer.Option(help="Of the numbers that are written. Default: the input's widest.")]


@app.command()
def convert(
    adapter: Adapter,
    out: Out,
    to: Annotated[Format, typer.Option(help="PEFT's is a directory, the others are files.")],
    reduce: Annotated[
        int | None, typer.Option(min=1, metavar="RANK", help="Make a plain LoRA of it, of at most this rank.")
    ] = None,
    keep: Keep = None,
    dtype: Dtype = None,
    force: Force = False,
) -> None:
    """Write an adapter in another format."""
    from trainer.tools.convert import convert as tool

    tool(adapter, out, to, limits=_limits(reduce, None, keep), precision=dtype, force=force)


@app.command()
def resize(
    adapter: Adapter,
    out: Out,
    rank: Rank = None,
    conv_rank: ConvRank = None,
    keep: Keep = None,
    dtype: Dtype = None,
    force: Force = False,
) -> None:
    """Write an adapter as a plain LoRA of lower rank, and say what is kept."""
    limits = _limits(rank, conv_rank, keep)
    if limits is None:
        raise typer.BadParameter("give --rank N, --keep SHARE, or both.")
    from trainer.tools.convert import convert as tool

    tool(adapter, out, "kohya", limits=limits, precision=dtype, force=force, tool="resize")


@app.command()
def merge(
    adapters: Annotated[
        list[str],
        typer.Argument(metavar="ADAPTER[:WEIGHT]...", help="Adapters, and what their change is multiplied by."),
    ],
    out: Out,
    into: Annotated[
        Path | None,
        typer.Option(metavar="BASE", help="Merge into this base model, in diffusers' layout; --out becomes its copy."),
    ] = None,
    rank: Rank = None,
    conv_rank: ConvRank = None,
    keep: Keep = None,
    dtype: Dtype = None,
    force: Force = False,
) -> None:
    """Write several adapters as one plain LoRA, or a base model with adapters merged into its weights."""
    limits, parts = _limits(rank, conv_rank, keep), [weighted(text) for text in adapters]
    if into is None:
        from trainer.tools.merge import merge as tool

        tool(parts, out, limits, precision=dtype, force=force)
        return
    if limits is not None or dtype is not None or force:
        raise typer.BadParameter(
            "--into writes a whole base model in fp32, in a new folder: leave out --rank, --conv-rank, --keep, --dtype "
            "and --force."
        )
    from trainer.tools.merge_into import merge_into

    merge_into(parts, into, out)


@app.command()
def compare_adapters(
    adapters: Annotated[
        list[str],
        typer.Argument(metavar="ADAPTER[:STRENGTH]...", help="Adapters, and how strongly they are applied."),
    ],
    base: Annotated[Path, typer.Option(help="The base model that draws, a folder in diffusers' layout.")],
    prompt: Annotated[list[str], typer.Option(help="What to draw. May be repeated.")],
    out: Annotated[Path, typer.Option("--out", help="Where the page is written.")] = Path("comparison.html"),
    negative_prompt: Annotated[str, typer.Option(help="What not to draw.")] = "",
    seed: Annotated[
        list[int] | None,
        typer.Option(min=0, help="Of the first noise. May be repeated: each prompt with each. Default: 0."),
    ] = None,
    width: Annotated[int, typer.Option(min=64, max=2048, help="Pixels, a multiple of 8.")] = 512,
    height: Annotated[int, typer.Option(min=64, max=2048, help="Pixels, a multiple of 8.")] = 512,
    steps: Annotated[int, typer.Option(min=1, max=150, help="Denoising steps.")] = 20,
    guidance: Annotated[float, typer.Option(min=1, max=30, help="Classifier-free guidance; 1 for none.")] = 7.5,
    sampler: Annotated[SamplerName, typer.Option(help="What draws; base for the base model's own.")] = "base",
    force: Force = False,
) -> None:
    """Write a page of what adapters draw of the same prompts and seeds, beside each other. It works offline."""
    if width % 8 or height % 8:
        raise typer.BadParameter("--width and --height must be multiples of 8.")
    from trainer.config import PreviewConfig, PreviewPrompt
    from trainer.tools.compare_adapters import compare_adapters as tool

    previews = PreviewConfig(
        prompts=tuple(
            PreviewPrompt(prompt=text, negative_prompt=negative_prompt, seed=number)
            for text in prompt
            for number in seed or [0]
        ),
        every_steps=0,
        inference_steps=steps,
        guidance_scale=guidance,
        width=width,
        height=height,
        sampler=sampler,
    )
    tool([weighted(text) for text in adapters], base, previews, out, force=force)


@app.command()
def extract(
    tuned: Annotated[
        Path, typer.Argument(help="A fine-tuned model: a folder in diffusers' layout or one .safetensors.")
    ],
    base: Annotated[Path, typer.Option(help="The model that it was tuned from, in either form.")],
    out: Out,
    rank: Annotated[int, typer.Option(min=1, help="The largest rank of a layer.")] = 32,
    conv_rank: ConvRank = None,
    keep: Keep = None,
    targets: Annotated[
        Targets, typer.Option(help="Which of the UNet's layers; the text encoders' are all taken.")
    ] = "all",
    dtype: Annotated[Precision, typer.Option(help="Of the numbers that are written.")] = "fp32",
    force: Force = False,
) -> None:
    """Write the difference of two models as a plain LoRA."""
    from trainer.tools.extract import extract as tool

    limits = _limits(rank, conv_rank, keep) or Limits()
    tool(tuned, base, out, limits, targets, dtype, force=force)


@app.command()
def inspect(
    adapter: Adapter,
    output: Annotated[
        Literal["table", "json"], typer.Option("--output", "-o", help="table for people, json for programs.")
    ] = "table",
) -> None:
    """Explain everything in an adapter's file."""
    from trainer.tools.inspect import inspect as tool

    tool(adapter, as_json=output == "json")


@app.command()
def dataset_report(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Pictures, each with a .txt caption beside it.")],
    resolution: Annotated[
        int, typer.Option(min=8, help="Side of a square of the area that is trained at, in pixels.")
    ] = 512,
    bucket_step: Annotated[int, typer.Option(min=8, help="Step of the sides of aspect buckets, in pixels.")] = 64,
    activation_tag: Annotated[str, typer.Option(help="The word that will call the concept.")] = "",
    base: Annotated[
        Path | None, typer.Option(help="A base model's folder, to ask it about pictures and captions. Default: none.")
    ] = None,
    family: Annotated[str, typer.Option(help="Of the base model: sd15, sd2, sdxl.")] = "sd15",
    html: Annotated[Path | None, typer.Option(help="Where the report is written as a page that works offline.")] = None,
    output: Annotated[
        Literal["table", "json"], typer.Option("--output", "-o", help="table for people, json for programs.")
    ] = "table",
) -> None:
    """Say what there is to say of a folder of pictures before it is trained on, and suggest what to change."""
    from trainer.data.rules import PictureRules
    from trainer.tools.dataset_report import BaseChoice
    from trainer.tools.dataset_report import dataset_report as tool

    rules = PictureRules(resolution=resolution, bucket_step=bucket_step)
    choice = None if base is None else BaseChoice(folder=base, family=family)
    tool(folder, rules, activation_tag, choice, html, as_json_=output == "json")


@app.command()
def caption_dataset(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Pictures; those with a .txt caption are left alone.")
    ],
    model: Annotated[
        Path, typer.Option(help="Folder of a model as transformers saves it, such as BLIP, Florence-2 or a tagger.")
    ],
    prompt: Annotated[
        str, typer.Option(help="What it goes on from, such as 'a photo of', or its task, such as '<CAPTION>'.")
    ] = "",
    threshold: Annotated[float, typer.Option(min=0, max=1, help="How sure a tagger must be of a tag, 0 to 1.")] = 0.35,
    device: Annotated[str, typer.Option(help="Such as cuda.")] = "cpu",
) -> None:
    """Write a caption file beside each picture that has none, by a model, to be looked through by people."""
    from trainer.tools.caption_dataset import caption_dataset as tool

    tool(folder, model, prompt, threshold, device)


@app.command()
def prove_adapters() -> None:
    """Prove that each type of adapter trains, merges and reads back as the same."""
    from trainer.tools.prove import prove_adapters as tool

    tool()


@app.command()
def fill_bases(
    into: Annotated[Path, typer.Option(help="The node's folder, as LORAMILL_TRAINER_BASES names it to trainers.")],
    base_uri: Annotated[
        list[str],
        typer.Option(
            metavar="URI", help="Where a base model's files lie, such as s3://bucket/_shared/bases/ID/files/."
        ),
    ],
) -> None:
    """Bring base models from the store to this node, so that trainers need not fetch them."""
    from trainer.fill_bases import fill_bases as tool

    tool(into, base_uri)


def _limits(rank: int | None, conv_rank: int | None, keep: float | None) -> Limits | None:
    """None where nothing is to be reduced."""
    if rank is None and conv_rank is None and keep is None:
        return None
    largest = rank or UNBOUNDED
    return Limits(rank=largest, conv_rank=conv_rank or largest, keep=1.0 if keep is None else keep)


def run_tool(arguments: list[str]) -> int:
    """The exit code; people see sentences, never a stack trace."""
    try:
        app(arguments, prog_name="python -m trainer")
    except SystemExit as end:
        return int(end.code or 0)
    except UserError as error:
        for problem in error.problems:
            print(f"Error: {problem}", file=sys.stderr)
        return int(error.exit_code)
    except StoreError as error:
        print(f"Error: The object store could not be used: {error}.", file=sys.stderr)
        return int(StorageFailed.exit_code)
    except OSError as error:
        print(f"Error: The system refused to read or write: {error}.", file=sys.stderr)
        return int(StorageFailed.exit_code)
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        print(
            f"An error in Loramill: {type(error).__name__}: {error}. {TRACEBACK_VARIABLE}=1 shows where.",
            file=sys.stderr,
        )
        return int(TrainerError.exit_code)
    return 0
