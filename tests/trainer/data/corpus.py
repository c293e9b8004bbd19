"""Good and bad picture files, made here as bytes."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, ImageCms

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(picture: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def png(width: int = 64, height: int = 64, seed: int = 0) -> bytes:
    return encoded(noise(width, height, seed))


def left_red_right_blue(width: int = 64, height: int = 32) -> Image.Image:
    picture = Image.new("RGB", (width, height), RED)
    picture.paste(BLUE, (width // 2, 0, width, height))
    return picture


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def bomb(width: int = 50_000, height: int = 50_000) -> bytes:
    """A few hundred bytes that claim to be 2.5 gigapixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b"")


def truncated_jpeg() -> bytes:
    whole = encoded(noise(200, 200), "JPEG")
    return whole[: len(whole) // 2]


def damaged_png() -> bytes:
    whole = bytearray(png(200, 200))
    whole[len(whole) // 2] ^= 0xFF
    return bytes(whole)


def animated(format: str) -> bytes:
    frames = [Image.new("RGB", (64, 64), colour) for colour in (RED, GREEN, BLUE)]
    return encoded(frames[0], format, save_all=True, append_images=frames[1:], duration=100)


def phone_picture() -> bytes:
    """An MPO file, as phones write: a JPEG with a second picture behind it."""
    return encoded(
        Image.new("RGB", (64, 64), RED), "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8), BLUE)]
    )


def sixteen_bit() -> bytes:
    """Grey from black to white in 16 bits, left to right."""
    return encoded(Image.fromarray(np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (64, 1))))


def png_of_16_bits(colour_type: int, samples: np.ndarray) -> bytes:
    """A PNG of (H, W, channels) uint16, which Pillow cannot write; colour types 0 grey, 2 RGB, 4 grey and alpha, 6 RGBA."""
    height, width = samples.shape[:2]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def rotated(orientation: int, width: int = 64, height: int = 32) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(left_red_right_blue(width, height), "JPEG", exif=exif, quality=95, subsampling=0)


def damaged_exif() -> bytes:
    return encoded(left_red_right_blue(), "JPEG", exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff" + b"\xee" * 40)


def lab_profile() -> bytes:
    """A real profile of another colour space than the picture's."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def swapped_profile() -> bytes:
    """sRGB's profile with the primaries of red and blue exchanged, so that using it shows."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")


def _profile(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile, version 2.4, of these tags beside those that every profile must have."""
    white = struct.pack(">4s4xiii", b"XYZ ", 0xF6D6, 0x10000, 0xD32D)
    text = b"text\0\0\0\0made for a test\0"
    name = struct.pack(">4s4xI", b"desc", 5) + b"test\0" + bytes(78)
    tags = {b"desc": name, b"cprt": text, b"wtpt": white, **tags}
    body, table = b"", struct.pack(">I", len(tags))
    for tag, content in tags.items():
        table += struct.pack(">4sII", tag, 128 + 4 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = struct.pack(">4xI4s4s4s12x4s28x", 0x02400000, b"prtr", space, connection, b"acsp")
    header += struct.pack(">iii", 0xF6D6, 0x10000, 0xD32D)
    header += bytes(124 - len(header))
    return struct.pack(">I", 128 + len(table) + len(body)) + header + table + body


def linear_grey_profile() -> bytes:
    """Greys in linear light, so that half the light is a light grey in sRGB."""
    return _profile(b"GRAY", b"XYZ ", {b"kTRC": struct.pack(">4s4xIH", b"curv", 1, 0x0100)})


def grey_ink_profile() -> bytes:
    """A CMYK press whose cyan ink is a middle grey, L* = 50, and whose other inks are black."""
    straight = bytes(range(256))
    grid = b"".join(
        bytes([0 if rest else (128 if cyan else 255), 128, 128]) for cyan in (0, 1) for rest in (0, *[1] * 7)
    )
    matrix = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x10000)
    lut = struct.pack(">4s4xBBBx", b"mft1", 4, 3, 2) + matrix + straight * 4 + grid + straight * 3
    return _profile(b"CMYK", b"Lab ", {b"A2B0": lut})
