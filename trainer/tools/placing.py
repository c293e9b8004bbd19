"""Where results are written: under a temporary name beside their place, and moved there when they are whole."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainer.errors import UserError


def check_free(out: Path, *, force: bool) -> None:
    """Raises UserError where a result cannot go. A folder is never overwritten, a file only with `force`."""
    if out.is_dir():
        raise UserError(f"{out} is a folder; give another --out, or remove it.")
    if out.exists() and not force:
        raise UserError(f"{out} exists; give another --out, or --force to overwrite it.")
    if not out.parent.is_dir():
        raise UserError(f"{out.parent} is no folder; make it, or give another --out.")


@contextmanager
def placed(out: Path, *, force: bool) -> Iterator[Path]:
    """`with placed(out) as path: …` writes a file or a folder at `path`; it is at `out` only when the block ends well."""
    check_free(out, force=force)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield folder / out.name
        check_free(out, force=force)
        (folder / out.name).replace(out)
    finally:
        shutil.rmtree(folder)
