"""Four pictures of discs with captions, in a folder: what `helm test` trains on. Standard library alone."""

import pathlib
import struct
import sys
import zlib

SIDE = 64


def png(red, green, blue):
    """A disc of a colour on white."""
    rows = bytearray()
    for y in range(SIDE):
        rows.append(0)
        for x in range(SIDE):
            inside = (x - 32) ** 2 + (y - 32) ** 2 <= 400
            rows += bytes((red, green, blue)) if inside else b"\xff\xff\xff"

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(rows))) + chunk(b"IEND", b"")
    )


folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
for name, colour in {
    "red": (220, 30, 30),
    "green": (30, 160, 60),
    "blue": (40, 60, 220),
    "orange": (240, 140, 20),
}.items():
    (folder / f"{name}.png").write_bytes(png(*colour))
    (folder / f"{name}.txt").write_text(f"a {name} disc")
