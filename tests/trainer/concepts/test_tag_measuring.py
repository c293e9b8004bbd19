from __future__ import annotations

from pathlib import Path

import pytest
import torch

from store import open_store
from tests.trainer.tiny_families import make_tiny_sdxl
from trainer.cache import Cache
from trainer.concepts.tag_measuring import Pictures, TagChecks, packed, split_of, strengths, unpacked
from trainer.families.base import Base, Framing
from trainer.families.registry import load_base

CPU = torch.device("cpu")
SHAPES = Path(__file__).parents[3] / "trainer/builtin/shapes/base"


@pytest.fixture(scope="module")
def shapes() -> Base:
    return load_base("sd15", SHAPES, CPU, torch.float32)


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    generator = torch.Generator().manual_seed(0)
    return Pictures([torch.randn(4, 8, 8, generator=generator)], Framing((64, 64), (0, 0), (64, 64)), "test")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache in which what made-up tags and ordinary words are answered to is found again."""
    return tmp_path_factory.mktemp("cache")


def checks(base: Base, pictures: Pictures, folder: Path) -> TagChecks:
    return TagChecks(base, pictures, Cache(open_store(f"file://{folder}/")), {"base": "b"}, at_once=8)


def test_a_known_word_is_a_bad_tag_and_a_made_up_one_is_not(shapes: Base, pictures: Pictures, kept: Path) -> None:
    asked = checks(shapes, pictures, kept)
    ring = asked.finding("ring")
    assert [(one.piece, len(split.neighbours)) for split in ring.splits for one in split.neighbours] == [
        ("ring</w>", 1)
    ]
    assert not ring.is_good
    assert "ring" not in ring.ordinary
    suggested = asked.finding(ring.suggestions[0])
    assert suggested.is_good, suggested.reasons
    assert len(suggested.splits[0].neighbours) > 1


def test_what_was_found_before_is_not_asked_again(
    shapes: Base, pictures: Pictures, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = checks(shapes, pictures, kept).finding("lumi")
    monkeypatch.setattr(shapes, "predict", None)
    monkeypatch.setattr(shapes, "text_encoders", tuple(_Known(one.recipe) for one in shapes.text_encoders))
    assert checks(shapes, pictures, kept).finding("lumi") == first


class _Known:
    """A text encoder that only says how it reads."""

    def __init__(self, recipe: str) -> None:
        self.recipe = recipe


def test_a_finding_comes_back_from_the_cache_as_it_was(shapes: Base, pictures: Pictures, kept: Path) -> None:
    finding = checks(shapes, pictures, kept).finding("日本 star")
    assert unpacked(packed(finding)) == finding


def test_a_word_that_says_nothing_has_no_strength(shapes: Base, pictures: Pictures) -> None:
    found = strengths(shapes, ["", "ring"], pictures, at_once=8)
    assert found[""] == 0
    assert found["ring"] > 0
    halves = strengths(shapes, ["ring"], pictures, at_once=3)
    assert halves["ring"] == pytest.approx(found["ring"], rel=1e-4)


def test_the_nearest_word_is_another_than_the_token_itself(shapes: Base) -> None:
    (star,) = split_of(shapes.text_encoders[0], "star").neighbours
    assert star.word != "star"
    assert -1 <= star.similarity < 1
    assert split_of(shapes.text_encoders[0], "red star").is_of_known_words
    assert not split_of(shapes.text_encoders[0], "red zorp").is_of_known_words


def test_both_encoders_of_a_base_are_asked(pictures: Pictures, tmp_path: Path) -> None:
    base = load_base("sdxl", make_tiny_sdxl(tmp_path / "xl"), CPU, torch.float32)
    finding = checks(base, pictures, tmp_path / "cache").finding("lumi")
    assert [split.encoder for split in finding.splits] == ["text_encoder", "text_encoder_2"]
    assert finding.strength > 0
