"""How decoding stands damaged pictures: `python -m bench.damaged_pictures [--seconds 60] [--format AVIF]`, one table.

A real photograph (scikit-image's) in each format that is read, with and without transparency, is damaged at random: bytes are
changed, removed, put in, the end is cut off. Each is decoded as the trainer does it, in a child process with limits. A picture
that kills the child is counted, and kept in the folder `--keep`.
"""

from __future__ import annotations

import argparse
import io
import random
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from trainer.data.decoding_process import Died
from trainer.data.images import Decoder, UnreadablePicture

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "BMP")


def sound(format_: str) -> list[bytes]:
    """Pictures of 160×120 pixels that decode."""
    from skimage import data

    photograph = Image.fromarray(data.astronaut()).resize((160, 120))
    pictures = [photograph, photograph.convert("L")]
    if format_ != "JPEG":
        transparent = photograph.convert("RGBA")
        transparent.putalpha(Image.fromarray(np.tile(np.arange(160, dtype=np.uint8), (120, 1))))
        pictures.append(transparent)
    encoded = []
    for picture in pictures:
        file = io.BytesIO()
        picture.save(file, format_)
        encoded.append(file.getvalue())
    return encoded


def damaged(content: bytes, draw: random.Random) -> bytes:
    """The content with one to sixteen damages, half of them near its front, where the structure is."""
    out = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        place = draw.randrange(min(len(out), 400) if draw.random() < 0.5 else len(out))
        kind = draw.random()
        if kind < 0.6:
            out[place] = draw.randrange(256)
        elif kind < 0.75:
            del out[place : place + draw.randrange(1, 16)]
        elif kind < 0.85:
            out[place:place] = draw.randbytes(draw.randrange(1, 8))
        else:
            out[place : place + 4] = b"\xff\xff\xff\xff"
    return bytes(out[: draw.randrange(1, len(out))] if draw.random() < 0.1 else out)


def tried(format_: str, seconds: float, keep: Path | None) -> tuple[Counter[str], float]:
    """What became of the damaged files of a format, and the longest time that one took, in seconds."""
    draw, found, slowest = random.Random(0), Counter[str](), 0.0
    originals = sound(format_)
    with tempfile.TemporaryDirectory() as folder, Decoder() as decoder:
        path, deadline = Path(folder) / "picture", time.monotonic() + seconds
        while time.monotonic() < deadline:
            path.write_bytes(content := damaged(draw.choice(originals), draw))
            began = time.monotonic()
            try:
                decoder.probe(path)
                found["read"] += 1
            except UnreadablePicture as refusal:
                found["refused"] += 1
                if isinstance(refusal.__cause__, Died):
                    found["killed the child"] += 1
                    if keep is not None:
                        (keep / f"{format_}-{found.total()}").write_bytes(content)
            slowest = max(slowest, time.monotonic() - began)
    return found, slowest


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=60, help="for each format")
    arguments.add_argument("--format", choices=FORMATS, action="append")
    arguments.add_argument("--keep", type=Path)
    options = arguments.parse_args()
    print(f"{'format':8}{'files':>8}{'read':>8}{'refused':>10}{'killed the child':>18}{'slowest':>10}")
    for format_ in options.format or FORMATS:
        with warnings.catch_warnings(action="ignore"):
            found, slowest = tried(format_, options.seconds, options.keep)
        files = found["read"] + found["refused"]
        print(
            f"{format_:8}{files:8}{found['read']:8}{found['refused']:10}{found['killed the child']:18}{slowest:8.2f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
