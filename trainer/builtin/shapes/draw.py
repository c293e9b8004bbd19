"""The world of `builtin://shapes`: coloured shapes on plain backgrounds, drawn with their captions.

A `Scene` is plain data; `draw` renders it, `caption` says it in words, `random_scene` makes one from a random generator.
Pictures are drawn at four times their size and reduced, so that edges are smooth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

SIZE = 64
"""Side of a picture, in pixels."""

OVERSAMPLING = 4

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (214, 34, 38),
    "orange": (246, 138, 18),
    "yellow": (250, 222, 40),
    "green": (48, 186, 74),
    "blue": (36, 84, 222),
    "purple": (142, 48, 176),
    "pink": (252, 132, 192),
    "white": (250, 250, 250),
}

BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "sky": (158, 208, 246),
    "sand": (226, 202, 156),
    "night": (22, 24, 58),
    "forest": (26, 70, 46),
}

Point = tuple[float, float]


def _polar(radius: float, degrees: float) -> Point:
    """The point at `radius` and at `degrees` clockwise from the top; y points down, as in pictures."""
    return radius * math.sin(math.radians(degrees)), -radius * math.cos(math.radians(degrees))


def _heart() -> list[Point]:
    angles = [2 * math.pi * i / 80 for i in range(80)]
    return [
        (
            math.sin(t) ** 3,
            -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 16,
        )
        for t in angles
    ]


def _moon() -> list[Point]:
    """A crescent open to the right: the unit disc without the disc of radius 0.8 around (0.6, 0)."""
    bite, offset = 0.8, 0.6
    tip_x = (1 - bite**2 + offset**2) / (2 * offset)
    tip_y = math.sqrt(1 - tip_x**2)
    outer_tip = math.degrees(math.atan2(tip_x, tip_y))
    inner_tip = math.degrees(math.atan2(tip_x - offset, tip_y))
    outer = [_polar(1.0, degrees) for degrees in np.linspace(outer_tip, -180 - outer_tip, 60)]
    inner = [_polar(bite, degrees) for degrees in np.linspace(180 - inner_tip, 360 + inner_tip, 40)]
    return outer + [(x + offset, y) for x, y in inner]


def _star() -> list[Point]:
    return [_polar(1.0 if i % 2 == 0 else 0.42, 36 * i) for i in range(10)]


def _cross() -> list[Point]:
    a, b = 0.33, 0.95
    return [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a), (a, b), (-a, b), (-a, a), (-b, a), (-b, -a), (-a, -a)]


def _circle() -> list[Point]:
    return [_polar(0.95, degrees) for degrees in range(0, 360, 5)]


OUTLINES: dict[str, Callable[[], list[Point]]] = {
    "circle": _circle,
    "square": lambda: [(-0.82, -0.82), (0.82, -0.82), (0.82, 0.82), (-0.82, 0.82)],
    "triangle": lambda: [(0.0, -1.0), (0.98, 0.78), (-0.98, 0.78)],
    "star": _star,
    "cross": _cross,
    "ring": _circle,
    "heart": _heart,
    "moon": _moon,
}
"""Each shape's outline in a square from -1 to 1."""

SHAPES = tuple(OUTLINES)

RING_HOLE = 0.52
"""Radius of a ring's hole, as a share of the ring's own."""

HELD_OUT = ("heart", "moon")
"""The shapes whose words and pictures the shipped base's UNet and text encoder never met (its VAE did)."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One picture: what is in it and where. Lengths in pixels of a picture of SIZE x SIZE."""

    shape: str
    color: str
    background: str
    radius: float = 20.0
    x: float = SIZE / 2
    y: float = SIZE / 2
    tilt: float = 0.0
    """Degrees, clockwise."""
    striped: bool = False
    """Bands of white across the shape."""


def mask(scene: Scene, size: int = SIZE * OVERSAMPLING) -> Image.Image:
    """The shape alone, white on black, at `size` x `size` pixels (mode L)."""
    scale = size / SIZE
    turn = math.radians(scene.tilt)
    cos, sin = math.cos(turn), math.sin(turn)

    def place(points: Sequence[Point]) -> list[Point]:
        return [
            (
                scale * (scene.x + scene.radius * (x * cos - y * sin)),
                scale * (scene.y + scene.radius * (x * sin + y * cos)),
            )
            for x, y in points
        ]

    picture = Image.new("L", (size, size), 0)
    pen = ImageDraw.Draw(picture)
    outline = OUTLINES[scene.shape]()
    pen.polygon(place(outline), fill=255)
    if scene.shape == "ring":
        pen.polygon(place([(RING_HOLE * x, RING_HOLE * y) for x, y in outline]), fill=0)
    return picture


def draw(scene: Scene, size: int = SIZE) -> Image.Image:
    """The picture (RGB, `size` x `size` pixels)."""
    large = size * OVERSAMPLING
    picture = Image.new("RGB", (large, large), BACKGROUNDS[scene.background])
    paint = Image.new("RGB", (large, large), COLORS[scene.color])
    if scene.striped:
        pen = ImageDraw.Draw(paint)
        band = large / SIZE * scene.radius / 3
        white = COLORS["white"] if scene.color != "white" else COLORS["blue"]
        first = large / SIZE * (scene.y - scene.radius)
        for i in range(0, 6, 2):
            pen.rectangle((0, first + band * i, large, first + band * (i + 1)), fill=white)
    picture.paste(paint, mask=mask(scene, large))
    return picture.resize((size, size), Image.Resampling.BOX)


def caption(scene: Scene, *, size_word: bool = False, shape_word: str | None = None) -> str:
    """The scene in words, such as "a big striped red star on a sky background".

    `shape_word` replaces the shape's own word, for an activation tag.
    """
    words = []
    if size_word and scene.radius <= 16:
        words.append("small")
    if size_word and scene.radius >= 22:
        words.append("big")
    if scene.striped:
        words.append("striped")
    words += [scene.color, shape_word or scene.shape]
    article = "an" if words[0][0] in "aeiou" else "a"
    return f"{article} {' '.join(words)} on a {scene.background} background"


def random_scene(rng: np.random.Generator, shapes: Sequence[str] = SHAPES, striped: float = 0.15) -> Scene:
    """A scene with everything drawn evenly: shape, colour, background, size, place and a slight tilt."""
    radius = float(rng.uniform(13, 25))
    room = SIZE / 2 - radius - 1
    return Scene(
        shape=shapes[int(rng.integers(len(shapes)))],
        color=list(COLORS)[int(rng.integers(len(COLORS)))],
        background=list(BACKGROUNDS)[int(rng.integers(len(BACKGROUNDS)))],
        radius=radius,
        x=SIZE / 2 + float(rng.uniform(-room, room)),
        y=SIZE / 2 + float(rng.uniform(-room, room)),
        tilt=float(rng.uniform(-12, 12)),
        striped=bool(rng.random() < striped),
    )
