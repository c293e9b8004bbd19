"""Pages that need no other file and no network, and may do nothing: templates, and the digests that a page allows.

Each page forbids itself everything by a Content-Security-Policy: no address but `data:` pictures, and only the one style sheet
and the one script whose digests it names, so that a text which slipped through escaping still could not act.
"""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from trainer.report.text import count, duration, figure, visible

HERE = Path(__file__).parent


@lru_cache(maxsize=4)
def environment(folder: Path = HERE) -> Environment:
    """For the templates of a folder, and those beside this file."""
    made = Environment(
        loader=FileSystemLoader([folder, HERE]),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(count=count, figure=figure, duration=duration)
    return made


def _finalize(value: object) -> object:
    """Every text on its way into a page; only the project's own style and script pass as they are."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@lru_cache(maxsize=4)
def source(path: Path) -> Markup:
    """A file of the project's own, put into a page as it is."""
    return Markup(path.read_text(encoding="utf-8"))


def digest(text: str) -> str:
    """As Content-Security-Policy names an inline element (CSP level 3, section 2.3.1)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
