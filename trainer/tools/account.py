"""What a tool's result kept, as a table by blocks of the base model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainer.adapters.reduction import Reduction, kept_energy, relative_error
from trainer.adapters.weights import LayerWeights
from trainer.tools.groups import grouped
from trainer.tools.options import Format, Precision
from trainer.tools.printing import print_table, say, share, size, span


def print_account(layers: Sequence[LayerWeights], reductions: Sequence[Reduction]) -> None:
    """By block: what became of these layers."""
    by_name = {reduction.name: reduction for reduction in reductions}

    def row(name: str, layers: Sequence[LayerWeights]) -> tuple[str, ...]:
        its = [by_name[layer.name] for layer in layers]
        ranks = span(reduction.rank for reduction in its)
        return name, str(len(layers)), ranks, share(kept_energy(its)), share(relative_error(its))

    rows = [row(block, its) for block, its in grouped(layers).items()]
    print_table(("block", "layers", "rank", "kept energy", "error"), [*rows, row("in all", layers)], numbers_from=1)


def print_written(out: Path, format_: Format, precision: Precision, after: Sequence[Reduction]) -> None:
    """The last lines: what was written, and how far it is from what was wanted, read back and measured."""
    files = [out] if out.is_file() else [path for path in out.rglob("*") if path.is_file()]
    ranks = span(reduction.rank or None for reduction in after)
    total = size(sum(file.stat().st_size for file in files))
    say(f"{out}: {format_}, {precision}, {len(after)} layers of rank {ranks}, {total}")
    worst = max(after, key=lambda reduction: reduction.error)
    say(
        f"Read back, its change differs by {share(relative_error(after))} in norm, of a layer by at most "
        f"{share(worst.error)} ({worst.name})."
    )
