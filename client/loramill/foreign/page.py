"""docs/foreign-configurations.md, made from the tables that the import works by: `python -m loramill.foreign.page`. Pure."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from loramill.foreign.kohya_dataset import DATASET_ROWS, SUBSET_ROWS
from loramill.foreign.networks import ARGUMENTS
from loramill.foreign.reading import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loramill.foreign.rows import Row

_HEAD = """# Configurations of other trainers

`loramill job import FILE --out job.yaml` makes a spec of another trainer's configuration and tells what became of every key:
none is dropped in silence. It reads

| file | of |
|---|---|
| `.toml` | kohya's sd-scripts: what `--config_file` takes |
| `.yaml` | ai-toolkit: the first process of `config.process` |
| `.json` | OneTrainer |
| anything else | a command line; a script around it may set variables, and nothing is run |

Of kohya's scripts those are `train_network.py` and `sdxl_train_network.py`, of diffusers' `train_text_to_image_lora.py`,
`train_dreambooth_lora.py` and both with `_sdxl`.

Files that a configuration names are read with it where they are there: `--config_file`, kohya's `--sample_prompts`, OneTrainer's
concepts and samples.

What a program takes where a key is missing is written into the spec as well, for our defaults are others. Base model and dataset
are left to you, and the file says so on top: a base has the name that an operator gave it, and a dataset has to be uploaded
(kohya's dataset configuration is read by `loramill dataset create FILE.toml`, see [datasets.md](datasets.md)). Check the
result with `loramill job submit job.yaml --set base_model=… --set dataset.dataset=… --validate-only`.

This page is generated from the tables that the import works by (`client/loramill/foreign/`):
`python -m loramill.foreign.page > docs/foreign-configurations.md`.
"""


def page() -> str:
    """The page, in Markdown."""
    parts = [_HEAD]
    for program in PROGRAMS:
        parts.append(f"## {program.title[0].upper()}{program.title[1:]}\n\n" + "\n".join(_table(program.rows)) + "\n")
        if program.name == "kohya":
            parts.append("### `--network_args`\n\n" + "\n".join(_arguments()) + "\n")
            rows = (*SUBSET_ROWS, *DATASET_ROWS)
            parts.append("### Its dataset configuration\n\n" + "\n".join(_table(rows)) + "\n")
    return "\n".join(parts)


def _table(rows: Sequence[Row]) -> Iterator[str]:
    """Mapped keys first, a line each; the others by what is said of them."""
    yield "| key | here | |"
    yield "|---|---|---|"
    for row in rows:
        if row.to:
            default = f"default there: `{row.default}`" if row.default is not None else ""
            yield f"| `{row.key}` | `{row.to}` | {_cell('; '.join(filter(None, (row.says.rstrip('.'), default))))} |"
    for verdict, title in (("needless", "not needed"), ("unsupported", "**not supported**")):
        chosen = sorted((row for row in rows if row.verdict == verdict), key=lambda row: row.says)
        for says, group in groupby(chosen, key=lambda row: row.says):
            yield f"| {', '.join(f'`{row.key}`' for row in group)} | {title} | {_cell(says)} |"


def _arguments() -> Iterator[str]:
    yield "| argument | here |"
    yield "|---|---|"
    yield from (f"| `{name}` | {_cell(text)} |" for name, text in ARGUMENTS.items())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(page(), end="")
