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
