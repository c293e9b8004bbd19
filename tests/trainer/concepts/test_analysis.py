"""An analysis of drawn pictures by the built-in base, known and new ones, as data, JSON and page."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from google.protobuf.json_format import ParseDict

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


def scenes(shape: str) -> list[draw.Scene]:
    rng = np.random.default_rng(5)
    return [draw.random_scene(rng, [shape], striped=0) for _ in range(4)]


def materials(
    base: Base, decoder: Decoder, folder: Path, contents: dict[str, tuple[draw.Scene, str]], concepts: dict[str, object]
) -> AnalysisMaterials:
    """Of drawn scenes with their captions, by path."""
    content = dict[str, bytes]()
    for path, (scene, caption) in contents.items():
        buffer = io.BytesIO()
        draw.draw(scene).save(buffer, "PNG")
        content |= {path: buffer.getvalue(), str(Path(path).with_suffix(".txt")): caption.encode()}
    by_digest = {sha256_of(one): one for one in content.values()}
    assignment = v1.Assignment()
    ParseDict(merged(SMALL_SPEC, {"previews": {"inference_steps": 6}, **concepts}), assignment.spec)
    assignment.base_model.family = "sd15"
    config = read_config(assignment)
    files = [DataFile(path, sha256_of(one), len(one)) for path, one in content.items()]
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


def test_a_known_and_a_new_concept_of_one_job(shapes: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis, "FULL", Effort(pictures=4, pairs=8, trial_pairs=4))
    rings, hearts = scenes("ring"), scenes("heart")
    wrong = draw.caption(rings[-1]).replace("ring", "square")
    contents = {
        f"rings/{place}.png": (scene, draw.caption(scene) if place < 3 else wrong) for place, scene in enumerate(rings)
    } | {f"{place}.png": (scene, draw.caption(scene, shape_word="lumi")) for place, scene in enumerate(hearts)}
    concepts: dict[str, object] = {
        "concept": {"activation_tag": "lumi"},
        "concepts": [{"class_words": "ring"}],
        "dataset": {"subsets": [{}, {"path_prefix": "rings/", "concept": "ring"}]},
    }
    with Decoder() as decoder:
        found = analyzed(materials(shapes, decoder, tmp_path, contents, concepts))
    new, known = found.concepts
    assert new.verdict is Verdict.NEW, new.sentence
    assert known.verdict is Verdict.KNOWN, known.sentence
    plain = json.loads(as_json(found))
    assert (plain["schema_version"], plain["verdict"]) == (1, "NEW")
    assert plain["settings"] == plain["concepts"][0]["settings"]
    of_rings = plain["concepts"][1]
    assert of_rings["known_as"] == "ring"
    assert [(one["path"], one["words"]) for one in of_rings["wrong_captions"]] == [("rings/3.png", "square")]
    assert found.sentence.startswith("lumi: NEW: ")
    page = as_html(found)
    assert page == as_html(found)
    assert "<script" not in page
    assert "datasets/d&lt;b&gt;" in page
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert page.count('src="data:image/png;base64,') == 16
