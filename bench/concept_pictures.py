"""What the concept bench shows to a base beside its own shapes: known ones in another style, and forms that no base has met."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from trainer.builtin.shapes import draw
from trainer.builtin.shapes.lookalikes import LARGE, warped

Point = tuple[float, float]
Style = Callable[[draw.Scene, np.random.Generator], Image.Image]


def _reduced(picture: Image.Image) -> Image.Image:
    return picture.resize((draw.SIZE, draw.SIZE), Image.Resampling.BOX)


def _laid(scene: draw.Scene, mask: Image.Image, paint: Image.Image | tuple[int, int, int]) -> Image.Image:
    """The paint where the mask is white, on the scene's background; all LARGE."""
    picture = Image.new("RGB", (LARGE, LARGE), draw.BACKGROUNDS[scene.background])
    picture.paste(paint, (0, 0, LARGE, LARGE) if isinstance(paint, tuple) else (0, 0), mask)
    return picture


def _color(scene: draw.Scene) -> tuple[int, int, int]:
    return draw.COLORS[scene.color]


def _second(scene: draw.Scene) -> tuple[int, int, int]:
    """White, or blue on white, as stripes have it."""
    return draw.COLORS["white" if scene.color != "white" else "blue"]


def outlined(scene: draw.Scene, _: np.random.Generator) -> Image.Image:
    """The shape's contour alone."""
    mask = draw.mask(scene)
    inner = mask.filter(ImageFilter.MinFilter(17))
    return _reduced(_laid(scene, ImageChops.subtract(mask, inner), _color(scene)))


def contoured(scene: draw.Scene, _: np.random.Generator) -> Image.Image:
    """Filled, with a thick black contour."""
    mask = draw.mask(scene)
    picture = _laid(scene, mask, (0, 0, 0))
    picture.paste(_color(scene), (0, 0, LARGE, LARGE), mask.filter(ImageFilter.MinFilter(15)))
    return _reduced(picture)


def checkered(scene: draw.Scene, _: np.random.Generator) -> Image.Image:
    y, x = np.mgrid[0:LARGE, 0:LARGE]
    cells = ((x // 24 + y // 24) % 2)[..., None]
    paint = np.where(cells == 0, _color(scene), _second(scene)).astype(np.uint8)
    return _reduced(_laid(scene, draw.mask(scene), Image.fromarray(paint)))


def dotted(scene: draw.Scene, _: np.random.Generator) -> Image.Image:
    y, x = np.mgrid[0:LARGE, 0:LARGE]
    dots = (((x % 36) - 18) ** 2 + ((y % 36) - 18) ** 2 < 110)[..., None]
    paint = np.where(dots, _second(scene), _color(scene)).astype(np.uint8)
    return _reduced(_laid(scene, draw.mask(scene), Image.fromarray(paint)))


def shaded(scene: draw.Scene, _: np.random.Generator) -> Image.Image:
    """From its colour at the top to black at the bottom."""
    y = np.mgrid[0:LARGE, 0:LARGE][0] / draw.OVERSAMPLING
    light = np.clip(1 - (y - (scene.y - scene.radius)) / (2 * scene.radius), 0, 1)[..., None]
    paint = (light * np.asarray(_color(scene))).astype(np.uint8)
    return _reduced(_laid(scene, draw.mask(scene), Image.fromarray(paint)))


def halved_in_color(scene: draw.Scene, _: np.random.Generator) -> Image.Image:
    """Left in its colour, right in another."""
    x = np.mgrid[0:LARGE, 0:LARGE][1][..., None]
    paint = np.where(x < scene.x * draw.OVERSAMPLING, _color(scene), _second(scene)).astype(np.uint8)
    return _reduced(_laid(scene, draw.mask(scene), Image.fromarray(paint)))


def black(scene: draw.Scene, _: np.random.Generator) -> Image.Image:
    return _reduced(_laid(scene, draw.mask(scene), (8, 8, 8)))


def teal(scene: draw.Scene, _: np.random.Generator) -> Image.Image:
    return _reduced(_laid(scene, draw.mask(scene), (0, 128, 128)))


def shadowed(scene: draw.Scene, _: np.random.Generator) -> Image.Image:
    """With a black shadow to the lower right."""
    shadow = draw.mask(replace(scene, x=scene.x + 5, y=scene.y + 5))
    picture = _laid(scene, shadow, (0, 0, 0))
    picture.paste(_color(scene), (0, 0, LARGE, LARGE), draw.mask(scene))
    return _reduced(picture)


def soft(scene: draw.Scene, _: np.random.Generator) -> Image.Image:
    """Out of focus."""
    return draw.draw(scene).filter(ImageFilter.GaussianBlur(3.5))


def mosaic(scene: draw.Scene, _: np.random.Generator) -> Image.Image:
    """In squares of four pixels."""
    small = draw.draw(scene).resize((draw.SIZE // 4, draw.SIZE // 4), Image.Resampling.BOX)
    return small.resize((draw.SIZE, draw.SIZE), Image.Resampling.NEAREST)


def grained(scene: draw.Scene, rng: np.random.Generator) -> Image.Image:
    """With the grain of a fast film."""
    noise = rng.normal(0, 34, (draw.SIZE, draw.SIZE, 1))
    return Image.fromarray((np.asarray(draw.draw(scene), dtype=np.float64) + noise).clip(0, 255).astype(np.uint8))


def wavy(scene: draw.Scene, rng: np.random.Generator) -> Image.Image:
    """With edges that waver."""
    return _reduced(_laid(scene, warped(draw.mask(scene), rng, 1.2), _color(scene)))


def on_lines(scene: draw.Scene, _: np.random.Generator) -> Image.Image:
    """On a background of slanting lines."""
    y, x = np.mgrid[0:LARGE, 0:LARGE]
    ground = np.where((((x + y) // 14) % 3 == 0)[..., None], (120, 120, 120), draw.BACKGROUNDS[scene.background])
    picture = Image.fromarray(ground.astype(np.uint8))
    picture.paste(_color(scene), (0, 0, LARGE, LARGE), draw.mask(scene))
    return _reduced(picture)


def glowing(scene: draw.Scene, _: np.random.Generator) -> Image.Image:
    """With a bright yellow halo around it."""
    mask = draw.mask(scene)
    picture = _laid(
        scene, mask.filter(ImageFilter.GaussianBlur(20)).point([min(255, 3 * v) for v in range(256)]), (255, 250, 170)
    )
    picture.paste(_color(scene), (0, 0, LARGE, LARGE), mask)
    return _reduced(picture)


STYLES: dict[str, Style] = {
    "outlined": outlined,
    "checkered": checkered,
    "shaded": shaded,
    "black": black,
    "shadowed": shadowed,
    "soft": soft,
    "grained": grained,
    "contoured": contoured,
    "dotted": dotted,
    "halved in color": halved_in_color,
    "teal": teal,
    "mosaic": mosaic,
    "wavy": wavy,
    "on lines": on_lines,
    "glowing": glowing,
}
"""Ways to draw a known shape that no base has met. The first seven were there when the rule was fixed."""
STYLES_OF_THE_RULE = tuple(STYLES)[:7]


def _arc(x: float, y: float, radius: float, first: float, last: float) -> list[Point]:
    angles = np.radians(np.linspace(first, last, 24))
    return [(x + radius * math.cos(angle), y + radius * math.sin(angle)) for angle in angles]


FORMS: dict[str, list[list[Point]]] = {
    "arrow": [[(-1, -0.3), (0.1, -0.3), (0.1, -0.8), (1, 0), (0.1, 0.8), (0.1, 0.3), (-1, 0.3)]],
    "lightning": [[(0.2, -1), (-0.6, 0.15), (-0.1, 0.15), (-0.3, 1), (0.6, -0.25), (0.1, -0.25), (0.5, -1)]],
    "hourglass": [[(-0.8, -0.95), (0.8, -0.95), (0.1, 0), (0.8, 0.95), (-0.8, 0.95), (-0.1, 0)]],
    "gate": [[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (0.4, 0.9), (0.4, -0.35), (-0.4, -0.35), (-0.4, 0.9), (-0.9, 0.9)]],
    "fish": [_arc(-0.2, 0, 0.62, 0, 360), [(0.2, 0), (1, -0.7), (1, 0.7)]],
    "clover": [_arc(0, -0.45, 0.42, 0, 360), _arc(-0.5, 0.2, 0.42, 0, 360), _arc(0.5, 0.2, 0.42, 0, 360), [(-0.1, 0),
        (0.1, 0), (0.2, 1), (-0.2, 1)]],
    "mushroom": [[*_arc(0, 0, 0.95, 180, 360)], [(-0.3, -0.05), (0.3, -0.05), (0.3, 0.9), (-0.3, 0.9)]],
    "key": [_arc(-0.55, 0, 0.42, 0, 360), [(-0.3, -0.13), (1, -0.13), (1, 0.5), (0.75, 0.5), (0.75, 0.13), (0.5, 0.13),
        (0.5, 0.45), (0.3, 0.45), (0.3, 0.13), (-0.3, 0.13)]],
    "letter": [[(-0.7, -0.95), (-0.25, -0.95), (-0.25, 0.5), (0.7, 0.5), (0.7, 0.95), (-0.7, 0.95)]],
    "zigzag": [[(-1, -0.5), (-0.5, -0.9), (0, -0.2), (0.5, -0.9), (1, -0.3), (1, 0.3), (0.5, -0.3), (0, 0.5), (-0.5, -0.3),
        (-1, 0.2)]],
    "stairs": [[(-0.9, 0.9), (-0.9, 0.3), (-0.3, 0.3), (-0.3, -0.3), (0.3, -0.3), (0.3, -0.9), (0.9, -0.9), (0.9, 0.9)]],
    "comb": [[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (0.6, 0.9), (0.6, -0.3), (0.15, -0.3), (0.15, 0.9), (-0.15, 0.9),
        (-0.15, -0.3), (-0.6, -0.3), (-0.6, 0.9), (-0.9, 0.9)]],
}  # fmt: skip
"""Forms in a square from -1 to 1, each of one polygon or several. The first six were there when the rule was fixed."""
FORMS_OF_THE_RULE = tuple(FORMS)[:6]


def draw_form(form: str, scene: draw.Scene) -> Image.Image:
    """A form in the place, size, tilt and colours of a scene, whose shape has no part in it."""
    turn, scale = math.radians(scene.tilt), draw.OVERSAMPLING
    cos, sin = math.cos(turn), math.sin(turn)
    mask = Image.new("L", (LARGE, LARGE), 0)
    pen = ImageDraw.Draw(mask)
    for polygon in FORMS[form]:
        pen.polygon(
            [
                (
                    scale * (scene.x + scene.radius * (x * cos - y * sin)),
                    scale * (scene.y + scene.radius * (x * sin + y * cos)),
                )
                for x, y in polygon
            ],
            fill=255,
        )
    return _reduced(_laid(scene, mask, _color(scene)))
