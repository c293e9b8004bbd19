"""The files that commands read specs and configurations from."""

from __future__ import annotations

import sys
from pathlib import Path

from loramill.errors import SpecError


def read_text(file: Path) -> str:
    """The text of a file, of standard input for `-`. Raises SpecError for what cannot be read."""
    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"{file} cannot be used:", [f"it is not UTF-8 text (byte {error.start})"]) from None
    except OSError as error:
        raise SpecError(f"{file} cannot be read: {error.strerror}.", []) from None
