"""How tools say what they found: sentences and plain tables on standard output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

_UNBOUNDED_WIDTH = 10_000


def say(sentence: str) -> None:
    print(printable(sentence))


def print_lines(lines: Mapping[str, str]) -> None:
    """One thing's properties, by name."""
    width = max(map(len, lines))
    for name, text in lines.items():
        say(f"{name:<{width}}   {text}")


def print_table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers_from: int) -> None:
    """Columns from `numbers_from` on hold numbers, and are set to the right."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_UNBOUNDED_WIDTH)  # a file or a pipe gets every column whole
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if place >= numbers_from else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    with console.capture() as capture:
        console.print(table)
    print("\n".join(line.rstrip() for line in capture.get().splitlines()))


def printable(text: str) -> str:
    """Without signs that could move a terminal's cursor or change its colours: metadata comes from anywhere."""
    return "".join(sign if sign.isprintable() else "�" for sign in text)


def share(value: float) -> str:
    """In per cent; tiny ones by their power of ten."""
    if value >= 1e-4:
        return f"{value:.2%}"
    return f"{value:.0e}" if value else "0"


def span(numbers: Iterable[float | None]) -> str:
    """The smallest and the largest: `4` or `2–16`; `–` where there is none."""
    found = sorted({number for number in numbers if number is not None})
    if not found:
        return "–"
    return f"{found[0]:g}" if len(found) == 1 else f"{found[0]:g}–{found[-1]:g}"


def size(count: int) -> str:
    """Bytes for people: `512 B`, `3.4 MB`."""
    number, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 1000 or unit == "TB":
            break
        number /= 1000
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
