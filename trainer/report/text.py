"""Texts of users, made safe to look at.

Captions, prompts and file names are hostile: they may hold control characters, marks that reverse the order of what
follows, invisible characters, or halves of surrogate pairs that no encoding takes. `visible` names such characters instead
of obeying them. Escaping for HTML is the template's own work.
"""

from __future__ import annotations

import math

BIDIRECTIONAL = (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C)
"""Marks that reorder the text around them (Unicode Standard Annex #9)."""

INVISIBLE = (0x00AD, 0x200B, 0x2028, 0x2029, 0x2060, 0xFEFF, *range(0xFFF9, 0xFFFC), *range(0xE0000, 0xE0080))
"""Characters that a tokenizer reads and a person does not see. The joiners stay: scripts and emoji need them."""


def _replacements() -> dict[int, str]:
    controls = [code for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"]
    table = {code: f"[U+{code:04X}]" for code in (*controls, *BIDIRECTIONAL, *INVISIBLE)}
    for code in (*range(0xD800, 0xE000), 0xFFFE, 0xFFFF):
        table[code] = "\ufffd"
    return table


_REPLACEMENTS = _replacements()


def visible(text: str) -> str:
    """The text with every character that is unseen, reorders others, or has no encoding replaced by one that shows it.

    Line feeds and tabs stay.
    """
    return text.translate(_REPLACEMENTS)


def one_line(text: str) -> str:
    """The visible text with each run of white space made one space."""
    return " ".join(visible(text).split())


def figure(value: float | None, digits: int = 3) -> str:
    """A measured value for people: `digits` significant digits, such as "0.0871", "12.3" or "5e-5"."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    if value == 0:
        return "0"
    if 999.5 <= abs(value) < 1e15:
        return count(round(value))
    if abs(value) < 1e-3:
        mantissa, power = f"{value:.{digits - 1}e}".split("e")
        return f"{float(mantissa):g}e{int(power)}"
    return f"{value:.{digits}g}"


def count(value: int) -> str:
    """A whole number with thin spaces between groups of three digits."""
    return f"{value:,}".replace(",", "\u2009")


def duration(seconds: float) -> str:
    """Seconds as the two largest units that fit, such as "3 min 12 s" or "2 h 5 min"."""
    if not math.isfinite(seconds):
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next((index for index, (value, _) in enumerate(parts) if value), len(parts) - 1)
    return " ".join(f"{value} {unit}" for value, unit in parts[first : first + 2] if value)
