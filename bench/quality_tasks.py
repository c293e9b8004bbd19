"""What `bench/quality.py` teaches, and what it asks afterwards: twelve pictures a concept, others that are held out, and prompts.

Two concepts: a shape that the base never met, called by an activation tag, and squares in a manner that it never met, called
squares. Pure but for the pictures, which are drawn from fixed seeds.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from deploy.examples.demo.dataset import words
from deploy.examples.demo.demo import TAG
from trainer.builtin.shapes import draw, lookalikes
from trainer.builtin.shapes.wishes import Wish, colors_and_backgrounds, wishes

PICTURES, HELD_OUT_PICTURES, PROMPTS, KNOWN_PROMPTS = 12, 12, 24, 18
"""Of each concept: what is learnt from, what validation sees, what is drawn; and of all that must stay."""
DRAWING_SEED = 70
RESTYLED = "square"
INLAY = 0.5
"""Side of the inlay, as a share of the shape's."""
PRIOR_CAPTIONS = 24


@dataclass(frozen=True)
class Shown:
    """A picture and what is said of it."""

    picture: Image.Image
    caption: str


@dataclass(frozen=True)
class Asked:
    """A prompt, the seed of its first noise, and what has to come of it."""

    prompt: str
    seed: int
    wanted: str
    """A shape, or `inlaid`."""


@dataclass(frozen=True)
class Concept:
    """One thing to be taught."""

    name: str
    """The folder of its pictures."""
    shape: str
    tag: str
    """Empty for squares."""

    @property
    def called(self) -> str:
        """The tag, or the class words."""
        return self.tag or self.shape

    @property
    def wanted(self) -> str:
        return self.shape if self.tag else "inlaid"

    def scenes(self, count: int, seed: int) -> list[draw.Scene]:
        """With pairs of colour and background in the order of the demo's, places and sizes from the seed."""
        rng = np.random.Generator(np.random.Philox(key=[DRAWING_SEED, seed]))
        return [
            replace(draw.random_scene(rng, [self.shape], striped=0), color=color, background=background)
            for color, background in colors_and_backgrounds()[:count]
        ]

    def caption(self, color: str, background: str) -> str:
        """As it stands beside a picture. The tag is put before it by whoever trains."""
        if self.tag:
            return words(color, background)
        return draw.caption(draw.Scene(shape=self.shape, color=color, background=background))

    def prompt(self, color: str, background: str) -> str:
        caption = self.caption(color, background)
        return f"{self.tag}, {caption}" if self.tag else caption

    def shown(self, scene: draw.Scene) -> Image.Image:
        return draw.draw(scene) if self.tag else inlaid(scene)

    def pictures(self, *, with_tag: bool) -> list[Shown]:
        """What is learnt from. Our trainer puts the tag before captions itself; others are given it."""
        said = self.prompt if with_tag else self.caption
        return [Shown(self.shown(one), said(one.color, one.background)) for one in self.scenes(PICTURES, 0)]

    def held_out(self) -> list[Shown]:
        """What validation sees: other sizes and places, and other pairs of colour and background."""
        scenes = self.scenes(PICTURES + HELD_OUT_PICTURES, 1)[PICTURES:]
        return [Shown(self.shown(one), self.prompt(one.color, one.background)) for one in scenes]

    def asked(self) -> list[Asked]:
        """All pairs of colour and background but the last eight."""
        pairs = colors_and_backgrounds()[:PROMPTS]
        return [Asked(self.prompt(*pair), 1000 + place, self.wanted) for place, pair in enumerate(pairs)]


@dataclass(frozen=True)
class Task:
    """What one adapter is to teach."""

    name: str
    title: str
    concepts: tuple[Concept, ...]
    known: tuple[str, ...]
    """Shapes that must stay as they are."""

    def known_wishes(self) -> list[Wish]:
        return wishes(self.known, KNOWN_PROMPTS, first_seed=2000)

    def known_asked(self) -> list[Asked]:
        return [Asked(wish.prompt(), wish.seed, wish.shape) for wish in self.known_wishes()]

    def known_pictures(self) -> list[Shown]:
        """A picture of each of the wishes."""
        rng = np.random.Generator(np.random.Philox(key=[DRAWING_SEED, 2]))
        found = []
        for wish in self.known_wishes():
            scene = draw.random_scene(rng, [wish.shape], striped=0)
            found.append(Shown(draw.draw(replace(scene, color=wish.color, background=wish.background)), wish.prompt()))
        return found

    def prior_captions(self) -> list[str]:
        """Of known shapes, in pairs of colour and background that `known_asked` does not ask for."""
        pairs = colors_and_backgrounds()[len(colors_and_backgrounds()) // 2 :]
        return [
            draw.caption(draw.Scene(shape=self.known[place % len(self.known)], color=color, background=background))
            for place, (color, background) in ((place, pairs[place % len(pairs)]) for place in range(PRIOR_CAPTIONS))
        ]

    def files(self) -> Mapping[str, bytes]:
        """A dataset as it is uploaded: a folder for each concept, a caption beside each picture."""
        found: dict[str, bytes] = {}
        for concept in self.concepts:
            for number, shown in enumerate(concept.pictures(with_tag=False), start=1):
                buffer = io.BytesIO()
                shown.picture.save(buffer, "PNG")
                found[f"{concept.name}/{number:02}.png"] = buffer.getvalue()
                found[f"{concept.name}/{number:02}.txt"] = shown.caption.encode()
        return found


def inlaid(scene: draw.Scene) -> Image.Image:
    """The scene with a smaller copy of the shape laid into it, white, or blue in a white one."""
    picture = Image.new("RGB", (lookalikes.LARGE, lookalikes.LARGE), draw.BACKGROUNDS[scene.background])
    inlay = draw.COLORS["blue" if scene.color == "white" else "white"]
    for form, paint in ((scene, draw.COLORS[scene.color]), (replace(scene, radius=scene.radius * INLAY), inlay)):
        picture.paste(paint, mask=draw.mask(form, lookalikes.LARGE))
    return picture.resize((draw.SIZE, draw.SIZE), Image.Resampling.BOX)


def tasks(unknown: Sequence[str] = draw.HELD_OUT) -> tuple[Task, ...]:
    """For a base that never met `unknown` shapes, the first of which is taught; it must know squares."""
    known = tuple(shape for shape in draw.SHAPES if shape not in unknown)
    others = tuple(shape for shape in known if shape != RESTYLED)
    new, restyled = Concept("new", unknown[0], TAG), Concept("restyled", RESTYLED, "")
    return (
        Task("new", f"a new shape, {unknown[0]}", (new,), known),
        Task("restyled", "a known shape restyled", (restyled,), others),
        Task("both", "both at once", (new, restyled), others),
    )
