"""Pictures inside the report: whole files in the page, so that it needs no other."""

from __future__ import annotations

import base64
import io

from PIL import Image

LOSSLESS_BELOW = 256
"""Pictures with both sides below this (pixels) are kept exactly, as PNG; others become WebP, a tenth of the bytes."""

WEBP_QUALITY = 90


def plain(picture: Image.Image) -> Image.Image:
    """The picture as RGB on white, without what else its file may have carried (colour profiles, texts, positions)."""
    opaque = Image.new("RGB", picture.size, "white")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        opaque.paste(picture, mask=picture.getchannel("A"))
    else:
        opaque.paste(picture.convert("RGB"))
    return opaque


def is_small(picture: Image.Image) -> bool:
    """Whether the picture is better shown enlarged, with its pixels as they are."""
    return max(picture.size) < LOSSLESS_BELOW


def reduced(picture: Image.Image, largest: int) -> Image.Image:
    """The picture with no side above `largest` pixels."""
    if max(picture.size) <= largest:
        return picture
    small = plain(picture)
    small.thumbnail((largest, largest), Image.Resampling.LANCZOS)
    return small


def data_uri(picture: Image.Image) -> str:
    """The picture as a `data:` address: the same pixels give the same text."""
    buffer = io.BytesIO()
    if is_small(picture):
        plain(picture).save(buffer, "PNG", optimize=True)
        kind = "png"
    else:
        plain(picture).save(buffer, "WEBP", quality=WEBP_QUALITY, method=4)
        kind = "webp"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
