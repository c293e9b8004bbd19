"""A whole job with masks, random crops, several concepts, weights and given class images: trained, killed, and the same again."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from PIL import Image

from tests.trainer.data import corpus
from tests.trainer.jobs import Job, Jobs
from tests.trainer.small_training import config_of, example
from trainer import run
from trainer.data.captions import tags_of
from trainer.data.rules import CaptionRules
from trainer.data.views import View
from trainer.errors import Preempted
from trainer.formats.reading import read_adapter
from trainer.loop import Training, caption_variant, captions_of, example_losses, training_batch

CHANGE: dict[str, object] = {
    "dataset": {
        "buckets": False,
        "crop": "CROP_RANDOM",
        "crop_variants": 3,
        "masks": "MASK_SOURCE_FILE",
        "background": "#808080",
        "flip_probability": 0.5,
        "subsets": [
            {"path_prefix": "stars/", "captions": {"source": "CAPTION_SOURCE_FILE", "wildcards": True, "variants": 4}},
            {"path_prefix": "hearts/", "concept": "zorp", "weight": 0.5, "flip_probability": 0},
            {
                "path_prefix": "class/",
                "class_images": True,
                "captions": {"source": "CAPTION_SOURCE_FIXED", "text": "a shape"},
            },
        ],
    },
    "concept": {"activation_tag": "lumi", "prior_preservation": {"enabled": False, "weight": 0.25}},
    "concepts": [{"activation_tag": "zorp"}],
}


def files() -> dict[str, bytes]:
    star, mask = corpus.noise(150, 64, 1), Image.new("L", (75, 32))
    mask.paste(255, (25, 0, 50, 32))
    return {
        "stars/0.png": corpus.encoded(star),
        "stars/0.mask.png": corpus.encoded(mask),
        "stars/0.txt": b"a {red|blue} star",
        "stars/1.png": corpus.encoded(corpus.noise(64, 150, 2)),
        "stars/1.txt": b"a star",
        "hearts/0.png": corpus.png(seed=3),
        "hearts/0.txt": b"a heart",
        "class/0.png": corpus.png(seed=4),
    }


@pytest.fixture(scope="module")
def placed(jobs: Jobs) -> Jobs:
    jobs.place.put_dataset("options", files())
    return jobs


@pytest.fixture(scope="module")
def job(placed: Jobs) -> Job:
    """The job, done."""
    job = placed.new("options", CHANGE, dataset="options")
    assert job.run() == 0
    return job


@pytest.fixture(scope="module")
def training(placed: Jobs) -> Training:
    """What the job trains with, just before its first step."""
    kept: list[Training] = []

    def look(training: Training, *_: object) -> float:
        kept.append(training)
        raise Preempted("seen enough")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "train", look)
        placed.new("options looked at", CHANGE, dataset="options").run()
    return kept[0]


def test_every_view_has_its_latents_and_its_mask(training: Training) -> None:
    views = {example.path: len(example.crops) for example in training.examples}
    assert views == {"stars/0.png": 3, "stars/1.png": 3, "hearts/0.png": 1, "class/0.png": 1}
    by_path = {example.path: example for example in training.examples}
    star = by_path["stars/0.png"]
    assert set(training.masks) == {View(star.id, mirrored, place) for mirrored in (False, True) for place in range(3)}
    assert {view for view in training.posteriors if view.example_id == by_path["hearts/0.png"].id} == {
        View(by_path["hearts/0.png"].id, False, 0)
    }
    for view, mask in training.masks.items():
        assert mask.shape == training.posteriors[view].mean.shape[-2:]


def test_visits_are_drawn_among_all_views_and_told_as_they_are(training: Training) -> None:
    seen = set()
    for step in range(120):
        for visits in training.order.batches_at(step):
            batch = training_batch(training, visits)
            examples = [training.examples[visit.example_index] for visit in visits]
            expected = [{"stars": 1.0, "hearts": 0.5, "class": 0.25}[one.path.partition("/")[0]] for one in examples]
            assert (batch.weights.tolist() if batch.weights is not None else [1.0] * len(visits)) == expected
            assert batch.masks is not None
            for one, caption, mask, framing in zip(examples, batch.captions, batch.masks, batch.framings, strict=True):
                tag = {"stars": "lumi, ", "hearts": "zorp, ", "class": ""}[one.path.partition("/")[0]]
                assert caption.startswith(tag + "a ")
                assert (bool(mask.min() < 1)) == (one.path == "stars/0.png")
                assert framing.original == (one.height, one.width)
                seen.add((one.path, caption, framing.crop))
    crops = {crop for path, _, crop in seen if path == "stars/0.png"}
    assert len(crops) == 3, "left, middle and right; mirrored they are the same places"
    assert {caption for path, caption, _ in seen if path == "stars/0.png"} == {"lumi, a red star", "lumi, a blue star"}
    assert {crop for path, _, crop in seen if path == "hearts/0.png"} == {(0, 0)}


def test_weights_and_masks_reach_the_loss(training: Training) -> None:
    batches = [training_batch(training, visits) for step in range(8) for visits in training.order.batches_at(step)]
    weighted = next(batch for batch in batches if batch.weights is not None)
    masked = next(batch for batch in batches if batch.masks is not None and bool(batch.masks.min() < 1))
    with torch.no_grad():
        plain = example_losses(training, dataclasses.replace(weighted, weights=None))
        torch.testing.assert_close(example_losses(training, weighted), plain * weighted.weights)
        whole = example_losses(training, dataclasses.replace(masked, masks=None))
        found = example_losses(training, masked)
    assert masked.masks is not None
    has_mask = masked.masks.flatten(1).min(1).values < 1
    assert bool((found != whole)[has_mask].all())
    torch.testing.assert_close(found[~has_mask], whole[~has_mask])


def test_a_killed_job_ends_with_the_same_bits(jobs: Jobs, job: Job) -> None:
    stopped = jobs.new("options stopped", CHANGE, dataset="options")
    save = run.RunEvents.after_step

    def stop(events: run.RunEvents, step: int, seconds: float) -> None:
        save(events, step, seconds)
        if step == 3:
            raise Preempted("taken away")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run.RunEvents, "after_step", stop)
        assert stopped.run() != 0
    again = stopped.launched_again()
    assert again.run() == 0
    assert again.adapter().tensors_sha256 == job.adapter().tensors_sha256


def test_the_file_names_every_activation_tag(job: Job) -> None:
    metadata = read_adapter(job.file("adapter.safetensors")).metadata
    assert metadata["modelspec.trigger_phrase"] == "lumi, zorp"


def test_captions_that_were_encoded_are_those_that_are_drawn(training: Training) -> None:
    star = next(example for example in training.examples if example.path == "stars/0.png")
    assert captions_of(training.config, star) == {"lumi, a red star", "lumi, a blue star"}


def test_new_rules_leave_the_captions_of_older_jobs_alone() -> None:
    """What was drawn before there were separators, groups and alternatives."""
    rules = {"shuffle_tags": True, "tag_dropout": 0.3, "keep_tags": 1}
    config = config_of({"dataset": {"subsets": [{"captions": {"source": "CAPTION_SOURCE_FILE", **rules}}]}})
    one = dataclasses.replace(example(0), caption="a, b, c, d, e, f")
    assert [caption_variant(config, one, variant) for variant in range(4)] == [
        "lumi, a, c, e, b, d",
        "lumi, a, f, b, c",
        "lumi, a, f, b, d, c",
        "lumi, a, d, f, c, e",
    ]


def test_tags_of_a_caption_with_all_its_separators() -> None:
    rules = CaptionRules(separator=";", keep_separator="|||", group_separator="+", lines_as_alternatives=True)
    assert tags_of("a; b ||| c+d\ne", rules) == ("a", "b", "c", "d", "e")


def test_weights_of_one_are_no_weights(training: Training) -> None:
    config = dataclasses.replace(
        training.config, subsets=tuple(dataclasses.replace(one, weight=1.0) for one in training.config.subsets)
    )
    plain = dataclasses.replace(training, config=config, masks={})
    batch = training_batch(plain, plain.order.batches_at(0)[0])
    assert batch.weights is None
    assert batch.masks is None
