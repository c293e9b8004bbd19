"""What a job draws to be looked at: at the steps, size, sampler and strengths that were asked for; its adapter stays as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from huggingface_hub import ModelCard
from PIL import Image

from loramill import v1
from store import open_store
from tests.trainer.jobs import Job, Jobs, terminate_once_asked_about
from trainer.config import PreviewConfig, PreviewPrompt
from trainer.gallery import Gallery, chosen_saves
from trainer.samplers import SAMPLERS

PROMPTS = [
    {"prompt": "a red [tag]", "seed": 1, "negative_prompt": "blue"},
    {"prompt": "a star: `x` | <b>", "seed": 2},
]
SPEC: dict[str, object] = {
    "unet": {"learning_rate": 2e-2},
    "previews": {
        "prompts": PROMPTS,
        "inference_steps": 2,
        "width": 96,
        "height": 64,
        "sampler": "PREVIEW_SAMPLER_DPM_PLUS_PLUS_2M_KARRAS",
        "at_steps": [3, 99],
        "strengths": [0, 0.5, 1, 1.5],
        "strength_prompts": 1,
    },
    "outputs": {"save_every": 2, "tensorboard": True},
}


@pytest.fixture(scope="module")
def shown(jobs: Jobs) -> Job:
    job = jobs.new("shown", SPEC)
    assert job.run() == 0
    return job


def stored(job: Job) -> dict[str, Image.Image]:
    """Every picture that the job's runs have stored; of two runs' the later one's."""
    found = {}
    for path in sorted(job.folder.glob("runs/*/previews/*/*.png")):
        with Image.open(path) as picture:
            found[f"{path.parent.name}/{path.stem}"] = picture.copy()
    return found


def test_pictures_are_there_at_the_steps_and_strengths_that_were_asked_for(shown: Job) -> None:
    pictures = stored(shown)
    plain = {f"{step:07d}/{place:02d}" for step in (0, 3, 6) for place in (0, 1)}
    # Strength 0 is what the base drew; strength 1 is drawn beside the others where no preview was due.
    saves = {f"{step:07d}/00-{at}" for step in (2, 4) for at in (1, 2, 3)} | {f"0000006/00-{at}" for at in (1, 3)}
    assert set(pictures) == plain | saves
    assert {picture.size for picture in pictures.values()} == {(96, 64)}
    assert shown.progress.preview_step == 6


def test_diffusers_draws_the_same_at_each_strength_with_the_same_sampler(shown: Job, tiny_base: Path) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_base, safety_checker=None, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    sampler = SAMPLERS["dpm_plus_plus_2m_karras"]
    scheduler = getattr(diffusers, sampler.scheduler)
    pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config, **sampler.options)
    pipeline.load_lora_weights(shown.file("adapter.safetensors"), adapter_name="adapter")
    pictures, before = stored(shown), None
    for strength, name in ((0, "0000000/00"), (0.5, "0000006/00-1"), (1, "0000006/00"), (1.5, "0000006/00-3")):
        pipeline.set_adapters("adapter", float(strength))
        picture = pipeline(
            "a red lumi",
            negative_prompt="blue",
            width=96,
            height=64,
            num_inference_steps=2,
            guidance_scale=3,
            generator=torch.Generator().manual_seed(1),
        ).images[0]
        ours = np.asarray(pictures[name], dtype=int)
        assert np.abs(ours - np.asarray(picture, dtype=int)).max() <= 1
        assert before is None or np.abs(ours - before).max() > 4, "each strength must be seen"
        before = ours


def test_none_of_it_changes_the_adapter(shown: Job, jobs: Jobs) -> None:
    plain = jobs.new("not shown", {"unet": {"learning_rate": 2e-2}, "previews": {"prompts": [], "inference_steps": 1}})
    assert plain.run() == 0
    assert plain.adapter().tensors_sha256 == shown.adapter().tensors_sha256


def test_a_report_made_by_a_run_that_went_on_shows_the_same(
    shown: Job, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run is stopped between its checkpoint and the numbered adapter of that step."""
    first = jobs.new("shown, stopped", SPEC)
    with monkeypatch.context() as patch:
        terminate_once_asked_about(patch, step=4)
        assert first.run() == v1.EXIT_CODE_PREEMPTED
    assert first.adapters() == ["000002"]
    second = first.launched_again()
    assert second.run() == 0
    assert second.adapters() == ["000004", "final"]
    assert pictures_in(second) == pictures_in(shown)
    assert {name: picture.tobytes() for name, picture in stored(second).items()} == {
        name: picture.tobytes() for name, picture in stored(shown).items()
    }


def pictures_in(job: Job) -> list[str]:
    """Every picture of the report, in order."""
    return re.findall(r'src="(data:image/[^"]+)"', job.file("report.html").read_text())


def test_the_report_offers_each_adapter_that_was_saved(shown: Job) -> None:
    page = shown.file("report.html").read_text()
    for suffix in ("000002", "000004", "final"):
        assert f"<code>loramill adapter promote zzzzzzzzz0000001-{suffix}</code>" in page
    assert "DPM++ 2M Karras" in page
    assert 'id="memory"' in page
    assert "loramill dataset report zzzzzzzzz0000000 --format html" in page


def test_the_model_card_is_read_by_the_hub(shown: Job) -> None:
    for suffix in ("000002", "final"):
        card = ModelCard.load(shown.file("README.md", suffix))
        assert card.data.base_model == "shapes"
        assert {"lora", "text-to-image", "sd15"} <= set(card.data.tags)
        said = card.data.to_dict()
        assert said["instance_prompt"] == "lumi"
        assert said["widget"] == [
            {"text": "a red lumi", "parameters": {"negative_prompt": "blue"}},
            {"text": "a star: `x` | <b>"},
        ]
        assert "from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline" in card.text
    assert "![The same prompts and seeds without and with it](contact-sheet.png)" in card.text


def test_tensorboard_reads_the_event_file(shown: Job) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (name,) = [file.file_name for file in shown.adapter().files if file.format == v1.ADAPTER_FORMAT_TENSORBOARD]
    read = EventAccumulator(str(shown.file(name)), size_guidance={"images": 0, "scalars": 0})
    read.Reload()
    losses = read.Scalars("loss/train")
    assert [event.step for event in losses] == [1, 2, 3, 4, 5, 6]
    assert all(event.value > 0 for event in losses)
    assert losses[0].wall_time > shown.assignment.job_create_time.ToDatetime(tzinfo=UTC).timestamp()
    assert {"learning_rate", "gradient_norm", "images_per_second", "memory_bytes"} <= set(read.Tags()["scalars"])
    pictures = read.Images("preview/01")
    assert [(event.step, event.width, event.height) for event in pictures] == [(0, 96, 64), (3, 96, 64), (6, 96, 64)]


@pytest.mark.parametrize(
    ("save_every", "steps", "chosen"),
    [
        (0, 100, set()),
        (200, 100, set()),
        (100, 100, set()),
        (10, 41, {10, 20, 30, 40}),
        (1, 13, {3, 6, 9, 12}),
        (1, 7, {1, 3, 4, 6}),
    ],
)
def test_a_few_of_many_saves_are_drawn_the_last_among_them(save_every: int, steps: int, chosen: set[int]) -> None:
    assert chosen_saves(save_every, steps, most=4) == chosen


def test_what_earlier_runs_have_drawn_is_read_back_whole_and_the_last_run_counts(tmp_path: Path) -> None:
    prompts = tuple(PreviewPrompt(prompt=str(place), negative_prompt="", seed=place) for place in range(2))
    config = PreviewConfig(
        prompts=prompts,
        every_steps=0,
        inference_steps=1,
        guidance_scale=3.0,
        strengths=(0.0, 0.5, 1.0),
        strength_prompts=1,
    )
    first, second, third = (Gallery(config, Stored(tmp_path, run), tmp_path) for run in (1, 2, 11))  # type: ignore[arg-type]
    first.keep(3, drawn("red", "blue"))
    first.keep(4, drawn("green"), 1)
    first.keep(5, drawn("lime"))  # of one prompt of two: not whole
    first.keep(9, drawn("red", "red"))
    second.keep(3, drawn("pink", "blue"))

    third.read_back(6)
    assert {step: pixels(pictures) for step, pictures in third.plain.items()} == {3: pixels(drawn("pink", "blue"))}
    assert {key: pixels(pictures) for key, pictures in third.by_strength.items()} == {(4, 1): pixels(drawn("green"))}
    assert third.at_strength(4, 0) is None
    third.plain[0] = drawn("white", "black")
    assert pixels(third.at_strength(4, 0) or ()) == pixels(drawn("white")), "without the adapter it is the base's"
    assert pixels(third.at_strength(3, 2) or ()) == pixels(drawn("pink")), "at strength 1 it is the preview"
    third.take_back(3)
    assert (sorted(third.plain), third.by_strength) == ([0, 3], {})


class Stored:
    """The record of a job's runs in a folder, as far as pictures go."""

    def __init__(self, folder: Path, run: int) -> None:
        self.runs, self.run = open_store(f"file://{folder}/runs/"), open_store(f"file://{folder}/runs/{run}/")

    def put_file(self, key: str, path: Path) -> None:
        self.run.put_new(key, path)


def drawn(*colors: str) -> list[Image.Image]:
    return [Image.new("RGB", (8, 8), color) for color in colors]


def pixels(pictures: Sequence[Image.Image]) -> list[bytes]:
    return [picture.tobytes() for picture in pictures]
