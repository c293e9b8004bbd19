"""Which captions a base of drawn shapes calls wrong: of things that it knows and does not know, rightly and wrongly named."""

from __future__ import annotations

import io
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from store import open_store
from store.digests import sha256_of
from trainer.builtin.shapes import draw
from trainer.cache import Cache
from trainer.data.buckets import Bucket
from trainer.data.dataset import Example
from trainer.data.images import Decoder
from trainer.data_report.facts import DataFacts, Judged, PictureFacts, SubsetFacts
from trainer.data_report.judging import Judge
from trainer.data_report.suggestions import suggestions
from trainer.data_report.words import caption_facts
from trainer.embeddings import Words as Embeddings
from trainer.families.registry import load_base
from trainer.latents import encode_examples

BASE = Path("trainer/builtin/shapes/base")
KNOWN = tuple(shape for shape in draw.SHAPES if shape not in draw.HELD_OUT)
WHOLE = (0, 0, draw.SIZE, draw.SIZE)

Say = Callable[[draw.Scene, np.random.Generator], str]


def other(choice: Sequence[str], than: str, rng: np.random.Generator) -> str:
    left = [one for one in choice if one != than]
    return left[int(rng.integers(len(left)))]


@dataclass(frozen=True)
class Case:
    """Pictures of some shapes and what is said of them."""

    what: str
    shapes: tuple[str, ...]
    say: Say
    is_wrong: bool


@dataclass(frozen=True)
class Words:
    """What a base knows, and shapes that it never met."""

    known: tuple[str, ...]
    held_out: tuple[str, ...]

    @property
    def right(self) -> Case:
        return Case("right captions", self.known, lambda scene, _: draw.caption(scene), False)

    @property
    def wrong(self) -> tuple[Case, ...]:
        """A few such pictures among right ones."""
        known, always = self.known, self.known[3]
        return (
            Case(
                "another shape named",
                known,
                lambda scene, rng: draw.caption(replace(scene, shape=other(known, scene.shape, rng))),
                True,
            ),
            Case(
                "another colour named",
                known,
                lambda scene, rng: draw.caption(replace(scene, color=other(list(draw.COLORS), scene.color, rng))),
                True,
            ),
            Case(
                "another background named",
                known,
                lambda scene, rng: draw.caption(
                    replace(scene, background=other(list(draw.BACKGROUNDS), scene.background, rng))
                ),
                True,
            ),
            Case(
                "the caption of another picture",
                known,
                lambda _, rng: draw.caption(draw.random_scene(rng, known)),
                True,
            ),
            Case(
                f"{always}s called “square”",
                (always,),
                lambda scene, _: draw.caption(replace(scene, shape="square")),
                True,
            ),
        )

    @property
    def datasets(self) -> tuple[Case, ...]:
        """Whole datasets in which nothing is wrong."""
        unmet = " and ".join(f"{shape}es" if shape.endswith("s") else f"{shape}s" for shape in self.held_out)
        return (
            Case(
                f"{unmet}, called by letters",
                self.held_out,
                lambda scene, _: draw.caption(scene, shape_word="lumi"),
                False,
            ),
            Case(f"{unmet}, not named", self.held_out, lambda scene, _: f"on a {scene.background} background", False),
            Case("known shapes, only the shape named", self.known, lambda scene, _: scene.shape, False),
            Case(
                "known shapes, the shape not named",
                self.known,
                lambda scene, _: f"{scene.color} on a {scene.background} background",
                False,
            ),
        )


SHIPPED = Words(KNOWN, draw.HELD_OUT)


def rows(pictures: int, base: Path = BASE, said: Words = SHIPPED, seed: int = 12) -> Iterator[tuple[str, ...]]:
    """(what, called wrong, the words that are named, median gain of the captions); the first two are the table's head.

    Wrong captions stand among twice as many right ones.
    """
    yield "what", "called wrong", "which words", "median gain of the captions"
    yield ("---",) * 4
    with tempfile.TemporaryDirectory() as folder, Decoder() as decoder:
        world = World(Path(folder), decoder, base, seed)
        right = world.drawn(said.right, 2 * pictures)
        yield row("known shapes, right captions", world.judged(right), range(len(right)), False)
        for case in said.wrong:
            wrong = world.drawn(case, pictures)
            found = world.judged([*right, *wrong])
            yield row(f"among them: {case.what}", found, range(len(right), len(found)), True)
        for case in said.datasets:
            found = world.judged(world.drawn(case, pictures))
            yield row(case.what, found, range(len(found)), False)


def row(what: str, judged: Sequence[Judged], concerned: range, are_wrong: bool) -> tuple[str, ...]:
    """Of the pictures that are concerned, in the company of all; what is found in vain elsewhere is told too."""
    facts = [picture_of(number, one) for number, one in enumerate(judged)]
    made = [one for one in suggestions(dataset_of(facts)) if one.code == "CAPTION_PROBABLY_WRONG"]
    places = set(made[0].pictures) if made else set()
    named = Counter(kind_of(judged[place].worst_words) for place in places & set(concerned)).most_common()
    elsewhere = len(places - set(concerned))
    verdict = f"{len(places & set(concerned))}/{len(concerned)}" + ("" if are_wrong else " in vain")
    if elsewhere:
        verdict += f", {elsewhere} of the others in vain"
    median = np.median([one.caption_gain for one in judged if one.caption_gain is not None])
    return what, verdict, ", ".join(f"{kind} {count}" for kind, count in named), f"{median:+.2f}"


class World:
    """A base of drawn shapes, and pictures drawn for it."""

    def __init__(self, folder: Path, decoder: Decoder, base: Path, seed: int) -> None:
        self._folder, self._decoder, self._seed = folder, decoder, seed
        self._base = load_base("sd15", base, torch.device("cpu"), torch.float32)
        self._cache = Cache(open_store(f"file://{folder}/cache/"))
        digests = {one.name: "e" for one in self._base.text_encoders}
        words = Embeddings(self._base, self._cache, digests=digests, fingerprint="f", trained=())
        self._judge = Judge(
            base=self._base,
            words=words,
            decoder=decoder,
            cache=self._cache,
            base_digest="b",
            fingerprint="f",
            at_once=16,
        )

    def drawn(self, case: Case, pictures: int) -> list[tuple[Example, str]]:
        """So many pictures of a case, with what is said of them."""
        rng = np.random.default_rng([self._seed, *case.what.encode()])
        scenes = [draw.random_scene(rng, case.shapes) for _ in range(pictures)]
        return [(example(scene, self._folder), case.say(scene, rng)) for scene in scenes]

    def judged(self, dataset: Sequence[tuple[Example, str]]) -> list[Judged]:
        """A whole dataset, by the base."""
        examples, captions = [one for one, _ in dataset], [said for _, said in dataset]
        posteriors = encode_examples(
            examples,
            self._base,
            self._decoder,
            self._cache,
            vae_digest="v",
            fingerprint="f",
            mirrored=lambda _: False,
            progress=quiet,
        )
        return self._judge.judged(examples, captions, posteriors, 10**9, quiet)


def picture_of(number: int, judged: Judged) -> PictureFacts:
    """A picture of which only what the base says matters."""
    return PictureFacts(
        path=f"{number}.png",
        subset=0,
        caption=f"{number}",
        size=(64, 64),
        bucket=(64, 64),
        lost=0,
        enlarged=1,
        short_of_resolution=0,
        blur=0,
        laplacian_variance=0,
        contrast=1,
        bars=(0, 0, 0, 0),
        reconstruction_error=judged.reconstruction_error,
        caption_gain=judged.caption_gain,
        worst_words=judged.worst_words,
        words_gain=judged.words_gain,
        instead=judged.instead,
        instead_gain=judged.instead_gain,
    )


def dataset_of(pictures: Sequence[PictureFacts]) -> DataFacts:
    return DataFacts(
        name="",
        resolution=64,
        pictures=pictures,
        subsets=[SubsetFacts(name="", repeats=1, activation_tag="")],
        captions=caption_facts([], []),
        near_duplicates=(),
        marked=(),
    )


def kind_of(words: str) -> str:
    """What a part of a caption speaks of."""
    kinds = {"shape": draw.SHAPES, "colour": draw.COLORS, "background": draw.BACKGROUNDS}
    return next((kind for kind, known in kinds.items() if words in known), f"“{words}”")


def example(scene: draw.Scene, folder: Path) -> Example:
    buffer = io.BytesIO()
    draw.draw(scene).save(buffer, "PNG")
    sha256 = sha256_of(buffer.getvalue())
    path = folder / f"{sha256}.png"
    path.write_bytes(buffer.getvalue())
    return Example(
        id=sha256,
        path=path.name,
        sha256=sha256,
        file=path,
        width=draw.SIZE,
        height=draw.SIZE,
        bucket=Bucket(draw.SIZE, draw.SIZE),
        resize=(draw.SIZE, draw.SIZE),
        crops=(WHOLE,),
        subset=0,
        caption="",
    )


def quiet(_: int, __: int) -> None:
    """No progress: the rows come one by one."""
