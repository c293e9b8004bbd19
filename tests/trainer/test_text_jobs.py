"""Whole jobs: captions longer than 75 tokens are trained on, and the report says what is odd about captions and tag."""

from __future__ import annotations

from tests.trainer.jobs import Jobs, small_dataset

SHORT: dict[str, object] = {
    "optimization": {"steps": 2},
    "previews": {"inference_steps": 1, "prompts": [{"prompt": f"[tag], {'a red star ' * 30}", "seed": 1}]},
}


def test_long_captions_and_weights(jobs: Jobs) -> None:
    files = small_dataset(3)
    files["0.txt"] = ("a blue star, " * 20).encode()
    files["1.txt"] = ("a red heart, " * 60).encode()
    files["2.txt"] = b"a (red:1.2) star"
    jobs.place.put_dataset("long", files)
    job = jobs.new("long captions", {**SHORT, "text": {"max_tokens": 150}}, dataset="long")
    assert job.run() == 0
    report = job.file("report.html").read_text()
    assert "1 caption is longer than 150 tokens and is cut" in report
    assert "1 caption has weights of words, which are not interpreted" in report
    assert "lumi, a (red:1.2) star" in report


def test_the_tag_is_checked_unless_that_is_left_out(jobs: Jobs) -> None:
    checked = jobs.new("known tag", {**SHORT, "concept": {"activation_tag": "star"}})
    assert checked.run() == 0
    assert "as the base knew it before training" in checked.file("report.html").read_text()
    left_out = jobs.new("tag not checked", {**SHORT, "concept": {"activation_tag": "star", "check_tag": False}})
    assert left_out.run() == 0
    assert "as the base knew it before training" not in left_out.file("report.html").read_text()
    assert checked.adapter().tensors_sha256 == left_out.adapter().tensors_sha256, "checking changes no number"
