"""Which captions the built-in base calls wrong: pictures of things that it knows and does not know, rightly and wrongly named."""

from __future__ import annotations

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
from trainer.data_report.judging import Judge
from trainer.data_report.limits import LIMITS
from trainer.embeddings import Words
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


CASES = (
    Case("known shapes, right captions", KNOWN, lambda scene, _: draw.caption(scene), False),
    Case("known shapes, only their word (“star”)", KNOWN, lambda scene, _: scene.shape, False),
    Case(
        "known shapes, the shape not named",
        KNOWN,
        lambda scene, _: f"{scene.color} on a {scene.background} background",
        False,
    ),
    Case(
        "unknown shapes, called by letters",
        draw.HELD_OUT,
        lambda scene, _: draw.caption(scene, shape_word="lumi"),
        False,
    ),
    Case(
        "unknown shapes, the shape not named",
        draw.HELD_OUT,
        lambda scene, _: f"on a {scene.background} background",
        False,
    ),
    Case(
        "known shapes, another shape named",
        KNOWN,
        lambda scene, rng: draw.caption(replace(scene, shape=other(KNOWN, scene.shape, rng))),
        True,
    ),
    Case("stars called “square”", ("star",), lambda scene, _: draw.caption(replace(scene, shape="square")), True),
    Case(
        "known shapes, another colour named",
        KNOWN,
        lambda scene, rng: draw.caption(replace(scene, color=other(list(draw.COLORS), scene.color, rng))),
        True,
    ),
    Case(
        "known shapes, another background named",
        KNOWN,
        lambda scene, rng: draw.caption(
            replace(scene, background=other(list(draw.BACKGROUNDS), scene.background, rng))
        ),
        True,
    ),
    Case(
        "known shapes, the caption of another picture",
        KNOWN,
        lambda _, rng: draw.caption(draw.random_scene(rng, KNOWN)),
        True,
    ),
)


def rows(pictures: int, seed: int = 11) -> Iterator[tuple[str, ...]]:
    """(what, called wrong, words named, median gain of the caption, lowest and highest gain of words); first the table's head."""
    yield (
        "what",
        f"words' gain below {LIMITS.wrong_words}",
        "of those the word is",
        "median gain of the caption",
        "gains of words",
    )
    yield ("---",) * 5
    with tempfile.TemporaryDirectory() as folder, Decoder() as decoder:
        base = load_base("sd15", BASE, torch.device("cpu"), torch.float32)
        cache = Cache(open_store(f"file://{folder}/cache/"))
        words = Words(base, cache, digests={one.name: "e" for one in base.text_encoders}, fingerprint="f", trained=())
        judge = Judge(
            base=base, words=words, decoder=decoder, cache=cache, base_digest="b", fingerprint="f", at_once=16
        )
        for case in CASES:
            rng = np.random.default_rng(seed)
            scenes = [draw.random_scene(rng, case.shapes) for _ in range(pictures)]
            examples = [example(scene, Path(folder), number) for number, scene in enumerate(scenes)]
            captions = [case.say(scene, rng) for scene in scenes]
            posteriors = encode_examples(
                examples,
                base,
                decoder,
                cache,
                vae_digest="v",
                fingerprint="f",
                mirrored=lambda _: False,
                progress=quiet,
            )
            judged = judge.judged(examples, captions, posteriors, 10**9, quiet)
            wrong = [one for one in judged if (one.words_gain or 0.0) < LIMITS.wrong_words]
            named = Counter(kind_of(one.worst_words) for one in wrong).most_common()
            asked = [one.words_gain for one in judged if one.words_gain is not None]
            yield (
                case.what,
                f"{len(wrong)}/{pictures}" + ("" if case.is_wrong else " in vain"),
                ", ".join(f"{kind} {count}" for kind, count in named),
                f"{np.median([one.caption_gain for one in judged]):+.2f}",
                f"{min(asked):+.2f} to {max(asked):+.2f}" if asked else "not asked",
            )


def kind_of(words: str) -> str:
    """What a part of a caption speaks of."""
    kinds = {"shape": draw.SHAPES, "colour": draw.COLORS, "background": draw.BACKGROUNDS}
    return next((kind for kind, known in kinds.items() if words in known), f"“{words}”")


def example(scene: draw.Scene, folder: Path, number: int) -> Example:
    path = folder / f"{number}.png"
    draw.draw(scene).save(path)
    sha256 = sha256_of(path)
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
