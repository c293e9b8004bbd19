"""One picture file → what it is, its RGB pixels, or its mask. Runs in the decoding child only; Pillow, no NumPy.

Accepted are JPEG (MPO of phone cameras included: its first picture), PNG, WebP, AVIF and BMP, of one frame. The result is
upright (EXIF orientation), in sRGB (embedded colour profile), on a background where it was transparent, and 8 bits deep.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Registered by hand: Pillow would otherwise load every decoder that it has.
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    Image,
    ImageChops,
    ImageCms,
    ImageFile,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from trainer.data.decoding_protocol import LARGEST_PICTURE
from trainer.data.signatures import kind_of

_PLUGINS = (AvifImagePlugin, BmpImagePlugin, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, WebPImagePlugin)
_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "BMP")
_SRGB = ImageCms.createProfile("sRGB")
_MODE_OF_PROFILE = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LYING = (5, 6, 7, 8)  # orientations that exchange width and height
# What Pillow's parsers are known to raise at damaged files, besides MemoryError. RuntimeError is libavif's.
_DAMAGE = (
    *(OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, OverflowError, EOFError),
    *(struct.error, RuntimeError, Warning),
)

Image.MAX_IMAGE_PIXELS = LARGEST_PICTURE
ImageFile.LOAD_TRUNCATED_IMAGES = False
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # each thread's stack would count against the child's memory


class Broken(Exception):
    """A picture that cannot be trained on. The message goes on after its name and ends with the remedy."""


def measured(path: Path) -> dict[str, Any]:
    """Decodes a picture wholly, to be sure of it: upright `width` and `height`, `format`, `mode`, `notes`."""
    with _opened(path) as (picture, oddities):
        notes: list[str] = []
        orientation = _orientation(picture)
        if orientation is None and oddities:
            notes.append("exif")
        if "icc_profile" in picture.info and _profile(picture) is None:
            notes.append("profile")
        if _is_transparent(picture):
            notes.append("transparent")
        width, height = picture.size[::-1] if orientation in _LYING else picture.size
        return {"width": width, "height": height, "format": picture.format, "mode": picture.mode, "notes": notes}


def rendered(
    path: Path, resize: tuple[int, int], crop: tuple[int, int, int, int], background: str
) -> tuple[dict[str, Any], bytes]:
    """RGB bytes, row by row, of the picture resized to `resize` and cut to `crop` (left, top, right, bottom).

    It lies on `background`, `#rrggbb`.
    """
    with _opened(path) as (picture, _):
        orientation = _orientation(picture)
        colours = _in_rgb(picture, background)
    colours = _upright(colours, orientation)
    if colours.size != resize:
        # A gap of 3 halves large pictures cheaply first, and leaves Lanczos three times the pixels that it needs.
        colours = colours.resize(resize, Image.Resampling.LANCZOS, reducing_gap=3.0)
    part = colours.crop(crop)
    return {"width": part.width, "height": part.height}, part.tobytes()


def masked(
    path: Path, resize: tuple[int, int], crop: tuple[int, int, int, int], source: str
) -> tuple[dict[str, Any], bytes]:
    """The mask, 255 for what counts, one byte a pixel: of `source` "alpha" how opaque the picture is, of "file" how light.

    Resized and cut as `rendered` does it, but each pixel is the mean of those it covers: Lanczos would overshoot at edges.
    """
    with _opened(path) as (picture, _):
        orientation = _orientation(picture)
        alpha = _alpha(picture)
        if source == "alpha":
            shown = alpha or Image.new("L", picture.size, 255)
        else:
            shown = _without_alpha(picture).convert("L")
            shown = ImageChops.multiply(shown, alpha) if alpha else shown
    shown = _upright(shown, orientation)
    if shown.size != resize:
        shown = shown.resize(resize, Image.Resampling.BOX)
    part = shown.crop(crop)
    return {"width": part.width, "height": part.height}, part.tobytes()


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Image.Image, list[warnings.WarningMessage]]]:
    """A picture of one frame, decoded, and what is odd about its EXIF data. Other warnings are damage. Raises Broken."""
    with warnings.catch_warnings(record=True) as oddities:
        warnings.simplefilter("error")
        # EXIF is read by Pillow's TIFF code. It is no part of the pixels.
        warnings.filterwarnings("always", module=r"PIL\.TiffImagePlugin")
        # Only the index of further pictures in the file is damaged; the first one is a sound JPEG.
        warnings.filterwarnings("ignore", message="Image appears to be a malformed MPO")
        try:
            with Image.open(path, formats=_FORMATS) as picture:
                if picture.format != "MPO" and getattr(picture, "is_animated", False):
                    raise Broken(f"is animated ({_frames(picture)} frames); save one frame of it, or remove it")
                picture.load()
                yield picture, oddities
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            limit = LARGEST_PICTURE // 1_000_000
            raise Broken(f"claims more than {limit} million pixels; make it smaller or remove it") from error
        except _DAMAGE as error:
            raise Broken(_damage(path, error)) from error


def _frames(picture: Image.Image) -> int:
    return int(getattr(picture, "n_frames", 1))


def _damage(path: Path, error: BaseException) -> str:
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return "is empty (0 bytes); upload it again or remove it"
    kind = kind_of(head)
    if kind not in _FORMATS:
        return f"is {kind}, not a JPEG, PNG, WebP, AVIF or BMP picture; convert it or remove it"
    if isinstance(error, UnidentifiedImageError):  # whose message shows a path of ours
        return f"is damaged {kind} (its header cannot be read); save it anew or remove it"
    if "truncated" in str(error).lower():
        return f"is truncated (its {kind} data ends early); upload it again from the original, or remove it"
    return f"is damaged {kind} ({str(error) or type(error).__name__}); save it anew or remove it"


def _orientation(picture: Image.Image) -> int | None:
    """The EXIF orientation, 1 to 8; None if there is none, or none that can be read."""
    try:
        value = picture.getexif().get(_ORIENTATION_TAG)
    except (*_DAMAGE, EOFError):
        return None
    return value if isinstance(value, int) and 1 <= value <= 8 else None


def _upright(picture: Image.Image, orientation: int | None) -> Image.Image:
    return picture.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else picture


def _profile(picture: Image.Image) -> ImageCms.ImageCmsProfile | None:
    """The embedded colour profile; None if there is none or it is damaged."""
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(picture.info["icc_profile"]))
    except (KeyError, OSError, TypeError, ValueError):
        return None


def _is_transparent(picture: Image.Image) -> bool:
    alpha = _alpha(picture)
    return alpha is not None and alpha.getextrema()[0] != 255


def _alpha(picture: Image.Image) -> Image.Image | None:
    if not picture.has_transparency_data or picture.mode.startswith("I;16"):
        return None  # one grey of 65536 that is transparent: nobody means it, and Pillow cannot convert it
    return picture.convert("RGBA").getchannel("A")


def _in_rgb(picture: Image.Image, background: str) -> Image.Image:
    """Colours in sRGB, laid on the background."""
    alpha = _alpha(picture)
    colours = _in_srgb(_without_alpha(picture), _profile(picture))
    if alpha is None:
        return colours
    paper = Image.new("RGB", colours.size, background)
    paper.paste(colours, mask=alpha)
    return paper


def _without_alpha(picture: Image.Image) -> Image.Image:
    """The same colours in mode L, RGB or CMYK."""
    if picture.mode in ("L", "RGB", "CMYK"):
        return picture
    if picture.mode.startswith("I;16"):
        # The high byte of every 16 bits. `convert` would clip at 255 and leave a white picture.
        high = 0 if picture.mode == "I;16B" else 1
        return Image.frombytes("L", picture.size, picture.tobytes()[high::2])
    if picture.mode in ("1", "LA", "La"):
        return picture.convert("L")
    return picture.convert("RGBA").convert("RGB") if picture.has_transparency_data else picture.convert("RGB")


def _in_srgb(colours: Image.Image, profile: ImageCms.ImageCmsProfile | None) -> Image.Image:
    """Through the embedded profile, if there is one that fits; without one, pictures are taken to be in sRGB."""
    if profile is None:
        return colours.convert("RGB")
    mode = _MODE_OF_PROFILE.get(profile.profile.xcolor_space.strip())
    if mode == "RGB" and colours.mode == "L":
        colours = colours.convert("RGB")
    if mode != colours.mode:
        return colours.convert("RGB")
    try:
        converted = ImageCms.profileToProfile(colours, profile, _SRGB, outputMode="RGB")
    except ImageCms.PyCMSError:
        return colours.convert("RGB")
    assert converted is not None, "profileToProfile returns None only when it works in place"
    return converted
