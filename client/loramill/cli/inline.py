"""Pictures inside a terminal's text, by the protocol that the terminal speaks: kitty's, iTerm2's, or sixel.

Nothing is guessed where it would litter: a terminal names itself in the environment, or answers when it is asked what it can
(DEC's primary device attributes, of which 4 is sixel). Inside tmux and screen, which pass neither kitty's nor iTerm2's on, only
such an answer counts.
"""

from __future__ import annotations

import base64
import io
import os
import re
import select
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

from loramill.cli.sixel import sixel
from loramill.previews import Picture

ROWS = 8
"""Lines of text that a row of pictures takes."""
_CHUNK = 4096
"""Most letters of one kitty escape."""
_ANSWER_SECONDS = 0.3
_ATTRIBUTES = re.compile(r"\x1b\[\?([0-9;]+)c")
_CELL = (10, 20)
"""Pixels of a letter's cell, where the terminal does not tell."""


class Graphics(StrEnum):
    """How a terminal takes pictures."""

    KITTY = "kitty"
    ITERM2 = "iterm2"
    SIXEL = "sixel"
    NONE = "none"


def graphics_of(environment: Mapping[str, str], ask: Callable[[], str]) -> Graphics:
    """What the terminal speaks; `ask` gives its answer to the question for device attributes, empty for none."""
    program, terminal = environment.get("TERM_PROGRAM", ""), environment.get("TERM", "")
    if terminal in ("", "dumb", "linux"):
        return Graphics.NONE
    multiplexed = "TMUX" in environment or terminal.startswith(("screen", "tmux"))
    if not multiplexed:
        if "KITTY_WINDOW_ID" in environment or terminal in ("xterm-kitty", "xterm-ghostty") or program == "ghostty":
            return Graphics.KITTY
        if program in ("iTerm.app", "WezTerm") or environment.get("LC_TERMINAL") == "iTerm2":
            return Graphics.ITERM2
    found = _ATTRIBUTES.search(ask())
    return Graphics.SIXEL if found is not None and "4" in found[1].split(";")[1:] else Graphics.NONE


def ask_terminal() -> str:
    """The terminal's answer to the question for its primary device attributes; empty where it gives none in time."""
    import termios
    import tty

    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return ""
    answer = b""
    try:
        before = termios.tcgetattr(terminal)
        try:
            tty.setcbreak(terminal, termios.TCSANOW)
            os.write(terminal, b"\x1b[c")
            until = time.monotonic() + _ANSWER_SECONDS
            while not answer.endswith(b"c") and (left := until - time.monotonic()) > 0:
                if not select.select([terminal], [], [], left)[0]:
                    break
                answer += os.read(terminal, 256)
        finally:
            termios.tcsetattr(terminal, termios.TCSANOW, before)
    except (OSError, termios.error):
        return ""
    finally:
        os.close(terminal)
    return answer.decode("ascii", "replace")


def cell_of(stream_number: int) -> tuple[int, int]:
    """(width, height) in pixels of a letter's cell in the terminal behind a file descriptor."""
    import fcntl
    import termios

    try:
        rows, columns, width, height = struct.unpack("HHHH", fcntl.ioctl(stream_number, termios.TIOCGWINSZ, b"\0" * 8))
    except OSError:
        return _CELL
    return (width // columns, height // rows) if rows and columns and width and height else _CELL


def rows_of(
    graphics: Graphics, pictures: Sequence[Picture], columns: int, cell: tuple[int, int] = _CELL, rows: int = ROWS
) -> str:
    """The letters that show these pictures, as many beside each other as fit `columns`, each `rows` lines high."""
    widths = [_columns(picture.size, rows, cell, columns) for picture in pictures]
    lines: list[list[int]] = []
    used = columns
    for place, width in enumerate(widths):
        if used + width > columns or not lines:
            lines.append([])
            used = 0
        lines[-1].append(place)
        used += width + 1
    return "".join(_row(graphics, [(pictures[place], widths[place]) for place in line], rows, cell) for line in lines)


def _row(graphics: Graphics, pictures: Sequence[tuple[Picture, int]], rows: int, cell: tuple[int, int]) -> str:
    # The lines are made first, so that the screen does not scroll under a picture; the cursor stands still while one is drawn.
    parts = ["\n" * rows, f"\x1b[{rows}A"]
    for picture, columns in pictures:
        parts += ["\x1b7", _drawn(graphics, picture, columns, rows, cell), "\x1b8", f"\x1b[{columns + 1}C"]
    return "".join([*parts, "\r", f"\x1b[{rows}B"])


def _columns(size: tuple[int, int], rows: int, cell: tuple[int, int], most: int) -> int:
    """So many cells wide is a picture that is `rows` cells high."""
    width, height = size
    return min(most, max(1, round(rows * cell[1] * width / (max(1, height) * cell[0]))))


def _drawn(graphics: Graphics, picture: Picture, columns: int, rows: int, cell: tuple[int, int]) -> str:
    if graphics is Graphics.KITTY:
        return _kitty(picture.content, columns, rows)
    if graphics is Graphics.ITERM2:
        data = base64.b64encode(picture.content).decode("ascii")
        options = f"inline=1;size={len(picture.content)};width={columns};height={rows};preserveAspectRatio=1"
        return f"\x1b]1337;File={options}:{data}\x07"
    return sixel(io.BytesIO(picture.content), (columns * cell[0], rows * cell[1])) if graphics is Graphics.SIXEL else ""


def _kitty(content: bytes, columns: int, rows: int) -> str:
    """Transmitted and placed at once (a=T), as PNG (f=100), without an answer (q=2) and without moving the cursor (C=1)."""
    data = base64.b64encode(content).decode("ascii")
    chunks = [data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK)]
    options = [f"a=T,f=100,q=2,C=1,c={columns},r={rows},"] + [""] * (len(chunks) - 1)
    return "".join(
        f"\x1b_G{option}m={int(place + 1 < len(chunks))};{chunk}\x1b\\"
        for place, (option, chunk) in enumerate(zip(options, chunks, strict=True))
    )
