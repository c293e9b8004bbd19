"""`merge`: several adapters, each with a weight, as one plain LoRA in kohya's format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainer.adapters.merging import merged
from trainer.adapters.reduction import reduced
from trainer.errors import UserError
from trainer.formats.reading import AdapterFile, read_adapter
from trainer.tools.account import print_account, print_written
from trainer.tools.history import Deed, header
from trainer.tools.options import Limits, Precision, Weighted
from trainer.tools.placing import check_free, placed
from trainer.tools.printing import say, span
from trainer.tools.writing import measured, widest, write_adapter


def merge(
    parts: Sequence[Weighted], out: Path, limits: Limits | None, *, precision: Precision | None, force: bool
) -> None:
    """Writes `out`. Without limits the sum is exact, its ranks the sums of the ranks."""
    check_free(out, force=force)
    files = read_all(parts)
    precision = precision or widest([layer for file in files for layer in file.layers])
    whole = merged([(file.layers, part.weight) for file, part in zip(files, parts, strict=True)])
    layers = whole
    if limits is not None:
        layers, _ = reduced(whole, limits.rank, limits.keep, largest_conv_rank=limits.conv_rank)
    deed = Deed(
        tool="merge",
        options={"dtype": precision, **(limits.said() if limits else {})},
        inputs=files,
        weights=[part.weight for part in parts],
    )
    with placed(out, force=force) as path:
        write_adapter(path, layers, "kohya", files[0].family, precision, header(deed, layers))
        account = measured(path, whole)
    for file, part in zip(files, parts, strict=True):
        ranks = span(layer.rank for layer in file.layers)
        say(f"{part.weight:g} x {file.path}: {len(file.layers)} layers, rank {ranks}")
    if limits is not None:
        print_account(whole, account)
    print_written(out, "kohya", precision, account)


def read_all(parts: Sequence[Weighted]) -> list[AdapterFile]:
    """The adapters, of one family; raises UserError with all that is wrong with any of them."""
    files: list[AdapterFile] = []
    problems: list[str] = []
    for part in parts:
        try:
            files.append(read_adapter(part.path))
        except UserError as error:
            problems += error.problems
    families = {file.family for file in files}
    if len(families) > 1:
        told = ", ".join(f"{file.path.name} ({file.family})" for file in files)
        problems.append(f"The adapters are of different families of base models: {told}; merge those of one family.")
    if problems:
        raise UserError(problems)
    return files
