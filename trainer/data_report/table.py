"""The data report for a terminal: key numbers, then what is suggested, with the pictures' names."""

from __future__ import annotations

from trainer.data.findings import shown
from trainer.data_report.document import subsets, tiles, verdict
from trainer.data_report.report import DataReport
from trainer.report.text import one_line

_MOST_NAMES = 8


def as_table(report: DataReport) -> str:
    """Lines of plain text, the last one ended."""
    facts = report.facts
    lines = [f"{one_line(facts.name)}: {verdict(report)}", ""]
    lines += [f"  {name:<16} {value} {note}".rstrip() for name, value, note in tiles(facts)]
    lines += ["", "  subset                    repeats  pictures  by bucket"]
    for name, repeats, pictures, buckets in subsets(facts):
        sizes = ", ".join(f"{width}×{height}: {number}" for width, height, number in buckets)
        lines.append(f"  {one_line(name):<24} {repeats:>8} {pictures:>9}  {sizes}")
    if facts.not_judged:
        lines += ["", f"  {facts.not_judged}"]
    for one in report.suggestions:
        names = ", ".join(shown(facts.pictures[place].path) for place in one.pictures[:_MOST_NAMES])
        more = f" and {len(one.pictures) - _MOST_NAMES} more" if len(one.pictures) > _MOST_NAMES else ""
        lines += ["", f"{one.action.value}: {one_line(one.title)}", f"  {one_line(one.reason)}"]
        lines += [f"  {names}{more}"] if names else []
    return "\n".join(lines) + "\n"
