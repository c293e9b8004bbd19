"""The demo's parts that need no training: its dataset, its job and its verdict on its own numbers."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from PIL import Image

from deploy.examples.demo import dataset, demo, measure
from deploy.examples.demo.measure import Accuracy, Numbers, Shares
from loramill import v1
from loramill.spec import read_spec
from trainer.builtin.shapes import draw
from trainer.builtin.shapes.judge import load_judge
from trainer.builtin.shapes.judge_training import as_tensor


def _spec() -> v1.TrainingSpec:
    return read_spec(demo.JOB_FILE.read_text(), ["dataset.dataset=hearts"])


def test_the_dataset_is_twelve_captioned_hearts_in_all_colours(tmp_path: Path) -> None:
    dataset.write_dataset(tmp_path / "hearts")
    pictures = sorted((tmp_path / "hearts").glob("*.png"))
    captions = [picture.with_suffix(".txt").read_text().strip() for picture in pictures]
    verdicts = load_judge().verdicts(as_tensor([Image.open(picture) for picture in pictures]).float() / 255)
    assert len(pictures) == 12
    assert [dataset.words(verdict.color, verdict.background) for verdict in verdicts] == captions
    assert {verdict.shape for verdict in verdicts} == {"heart"}
    assert {verdict.color for verdict in verdicts} == set(draw.COLORS)


def test_the_dataset_is_the_same_each_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        dataset.write_dataset(tmp_path / name)
    files = [sorted((tmp_path / name).iterdir()) for name in ("one", "two")]
    assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]


def test_the_job_says_what_the_demo_measures() -> None:
    spec = _spec()
    assert spec.concept.activation_tag == demo.TAG
    assert spec.outputs.name == demo.TAG
    assert spec.base_model == "baseModels/shapes"
    captions = spec.concept.prior_preservation.captions
    named = {word for caption in captions for word in caption.split()}
    assert set(measure.KNOWN) | set(draw.COLORS) | set(draw.BACKGROUNDS) <= named
    assert named.isdisjoint({demo.TAG, *draw.HELD_OUT})
    shown = {
        (shape, word)
        for caption in captions
        for shape, word in itertools.product(measure.KNOWN, draw.COLORS)
        if {shape, word} <= set(caption.split())
    }
    assert len(shown) == len(captions), "each caption is another shape in another colour"


GOOD = Numbers(
    judge=Accuracy(drawn=0.998, reconstructed=0.985),
    new_before=Shares(0.0, 0.0),
    new_after=Shares(0.97, 0.95),
    known_before=Shares(0.99, 0.97),
    known_after=Shares(0.98, 0.95),
)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({}, None),
        ({"judge": Accuracy(drawn=0.998, reconstructed=0.97)}, "judge"),
        ({"judge": Accuracy(drawn=0.97, reconstructed=0.985)}, "judge"),
        ({"new_before": Shares(0.11, 0.0)}, "before training"),
        ({"new_after": Shares(0.79, 0.79)}, "after training"),
        ({"known_after": Shares(0.93, 0.93)}, "lost 6.0 points"),
    ],
)
def test_the_demo_fails_unless_the_numbers_moved_as_they_must(change: dict, complaint: str | None) -> None:
    failures = Numbers(**{**vars(GOOD), **change}).failures()
    assert len(failures) == (complaint is not None)
    assert complaint is None or complaint in failures[0]
