"""What a file is by its first bytes, so that a refusal can name it. Pure."""

from __future__ import annotations

_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"BM", "BMP"),
    (b"GIF8", "a GIF"),
    (b"II*\x00", "a TIFF"),
    (b"MM\x00*", "a TIFF"),
    (b"8BPS", "a Photoshop file"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL"),
    (b"\xff\x0a", "a JPEG XL"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000"),
    (b"version https://git-lfs", "a Git LFS pointer (fetch the real file with `git lfs pull`)"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML text"),
    (b"<!DOCTYPE html", "a web page"),
    (b"<html", "a web page"),
)
_BRANDS = {
    b"avif": "AVIF",
    b"avis": "AVIF",
    b"heic": "a HEIC",
    b"heix": "a HEIC",
    b"mif1": "a HEIC",
    b"msf1": "a HEIC",
}


def kind_of(head: bytes) -> str:
    """`JPEG`, `PNG`, `WEBP`, `AVIF` or `BMP` for what can be decoded; else a phrase such as "a GIF" or "of an unknown kind"."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "a film")
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    if head and not head.strip(b"\x00"):
        return "nothing but zero bytes"
    return "of an unknown kind"
