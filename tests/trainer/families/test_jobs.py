"""Jobs of sd2 and sdxl from the claim to the adapter, and what diffusers makes of it."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from PIL import Image
from safetensors import safe_open

from loramill import v1
from store import StoreUnavailable
from tests.trainer.assignments import Place
from tests.trainer.jobs import Job, Jobs, keep_what_is_drawn, small_dataset
from tests.trainer.test_diffusers_interop import drawn_by_diffusers
from trainer import run
from trainer.data.dataset import Example
from trainer.data.views import View
from trainer.events import RunEvents
from trainer.families.components import Components
from trainer.loop import Training, framing_of

SHAPES = Path(__file__).parents[3] / "trainer/builtin/shapes/base"
RATES = {"unet": {"learning_rate": 1e-2}, "text_encoder": {"train": True, "learning_rate": 1e-2}}
XL: dict[str, object] = {
    **RATES,
    "text_encoder_2": {"train": True, "learning_rate": 5e-3},
    "adapter": {"targets": "ADAPTER_TARGETS_ALL", "conv_rank": 2, "conv_alpha": 3},
    "concept": {"prior_preservation": {"captions": ["a red heart"], "images": 2}},
    "dataset": {"flip_probability": 0.5},
    "optimization": {"steps": 3},
    "previews": {
        "inference_steps": 2,
        "prompts": [{"prompt": "a red [tag]", "seed": 1}, {"prompt": "a star", "negative_prompt": "a heart"}],
    },
}
SD2: dict[str, object] = {**RATES, "optimization": {"steps": 2}, "previews": {"inference_steps": 2}}
SHORT: dict[str, object] = {"optimization": {"steps": 1}, "previews": {"inference_steps": 1}}


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory, folders: dict[str, Path]) -> Jobs:
    place = Place(tmp_path_factory.mktemp("jobs"))
    for family, folder in folders.items():
        place.put_base(family, folder)
    place.put_dataset("d", small_dataset())
    return Jobs(place)


def new(jobs: Jobs, family: str, name: str, change: dict[str, object]) -> Job:
    return jobs.new(f"{family} {name}", change, base=family, family=family)


class Drawn(NamedTuple):
    """A job that has ended well, and the floats behind its previews, by step."""

    job: Job
    previews: dict[int, np.ndarray]


def finished(jobs: Jobs, family: str, change: dict[str, object]) -> Drawn:
    job = new(jobs, family, "finished", change)
    with pytest.MonkeyPatch.context() as patch:
        previews = keep_what_is_drawn(patch)
        assert job.run() == 0
    return Drawn(job, previews)


@pytest.fixture(scope="module")
def xl(jobs: Jobs) -> Drawn:
    return finished(jobs, "sdxl", XL)


def assert_diffusers_draws(pipeline: Any, done: Drawn, file: str) -> None:
    """The trainer's previews, without and with the adapter's file, by a pipeline that was loaded from the base's folder."""
    pipeline.set_progress_bar_config(disable=True)
    before, after = done.previews[0], done.previews[max(done.previews)]
    np.testing.assert_allclose(drawn_by_diffusers(pipeline, done.job), before, atol=1e-4)
    pipeline.load_lora_weights(done.job.file(file).parent, weight_name=file)
    np.testing.assert_allclose(drawn_by_diffusers(pipeline, done.job), after, atol=1e-4)
    assert np.abs(after - before).max() > 1e-3


def metadata_of(path: Path) -> tuple[dict[str, str], list[str]]:
    with safe_open(path, "pt") as file:
        return file.metadata(), list(file.keys())


@pytest.mark.parametrize("file", ["adapter.safetensors", "adapter.diffusers.safetensors"])
def test_diffusers_draws_the_previews_of_an_sdxl_job(file: str, xl: Drawn, folders: dict[str, Path]) -> None:
    assert_diffusers_draws(StableDiffusionXLPipeline.from_pretrained(folders["sdxl"]), xl, file)


def test_an_sdxl_adapter_is_named_as_others_name_it(xl: Drawn) -> None:
    metadata, keys = metadata_of(xl.job.file("adapter.safetensors"))
    prefixes = {"_".join(key.split("_")[:2]) for key in keys}
    assert prefixes == {"lora_unet", "lora_te1", "lora_te2"}
    assert "lora_te1_text_model_encoder_layers_0_self_attn_q_proj.lora_up.weight" in keys
    assert "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.lora_down.weight" in keys
    assert metadata["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora"
    assert metadata["ss_base_model_version"] == "sdxl_base_v1-0"
    assert (metadata["ss_clip_skip"], metadata["ss_text_encoder_lr"]) == ("2", "[0.01, 0.005]")
    _, keys = metadata_of(xl.job.file("adapter.diffusers.safetensors"))
    assert {key.split(".")[0] for key in keys} == {"unet", "text_encoder", "text_encoder_2"}
    report = xl.job.file("report.html").read_text()
    assert "second text encoder" in report
    assert "StableDiffusionXLPipeline" in report


def test_an_sdxl_job_that_is_broken_off_ends_with_the_same_adapter(
    xl: Drawn, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = new(jobs, "sdxl", "broken off", XL)
    after_step = RunEvents.after_step

    def fail(events: RunEvents, step: int, trained_seconds: float) -> None:
        after_step(events, step, trained_seconds)
        if step == 2:
            raise StoreUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(RunEvents, "after_step", fail)
        assert job.run() == v1.EXIT_CODE_STORAGE
    again = job.launched_again()
    assert again.run() == 0
    assert '"resumed"' in again.log()
    assert again.file("adapter.safetensors").read_bytes() == xl.job.file("adapter.safetensors").read_bytes()


def test_diffusers_draws_the_previews_of_an_sd2_job(jobs: Jobs, folders: dict[str, Path]) -> None:
    done = finished(jobs, "sd2", SD2)
    assert_diffusers_draws(StableDiffusionPipeline.from_pretrained(folders["sd2"]), done, "adapter.safetensors")
    metadata, _ = metadata_of(done.job.file("adapter.safetensors"))
    assert metadata["modelspec.architecture"] == "stable-diffusion-v2-768-v/lora"
    assert (metadata["modelspec.prediction_type"], metadata["ss_v2"]) == ("v", "True")


def test_what_is_cached_and_frozen_is_not_loaded(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    held: list[set[str]] = []
    load = Components._network

    def load_and_tell(components: Components, name: str) -> Any:
        loaded.append(name)
        return load(components, name)

    def stop(training: Training, *_: object) -> float:
        held.append(set(training.base.loaded_networks))
        raise StoreUnavailable("seen enough")

    monkeypatch.setattr(Components, "_network", load_and_tell)
    monkeypatch.setattr(run, "train", stop)
    new(jobs, "sdxl", "cold", SHORT).run()
    assert sorted(loaded) == ["text_encoder", "text_encoder_2", "unet", "vae"]
    loaded.clear()
    new(jobs, "sdxl", "warm", SHORT).run()
    assert sorted(loaded) == ["unet", "vae"], "the VAE draws the previews"
    assert held == [{"unet"}, {"unet"}]


def test_the_true_sizes_reach_the_unet(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (100, 210, 3), dtype=np.uint8)).save(buffer, "PNG")
    jobs.place.put_dataset("wide", {"1.png": buffer.getvalue(), "1.txt": b"a red star"})
    told: dict[bool, list[float]] = {}
    examples: list[Example] = []

    def look(training: Training, *_: object) -> float:
        (one,) = training.examples
        for mirrored in (False, True):
            said = training.words.of_base(["a red star"])
            framed = training.base.framed(said, [framing_of(one, View(one.id, mirrored))])
            assert framed.time_ids is not None
            told[mirrored] = framed.time_ids[0].tolist()
        examples.append(one)
        raise StoreUnavailable("seen enough")

    monkeypatch.setattr(run, "train", look)
    change: dict[str, object] = {**SHORT, "dataset": {"flip_probability": 0.5, "buckets": False}}
    jobs.new("sdxl sizes", change, base="sdxl", family="sdxl", dataset="wide").run()
    (one,) = examples
    left, top, right, _ = one.crops[0]
    assert one.resize[0] > right - left, "else nothing is cropped"
    bucket = [one.bucket.height, one.bucket.width]
    assert told == {
        False: [100, 210, top, left, *bucket],
        True: [100, 210, top, one.resize[0] - right, *bucket],
    }


def test_a_base_that_predicts_something_else_is_refused_with_the_numbers(jobs: Jobs) -> None:
    jobs.place.put_base("shapes", SHAPES)
    change: dict[str, object] = {"loss": {"prediction_type": "PREDICTION_TYPE_V_PREDICTION"}}
    job = jobs.new("mislabelled", change, base="shapes")
    assert job.run() == v1.EXIT_CODE_USER_ERROR
    said = job.end.message
    numbers = re.search(r"its error is (\d\.\d\d) of .* under v_prediction and (\d\.\d\d) under epsilon", said)
    assert numbers is not None, said
    assert float(numbers[1]) > 1.5 * float(numbers[2])
    assert "set loss.prediction_type to EPSILON" in said


def test_a_second_text_encoder_that_is_not_there_is_refused(jobs: Jobs) -> None:
    job = new(jobs, "sd2", "second", {"text_encoder_2": {"train": True, "learning_rate": 1e-4}})
    assert job.run() == v1.EXIT_CODE_USER_ERROR
    assert "has no text_encoder_2" in json.dumps(job.end.message)
