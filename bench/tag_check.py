"""How well the tag check tells words that `builtin://shapes` knows from tags that nobody has met. Prints one table.

    python -m bench.tag_check

Each word is judged as a job's activation tag would be, on two pictures that the base itself draws.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from store import open_store
from trainer.builtin.shapes import draw
from trainer.cache import Cache
from trainer.concepts.tag_check import TagFinding
from trainer.concepts.tag_measuring import Pictures, TagChecks
from trainer.config import PreviewConfig
from trainer.families.base import Framing
from trainer.families.registry import load_base
from trainer.previews import draw_latents

BASE = Path(__file__).parents[1] / "trainer/builtin/shapes/base"
KNOWN = ("star", "ring", "circle", "square", *draw.COLORS, *draw.BACKGROUNDS, "striped")
UNUSED = (
    "lumi",
    "zorp",
    "qix",
    "vexu",
    "brak",
    "tolm",
    "wug",
    "ohwx",
    "sks",
    "heart",
    "moon",
    "dog",
    "zwx",
    "plon",
    "kvist",
)
PROMPTS = ("a red star on a sky background", "a blue ring on a night background")


def findings() -> dict[str, TagFinding]:
    torch.set_num_threads(1)
    base = load_base("sd15", BASE, torch.device("cpu"), torch.float32)
    config = PreviewConfig(prompts=(), every_steps=0, inference_steps=20, guidance_scale=3.0)
    with torch.no_grad():
        latents = draw_latents(base, base.encode_captions, list(PROMPTS), [1, 2], config, draw.SIZE)
    framing = Framing((draw.SIZE, draw.SIZE), (0, 0), (draw.SIZE, draw.SIZE))
    pictures = Pictures(latents=list(latents), framing=framing, key="bench")
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(open_store(f"file://{folder}/"))
        checks = TagChecks(base, pictures, cache, {}, at_once=8)
        return {word: checks.finding(word) for word in (*KNOWN, *UNUSED)}


def main() -> None:
    found = findings()
    print(f"{'word':<10} {'':<8} {'tokens':>6} {'strength':>9}  nearest known word       finding")
    for kind, words in (("known", KNOWN), ("unused", UNUSED)):
        for word in words:
            finding = found[word]
            nearest = max(finding.splits[0].neighbours, key=lambda one: one.similarity)
            near = f"{nearest.word} {nearest.similarity:.2f}"
            said = "; ".join(finding.reasons) or "good"
            print(
                f"{word:<10} {kind:<8} {len(finding.splits[0].neighbours):>6} {finding.strength:>9.4f}  {near:<24} {said}"
            )
    bad = [word for word in KNOWN if not found[word].is_good]
    good = [word for word in UNUSED if found[word].is_good]
    print(
        f"known words found to be bad tags: {len(bad)} of {len(KNOWN)}; unused tags found good: {len(good)} of {len(UNUSED)}"
    )
    print(f"suggested: {', '.join(found['star'].suggestions)}")


if __name__ == "__main__":
    main()
