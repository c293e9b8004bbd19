"""An analysis of drawn pictures by the built-in base: known, restyled and new ones, as data, JSON and page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from loramill import v1
from store import open_store
from store.digests import sha256_of
from tests.trainer.assignments import SMALL_SPEC, merged
from trainer.builtin.shapes import draw
from trainer.cache import Cache
from trainer.concepts import analysis
from trainer.concepts.analysis import AnalysisMaterials, analyzed
from trainer.concepts.as_json import as_json
from trainer.concepts.document import as_html
from trainer.concepts.measuring import Effort
from trainer.concepts.verdict import Verdict
from trainer.config_reading import read_config
from trainer.data.dataset import DataFile, read_dataset
from trainer.data.images import Decoder
from trainer.embeddings import Words
from trainer.families.base import Base
from trainer.families.registry import load_base
from trainer.latents import encode_examples

SHAPES = Path(__file__).parents[3] / "trainer/builtin/shapes/base"


@pytest.fixture(scope="module")
def shapes() -> Base:
    return load_base("sd15", SHAPES, torch.device("cpu"), torch.float32)


def scenes(shape: str, count: int = 5) -> list[draw.Scene]:
    rng = np.random.default_rng(5)
    return [draw.random_scene(rng, [shape], striped=0) for _ in range(count)]


def materials(
    base: Base,
    decoder: Decoder,
    folder: Path,
    pictures: list[Image.Image],
    captions: list[str],
    concept: dict[str, str],
) -> AnalysisMaterials:
    contents = dict[str, bytes]()
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        picture.save(folder / "picture.png")
        contents[f"{number}.png"] = (folder / "picture.png").read_bytes()
        contents[f"{number}.txt"] = caption.encode()
    by_digest = {sha256_of(content): content for content in contents.values()}
    spec = {**SMALL_SPEC, "concept": concept}
    assignment = v1.Assignment()
    from google.protobuf.json_format import ParseDict

    ParseDict(merged(spec, {"previews": {"inference_steps": 8}}), assignment.spec)
    assignment.base_model.family = "sd15"
    config = read_config(assignment)
    files = [DataFile(path, sha256_of(content), len(content)) for path, content in contents.items()]
    reading = read_dataset(
        files,
        lambda sha256, path: path.write_bytes(by_digest[sha256]),
        folder / "data",
        config.subsets,
        config.pictures,
        decoder,
        lambda _, __: None,
    )
    cache = Cache(open_store(f"file://{folder}/cache/"))
    words = Words(
        base, cache, digests={one.name: "e" for one in base.text_encoders}, fingerprint="f", trained=(), work=folder
    )
    posteriors = encode_examples(
        reading.examples,
        base,
        decoder,
        cache,
        vae_digest="v",
        fingerprint="f",
        mirrored=lambda _: False,
        progress=lambda _, __: None,
        work=folder,
    )
    return AnalysisMaterials(
        config=config,
        base=base,
        base_name="baseModels/shapes",
        base_digest="b",
        dataset_name="datasets/d<b>",
        examples=reading.examples,
        posteriors=posteriors,
        words=words,
        decoder=decoder,
        cache=cache,
        fingerprint="f",
        at_once=16,
        progress=lambda _: lambda _, __: None,
        work=folder,
    )


def test_known_restyled_and_new(shapes: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.concept_pictures import checkered

    monkeypatch.setattr(analysis, "FULL", Effort(pictures=5, pairs=8, trial_pairs=4))
    rings, hearts = scenes("ring"), scenes("heart")
    captions = [draw.caption(scene) for scene in rings]
    wrong = [*captions[:-1], draw.caption(rings[-1]).replace("ring", "square")]
    rng = np.random.default_rng(1)
    asked: dict[Verdict, tuple[list[Image.Image], list[str], dict[str, str]]] = {
        Verdict.KNOWN: ([draw.draw(scene) for scene in rings], wrong, {}),
        Verdict.MODIFIED: ([checkered(scene, rng) for scene in rings], captions, {"class_words": "ring"}),
        Verdict.NEW: (
            [draw.draw(scene) for scene in hearts],
            [draw.caption(scene, shape_word="lumi") for scene in hearts],
            {"activation_tag": "lumi"},
        ),
    }
    with Decoder() as decoder:
        for verdict, (pictures, texts, concept) in asked.items():
            folder = tmp_path / verdict.value
            folder.mkdir()
            found = analyzed(materials(shapes, decoder, folder, pictures, texts, concept))
            (one,) = found.concepts
            assert one.verdict is verdict, one.sentence
            plain = json.loads(as_json(found))
            assert (plain["schema_version"], plain["verdict"], plain["sentence"]) == (1, verdict.value, found.sentence)
            assert plain["concepts"][0]["settings"] == plain["settings"]
            if verdict is Verdict.KNOWN:
                assert plain["known_as"] == "ring"
                assert [(c["path"], c["words"]) for c in plain["wrong_captions"]] == [("4.png", "square")]
            page = as_html(found)
            assert page == as_html(found)
            assert "<script" not in page
            assert "datasets/d&lt;b&gt;" in page
            assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", page)
            assert page.count('src="data:image/png;base64,') == 10
