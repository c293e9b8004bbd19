"""New tokens for an activation tag: trained, resumed to the same bits, and read by the programs that draw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors import safe_open
from safetensors.torch import load_file

from loramill import v1
from tests.trainer.assignments import Place
from tests.trainer.jobs import Job, Jobs, keep_what_is_drawn, small_dataset, terminate_once_asked_about
from tests.trainer.test_diffusers_interop import drawn_by_diffusers
from tests.trainer.tiny_families import make_tiny_sdxl
from trainer.config_text import PivotalConfig
from trainer.families.extended_embedding import ExtendedEmbedding
from trainer.families.registry import load_base
from trainer.pivotal import first_rows
from trainer.text.new_tokens import NewTokens
from trainer.text.tags import new_tags

PIVOTAL: dict[str, object] = {
    "concept": {"pivotal": {"tokens": 3, "learning_rate": 0.05, "initial_words": "red star"}},
    "unet": {"learning_rate": 2e-2},
    "previews": {"prompts": [{"prompt": "a red [tag]", "seed": 1}, {"prompt": "lumi, a lumi on sand", "seed": 2}]},
}


@pytest.fixture(scope="module")
def drawn(jobs: Jobs) -> tuple[Job, dict[int, np.ndarray]]:
    """A job that ended well, and the floats behind its previews, by step."""
    job = jobs.new("pivotal", PIVOTAL)
    with pytest.MonkeyPatch.context() as patch:
        previews = keep_what_is_drawn(patch)
        assert job.run() == 0
    return job, previews


@pytest.fixture(scope="module")
def trained(drawn: tuple[Job, dict[int, np.ndarray]]) -> Job:
    return drawn[0]


def embedding(job: Job) -> dict[str, torch.Tensor]:
    return load_file(job.file("adapter.embedding.safetensors"))


def test_the_embeddings_are_a_file_of_the_adapter(trained: Job) -> None:
    (file,) = [file for file in trained.adapter().files if file.format == v1.ADAPTER_FORMAT_EMBEDDING]
    assert file.file_name == "adapter.embedding.safetensors"
    tensors = embedding(trained)
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {"emb_params": (3, 32)}
    with safe_open(trained.file(file.file_name), "pt") as opened:
        assert opened.metadata()["loramill.activation_tag"] == "lumi"


def test_they_begin_as_the_initial_words_and_are_trained(trained: Job, tiny_base: Path) -> None:
    base = load_base("sd15", tiny_base, torch.device("cpu"), torch.float32)
    encoder = base.text_encoders[0]
    red, star = encoder.token_ids("red star")
    first = encoder.network.get_input_embeddings().weight[[red, star, red]]
    change = (embedding(trained)["emb_params"] - first).abs()
    assert change.max() > 0.01
    assert change.min() < 0.5, "they are still near what they began as"


def test_a_run_that_is_interrupted_goes_on_to_the_same_bits(
    trained: Job, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = jobs.new("pivotal, interrupted", PIVOTAL)
    with monkeypatch.context() as patch:
        terminate_once_asked_about(patch, step=3)
        assert first.run() == v1.EXIT_CODE_PREEMPTED
    again = first.launched_again()
    assert again.run() == 0
    assert '"event": "resumed"' in again.log()
    name = "adapter.embedding.safetensors"
    assert again.file(name).read_bytes() == trained.file(name).read_bytes()
    assert again.adapter().tensors_sha256 == trained.adapter().tensors_sha256


def test_diffusers_draws_with_them_what_the_trainer_drew(
    drawn: tuple[Job, dict[int, np.ndarray]], tiny_base: Path
) -> None:
    job, previews = drawn
    before, after = previews[0], previews[6]
    assert np.abs(after - before).max() > 0.02, "the adapter must be seen, or the test proves nothing"
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_base, safety_checker=None, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    np.testing.assert_allclose(
        drawn_by_diffusers(pipeline, job), before, atol=1e-4, err_msg="off reads the tag as spelled"
    )
    pipeline.load_textual_inversion(
        job.file("adapter.embedding.safetensors").parent, weight_name="adapter.embedding.safetensors", token="lumi"
    )
    pipeline.load_lora_weights(job.file("adapter.diffusers.safetensors"))
    np.testing.assert_allclose(drawn_by_diffusers(pipeline, job), after, atol=1e-4)


@pytest.fixture(scope="module")
def xl(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Path]:
    """A job on a base of two text encoders, new tokens trained in the second alone."""
    folder = tmp_path_factory.mktemp("xl")
    base = make_tiny_sdxl(tmp_path_factory.mktemp("xl-base"))
    place = Place(folder)
    place.put_base("xl", base)
    place.put_dataset("d", small_dataset())
    pivotal = {"tokens": 2, "learning_rate": 0.05, "encoders": "PIVOTAL_ENCODERS_TEXT_ENCODER_2"}
    change = {**PIVOTAL, "concept": {"pivotal": pivotal}, "optimization": {"steps": 3}}
    job = Job(place.put_job("job", change, base="xl", family="sdxl"))
    assert job.run() == 0
    return job, base


def test_of_two_encoders_the_one_that_is_not_trained_keeps_its_beginning(xl: tuple[Job, Path]) -> None:
    job, folder = xl
    tensors = embedding(job)
    assert set(tensors) == {"clip_l", "clip_g"}
    assert [len(tensors[key]) for key in ("clip_l", "clip_g")] == [2, 2]
    base = load_base("sdxl", folder, torch.device("cpu"), torch.float32)
    wanted = PivotalConfig(tag="lumi", tokens=2, learning_rate=0.05, initial_words="", encoders=("text_encoder_2",))
    first = {
        encoder.name: first_rows(wanted, encoder, encoder.network.get_input_embeddings().weight, 7)
        for encoder in base.text_encoders
    }
    torch.testing.assert_close(tensors["clip_l"], first["text_encoder"], rtol=0, atol=0)
    assert (tensors["clip_g"] - first["text_encoder_2"]).abs().max() > 0.01


def test_diffusers_loads_both_encoders_embeddings_and_reads_the_tag_as_the_trainer_does(xl: tuple[Job, Path]) -> None:
    job, folder = xl
    pipeline = StableDiffusionXLPipeline.from_pretrained(folder, local_files_only=True)
    tensors = embedding(job)
    pipeline.load_textual_inversion(tensors["clip_l"], token="<lumi>")
    pipeline.load_textual_inversion(
        tensors["clip_g"], token="<lumi>", text_encoder=pipeline.text_encoder_2, tokenizer=pipeline.tokenizer_2
    )
    with torch.no_grad():
        words, _, pooled, _ = pipeline.encode_prompt("a red <lumi>, star", do_classifier_free_guidance=False)
    base = load_base("sdxl", folder, torch.device("cpu"), torch.float32)
    for encoder, key in zip(base.text_encoders, ("clip_l", "clip_g"), strict=True):
        known = encoder.network.get_input_embeddings()
        encoder.network.set_input_embeddings(ExtendedEmbedding(known, [torch.nn.Parameter(tensors[key])]))
        encoder.new_tokens = NewTokens(new_tags([("lumi", 2)]), lambda: False)
    with torch.no_grad():
        ours = base.encode_captions(["a red lumi, star"])
    torch.testing.assert_close(ours.words, words)
    torch.testing.assert_close(ours.pooled, pooled)


def test_a_caption_s_end_is_found_behind_new_tokens_though_an_old_configuration_looks_for_the_largest_id(
    tmp_path: Path,
) -> None:
    """SDXL's second encoder makes its pooled text of the token with the largest id, if its configuration says eos_token_id 2."""
    base = load_base("sdxl", make_tiny_sdxl(tmp_path), torch.device("cpu"), torch.float32)
    encoder = base.text_encoders[1]
    network = encoder.network
    rows = torch.nn.Parameter(torch.randn(1, encoder.width))
    network.set_input_embeddings(ExtendedEmbedding(network.get_input_embeddings(), [rows]))
    encoder.new_tokens = NewTokens(new_tags([("lumi", 1)]), lambda: False)
    with torch.no_grad():
        expected = encoder.encode(["a lumi star"]).pooled
        network.text_model.eos_token_id = 2
        torch.testing.assert_close(encoder.encode(["a lumi star"]).pooled, expected)
