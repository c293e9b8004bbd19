"""Pictures that hold none of the shapes though they look nearly so: what a judge must learn to call "other".

A base that has not learnt a word draws a blob, two shapes molten into one or a half of something. Each such failure is
drawn here, in the colours and on the backgrounds of the real pictures, so that only the form tells the difference.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from trainer.builtin.shapes import draw

LARGE = draw.SIZE * draw.OVERSAMPLING
"""Side of a mask before it is reduced, in pixels."""

ROUND = ("circle", "ring", "moon")
"""Two of these molten into one may be a third."""


def _scene(rng: np.random.Generator, *avoid: str) -> draw.Scene:
    return draw.random_scene(rng, [shape for shape in draw.SHAPES if shape not in avoid], striped=0)


def _two_masks(rng: np.random.Generator, *, in_one_place: bool) -> tuple[Image.Image, Image.Image]:
    """Two different shapes that do not lie within each other as a circle lies in a ring."""
    first = _scene(rng)
    second = _scene(rng, first.shape, *(ROUND if first.shape in ROUND else ()))
    if in_one_place:
        second = replace(second, radius=first.radius, x=first.x, y=first.y)
    return draw.mask(first, LARGE), draw.mask(second, LARGE)


def _likeness(first: Image.Image, second: Image.Image) -> float:
    """Shared area over joint area, 0 to 1."""
    a, b = np.asarray(first) > 127, np.asarray(second) > 127
    return float((a & b).sum() / max(1, (a | b).sum()))


def _unlike(form: Image.Image, *parents: Image.Image) -> bool:
    """Whether a form made of two shapes can be told from both."""
    return all(_likeness(form, parent) < 0.8 for parent in parents)


def _half_plane(rng: np.random.Generator, scene: draw.Scene) -> Image.Image:
    """White on one side of a line through the middle of a scene's shape."""
    x, y = scene.x * draw.OVERSAMPLING, scene.y * draw.OVERSAMPLING
    angle = rng.uniform(0, 2 * math.pi)
    dx, dy = 2 * LARGE * math.cos(angle), 2 * LARGE * math.sin(angle)
    side = Image.new("L", (LARGE, LARGE), 0)
    corners = [(x - dx, y - dy), (x + dx, y + dy), (x + dx - dy, y + dy + dx), (x - dx - dy, y - dy + dx)]
    ImageDraw.Draw(side).polygon(corners, 255)
    return side


def warped(mask: Image.Image, rng: np.random.Generator, reach: float) -> Image.Image:
    """The large mask bent by slow waves that move a point by about `reach` pixels of the finished picture."""
    y, x = np.mgrid[0:LARGE, 0:LARGE].astype(np.float32)
    height = reach * draw.OVERSAMPLING / math.sqrt(3 / 2)
    sources = []
    for start in (x, y):
        wave = np.zeros_like(x)
        for _ in range(3):
            angle, phase = rng.uniform(0, 2 * math.pi, 2)
            length = rng.uniform(0.3, 0.8) * LARGE
            wave += np.sin((x * math.cos(angle) + y * math.sin(angle)) * 2 * math.pi / length + phase)
        sources.append(np.clip(start + height * wave, 0, LARGE - 1).astype(np.int32))
    return Image.fromarray(np.asarray(mask)[sources[1], sources[0]])


def _blob(rng: np.random.Generator) -> Image.Image:
    """A closed curve whose radius waves."""
    scene = _scene(rng)
    angles = np.linspace(0, 2 * math.pi, 90, endpoint=False)
    radius = np.ones_like(angles)
    heights = rng.dirichlet(np.ones(4)) * rng.uniform(0.25, 0.6)  # five even waves would be a soft star
    for waves, height in enumerate(heights, start=1):
        radius += height * np.cos(waves * angles + rng.uniform(0, 2 * math.pi))
    radius *= scene.radius * 0.85 * draw.OVERSAMPLING
    x, y = scene.x * draw.OVERSAMPLING, scene.y * draw.OVERSAMPLING
    blob = Image.new("L", (LARGE, LARGE), 0)
    points = zip(x + radius * np.sin(angles), y + radius * np.cos(angles), strict=True)
    ImageDraw.Draw(blob).polygon([(float(a), float(b)) for a, b in points], fill=255)
    return blob


def _molten(rng: np.random.Generator) -> Image.Image:
    """The form half-way between two shapes: both blurred, added, and cut off at half height."""
    first, second = _two_masks(rng, in_one_place=True)
    soft = ImageFilter.GaussianBlur(14)
    blend = Image.blend(first.filter(soft), second.filter(soft), float(rng.uniform(0.4, 0.6)))
    form = blend.point([255 if level > 127 else 0 for level in range(256)])
    return form if _unlike(form, first, second) else _molten(rng)


def _spliced(rng: np.random.Generator) -> Image.Image:
    """One shape on one side of a line, another on the other."""
    scene = _scene(rng)
    other = replace(scene, shape=_scene(rng, scene.shape, *(ROUND if scene.shape in ROUND else ())).shape)
    first, second = draw.mask(scene, LARGE), draw.mask(other, LARGE)
    form = Image.composite(first, second, _half_plane(rng, scene))
    return form if _unlike(form, first, second) else _spliced(rng)


def _halved(rng: np.random.Generator) -> Image.Image:
    """A shape of which a half is missing."""
    scene = _scene(rng, "moon", "triangle")  # their halves may be moons and triangles
    whole = draw.mask(scene, LARGE)
    return ImageChops.darker(whole, _half_plane(rng, scene))


def _bent(rng: np.random.Generator) -> Image.Image:
    """A shape bent out of recognition."""
    straight = draw.mask(_scene(rng), LARGE)
    form = warped(straight, rng, reach=float(rng.uniform(2.5, 5)))
    return form if _likeness(form, straight) < 0.6 else _bent(rng)


def _crowd(rng: np.random.Generator) -> Image.Image:
    """Two shapes, apart or overlapping, neither of which hides the other."""
    first, second = _two_masks(rng, in_one_place=False)
    form = ImageChops.lighter(first, second)
    return form if _unlike(form, first, second) else _crowd(rng)


def _nothing(rng: np.random.Generator) -> Image.Image:  # noqa: ARG001 - one of the table of kinds below
    return Image.new("L", (LARGE, LARGE), 0)


MASKS: dict[str, Callable[[np.random.Generator], Image.Image]] = {
    "blob": _blob,
    "molten": _molten,
    "spliced": _spliced,
    "halved": _halved,
    "bent": _bent,
    "crowd": _crowd,
    "nothing": _nothing,
}
"""Kinds of non-shapes that have one colour and one background; each draws a large mask."""


def painted(mask: Image.Image, color: str, background: str) -> Image.Image:
    """The picture of a large mask (RGB, SIZE x SIZE)."""
    picture = Image.new("RGB", mask.size, draw.BACKGROUNDS[background])
    picture.paste(draw.COLORS[color], (0, 0, *mask.size), mask)
    return picture.resize((draw.SIZE, draw.SIZE), Image.Resampling.BOX)


def noise(rng: np.random.Generator) -> Image.Image:
    """Coloured noise, from single pixels to soft clouds."""
    cell = int(rng.choice([1, 4, 8, 16]))
    side = draw.SIZE // cell
    spread = rng.uniform(20, 90)
    levels = rng.normal(rng.uniform(40, 215, 3), spread, (side, side, 3)).clip(0, 255).astype(np.uint8)
    return Image.fromarray(levels).resize((draw.SIZE, draw.SIZE), Image.Resampling.BICUBIC)


def faded(rng: np.random.Generator) -> Image.Image:
    """Two pictures of different shapes, shining through each other."""
    first = _scene(rng)
    second = _scene(rng, first.shape)
    return Image.blend(draw.draw(first), draw.draw(second), float(rng.uniform(0.35, 0.65)))
