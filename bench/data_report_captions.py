"""Which captions the built-in base calls wrong: pictures of things that it knows and does not know, rightly and wrongly named."""

from __future__ import annotations

import tempfile
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
    """(what, called wrong, median gain, lowest, highest) of every case; the first two rows are the table's head."""
    yield "what", f"gain below {LIMITS.wrong_caption}", "median gain", "lowest", "highest"
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
            gains = np.array([one.caption_gain for one in judge.judged(examples, captions, posteriors, quiet)])
            found = int((gains < LIMITS.wrong_caption).sum())
            verdict = f"{found}/{pictures}" + ("" if case.is_wrong else " in vain")
            yield case.what, verdict, f"{np.median(gains):+.2f}", f"{gains.min():+.2f}", f"{gains.max():+.2f}"


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
