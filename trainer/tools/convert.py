"""`convert`: an adapter of any dialect, in the format that a program needs; `resize` is a conversion to kohya's with limits."""

from __future__ import annotations

from pathlib import Path

from trainer.adapters.reduction import reduced
from trainer.formats.reading import read_adapter
from trainer.tools.account import print_account, print_written
from trainer.tools.history import Deed, header
from trainer.tools.options import Format, Limits, Precision
from trainer.tools.placing import check_free, placed
from trainer.tools.printing import say
from trainer.tools.writing import measured, widest, write_adapter


def convert(
    adapter: Path,
    out: Path,
    to: Format,
    *,
    limits: Limits | None,
    precision: Precision | None,
    force: bool,
    tool: str = "convert",
) -> None:
    """Writes `out`; with limits as a plain LoRA. Raises UserError for what cannot be read or written so.

    `tool` is the name that the history tells.
    """
    check_free(out, force=force)
    file = read_adapter(adapter)
    for note in file.notes:
        say(f"Note: {note}")
    precision = precision or widest(file.layers)
    layers, bounds = list(file.layers), {} if limits is None else limits.said()
    if limits is not None:
        layers, _ = reduced(file.layers, limits.rank, limits.keep, largest_conv_rank=limits.conv_rank)
    deed = Deed(tool=tool, options={"to": to, "dtype": precision, **bounds}, inputs=[file])
    with placed(out, force=force) as path:
        write_adapter(path, layers, to, file.family, precision, header(deed, layers if limits else ()))
        account = measured(path, file.layers)
    if limits is not None:
        print_account(file.layers, account)
    print_written(out, to, precision, account)
