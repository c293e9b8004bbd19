"""A page that shows the same prompts and seeds by several adapters beside each other. One HTML file that needs no other.

It forbids itself everything but its own style sheet and the pictures inside it, as the reports do.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

_STYLE = Path(__file__).with_name("comparison.css")
_SMALL = 256
"""Pixels: below it a picture is shown enlarged, with its pixels as they are."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A row: what was drawn."""

    text: str
    negative: str = ""
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Column:
    """What one adapter, or none, has drawn."""

    name: str
    note: str = ""
    """What it is, such as its type, rank and steps."""
    pictures: Sequence[bytes | None] = field(repr=False)
    """PNGs in order of the prompts; None where it has none."""


def comparison_page(title: str, how: str, prompts: Sequence[Prompt], columns: Sequence[Column]) -> str:
    """The whole page; `how` says how the pictures were drawn. The same arguments give the same text."""
    style = _STYLE.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    notes = "".join(
        f'<tr><th scope="row">{_shown(one.name)}</th><td>{_shown(one.note)}</td></tr>\n' for one in columns if one.note
    )
    rows = "".join(_row(prompt, place, columns) for place, prompt in enumerate(prompts))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{html.escape(_plain(title))}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{_shown(title)}</h1>
<p class="quiet">{_shown(how)}</p>
<section><table><tbody>
{notes}</tbody></table></section>
{rows}</main>
</body>
</html>
"""


def _row(prompt: Prompt, place: int, columns: Sequence[Column]) -> str:
    told = [f"seed {prompt.seed}"] + ([f"not: {_shown(prompt.negative)}"] if prompt.negative else [])
    figures = "".join(_figure(column, place, prompt.text) for column in columns)
    return f"""<section>
<h2>{_shown(prompt.text) or "(empty prompt)"}</h2>
<p class="quiet">{" · ".join(told)}</p>
<div class="row">
{figures}</div>
</section>
"""


def _figure(column: Column, place: int, text: str) -> str:
    content = column.pictures[place]
    if content is None:
        return f"<figure><figcaption>{_shown(column.name)}: none</figcaption></figure>\n"
    width, height = (int.from_bytes(content[start : start + 4], "big") for start in (16, 20))
    small = ' class="small"' if max(width, height) < _SMALL else ""
    data = base64.b64encode(content).decode("ascii")
    alt = html.escape(_plain(f"{column.name}: {text}"))
    image = f'<img{small} src="data:image/png;base64,{data}" width="{width}" height="{height}" alt="{alt}">'
    return f"<figure><figcaption>{_shown(column.name)}</figcaption>{image}</figure>\n"


def _shown(text: str) -> str:
    """Escaped, and of its own direction."""
    return f"<bdi>{html.escape(_plain(text))}</bdi>" if text else ""


def _plain(text: str) -> str:
    """Without characters that are unseen or turn the text around them round."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in " ".join(text.split()))
