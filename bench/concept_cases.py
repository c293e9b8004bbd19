"""The datasets of the concept bench: what is drawn, what is said of it, and what the right answer is. Plain data and drawing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from PIL import Image

from bench.concept_pictures import FORMS, FORMS_OF_THE_RULE, STYLES, STYLES_OF_THE_RULE, draw_form
from trainer.builtin.shapes import draw

Answer = Literal["KNOWN", "MODIFIED", "NEW"]
PICTURES = 12
TAG = "lumi"
_WITHOUT_COLOR = ("black", "teal")
"""Styles whose colour has no word."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A dataset of PICTURES pictures, and what its job says of it."""

    name: str
    answer: Answer
    pictures: Sequence[Image.Image]
    captions: Sequence[str]
    activation_tag: str = ""
    class_words: str = ""


@dataclass(frozen=True)
class World:
    """A base's words."""

    known: Sequence[str]
    held_out: Sequence[str]


def cases(world: World, seed: int, *, of_the_rule: bool) -> Iterator[Case]:
    """All cases for a base. Those `of_the_rule` leave out the styles and forms that the rule must not have seen."""
    styles = STYLES_OF_THE_RULE if of_the_rule else tuple(STYLES)
    forms = FORMS_OF_THE_RULE if of_the_rule else tuple(FORMS)
    yield from _known(world, seed)
    yield from _modified(world, styles, seed)
    yield from _new(world, forms, seed)


def _scenes(
    seed: int, name: str, shapes: Sequence[str], striped: float = 0.0
) -> tuple[list[draw.Scene], np.random.Generator]:
    rng = np.random.default_rng([seed, *name.encode()])
    return [draw.random_scene(rng, shapes, striped) for _ in range(PICTURES)], rng


def _said(scene: draw.Scene, naming: str, word: str) -> str:
    """The caption of a scene: the word in it, the tag in its place, or the tag in front."""
    if naming == "tag inside":
        return draw.caption(scene, shape_word=TAG)
    said = draw.caption(scene, shape_word=word)
    return f"{TAG}, {said}" if naming == "tag in front" else said


_NAMINGS = ("word and class words", "word alone", "tag inside", "tag in front")


def _case(
    name: str,
    answer: Answer,
    scenes: Sequence[draw.Scene],
    pictures: Sequence[Image.Image],
    naming: str,
    word: str,
    class_words: str | None = None,
) -> Case:
    given = "" if naming == "word alone" else word
    return Case(
        name=f"{name}, {naming}",
        answer=answer,
        pictures=pictures,
        captions=[_said(scene, naming, word) for scene in scenes],
        activation_tag=TAG if naming.startswith("tag") else "",
        class_words=given if class_words is None else class_words,
    )


def _known(world: World, seed: int) -> Iterator[Case]:
    """The base's own shapes, as they are and as they are called."""
    for number, shape in enumerate(world.known):
        color = list(draw.COLORS)[number]
        for turn, name in enumerate((f"{shape} 1", f"{shape} 2", f"{shape} 3", f"{color} {shape}", f"striped {shape}")):
            scenes, _ = _scenes(seed, name, [shape], striped=float(name.startswith("striped")))
            if name.startswith(color):
                scenes = [replace(scene, color=color) for scene in scenes]
            naming = _NAMINGS[(number + turn) % len(_NAMINGS)]
            yield _case(name, "KNOWN", scenes, [draw.draw(scene) for scene in scenes], naming, shape)
    for number in range(2):
        shapes = [world.known[(3 * number + place) % len(world.known)] for place in range(3)]
        name = " and ".join(shapes)
        scenes, _ = _scenes(seed, name, shapes)
        yield Case(
            name=name,
            answer="KNOWN",
            pictures=[draw.draw(scene) for scene in scenes],
            captions=[draw.caption(scene) for scene in scenes],
        )


def _modified(world: World, styles: Sequence[str], seed: int) -> Iterator[Case]:
    """The base's own shapes in a style that no caption has a word for."""
    for number, style in enumerate(styles):
        for turn in range(2):
            shape = world.known[(number + 3 * turn) % len(world.known)]
            naming = _NAMINGS[(number + turn) % len(_NAMINGS)]
            name = f"{style} {shape}"
            scenes, rng = _scenes(seed, name, [shape])
            pictures = [STYLES[style](scene, rng) for scene in scenes]
            case = _case(name, "MODIFIED", scenes, pictures, naming, shape)
            yield _without_color(case, scenes) if style in _WITHOUT_COLOR else case
    for number, style in enumerate(styles[::3]):
        shapes = [world.known[(number + place) % len(world.known)] for place in range(3)]
        name = f"{style}: {' and '.join(shapes)}"
        scenes, rng = _scenes(seed, name, shapes)
        pictures = [STYLES[style](scene, rng) for scene in scenes]
        case = Case(name=name, answer="MODIFIED", pictures=pictures, captions=[draw.caption(scene) for scene in scenes])
        yield _without_color(case, scenes) if style in _WITHOUT_COLOR else case


def _without_color(case: Case, scenes: Sequence[draw.Scene]) -> Case:
    captions = [said.replace(f"{scene.color} ", "") for said, scene in zip(case.captions, scenes, strict=True)]
    return replace(case, captions=captions)


def _new(world: World, forms: Sequence[str], seed: int) -> Iterator[Case]:
    """Forms and shapes that the base never met: by a tag, and by their own word."""
    for number, form in enumerate([*world.held_out, *forms]):
        for naming, class_words in (
            ("tag inside", ""),
            ("word alone", ""),
            ("tag in front" if number % 2 else "word and class words", form),
        ):
            yield _form_case(form, form, seed, naming, class_words)


def misnamed(world: World, seed: int, *, of_the_rule: bool) -> Iterator[Case]:
    """New forms whose class words are those of another thing. What the right answer is depends on how alike the two are, so that
    these are told and not counted."""
    forms = FORMS_OF_THE_RULE if of_the_rule else tuple(FORMS)
    for number, form in enumerate([*world.held_out, *forms]):
        other = world.known[number % len(world.known)]
        yield _form_case(f"{form} called {other}", form, seed, "tag inside", other)


def _form_case(name: str, form: str, seed: int, naming: str, class_words: str) -> Case:
    is_shape = form in draw.SHAPES
    scenes, _ = _scenes(seed, f"{name}{naming}", [form if is_shape else "circle"])
    pictures = [draw.draw(scene) if is_shape else draw_form(form, scene) for scene in scenes]
    return _case(name, "NEW", scenes, pictures, naming, form, class_words)
