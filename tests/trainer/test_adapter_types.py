"""Every adapter type, from the spec to the picture: what its files mean is what the trainer drew."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from loramill import v1
from store.digests import sha256_of
from tests.trainer.jobs import Job, Jobs, terminate_once_asked_about
from tests.trainer.report.page import read_page
from tests.trainer.test_diffusers_interop import drawn_by_diffusers
from trainer.formats.reading import read_adapter

TYPES: dict[str, dict[str, object]] = {
    "LOCON, Tucker": {"type": "ADAPTER_TYPE_LOCON", "targets": "ADAPTER_TARGETS_ALL", "tucker": True},
    "LOHA": {"type": "ADAPTER_TYPE_LOHA", "targets": "ADAPTER_TARGETS_ALL"},
    "LOHA, Tucker": {"type": "ADAPTER_TYPE_LOHA", "targets": "ADAPTER_TARGETS_ALL", "tucker": True},
    "LOKR, full": {
        "type": "ADAPTER_TYPE_LOKR",
        "targets": "ADAPTER_TARGETS_ALL",
        "lokr": {"factor": 4, "full_matrix": True},
    },
    "LOKR, small": {"type": "ADAPTER_TYPE_LOKR", "rank": 2, "lokr": {"factor": -1}},
    "DYLORA": {"type": "ADAPTER_TYPE_DYLORA", "dylora": {"unit": 2, "mode": "DYLORA_MODE_JOINT"}},
    "LORA, everything dropped at times": {
        "dropout": 0.1,
        "rank_dropout": 0.2,
        "module_dropout": 0.1,
        "rank_stabilized": True,
        "lora_plus_ratio": 2,
    },
}


def trained(jobs: Jobs, name: str, adapter: dict[str, object], **change: object) -> Job:
    prompts = [{"prompt": "a red [tag]", "seed": 1}]
    job = jobs.new(
        name,
        {
            "adapter": adapter,
            "unet": {"learning_rate": 3e-2},
            "text_encoder": {"train": True, "learning_rate": 1e-2},
            "optimization": {"steps": 3},
            "previews": {"prompts": prompts},
            **change,
        },
    )
    assert job.run() == 0, job.log()
    return job


def merged_pipeline(base: Path, file: Path) -> StableDiffusionPipeline:
    """The base with the changes of an adapter's file added to its weights."""
    pipeline = StableDiffusionPipeline.from_pretrained(base, safety_checker=None, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    for layer in read_adapter(file).layers:
        network = pipeline.unet if layer.network == "unet" else pipeline.text_encoder
        weight = network.get_submodule(layer.path).weight
        weight.data += layer.delta().reshape(weight.shape)
    return pipeline


@pytest.mark.parametrize("case", TYPES)
def test_the_file_merged_into_the_base_draws_what_the_trainer_drew(
    case: str, jobs: Jobs, tiny_base: Path, drawn_by_trainer: dict[int, np.ndarray]
) -> None:
    job = trained(jobs, f"type {case}", TYPES[case])
    before, after = drawn_by_trainer[0], drawn_by_trainer[3]
    assert np.abs(after - before).max() > 0.01, "the adapter must be seen, or the test proves nothing"
    pipeline = merged_pipeline(tiny_base, job.file("adapter.safetensors"))
    np.testing.assert_allclose(drawn_by_diffusers(pipeline, job), after, atol=1e-4)

    adapter = job.adapter()
    assert v1.AdapterType.Name(adapter.type).removeprefix("ADAPTER_TYPE_") == case.partition(",")[0]
    plain = case.startswith(("LORA", "DYLORA"))
    formats = {file.format for file in adapter.files}
    assert v1.ADAPTER_FORMAT_PEFT in formats
    assert (v1.ADAPTER_FORMAT_DIFFUSERS in formats) is plain
    assert (v1.ADAPTER_FORMAT_CONVERTED in formats) is not plain


def test_the_converted_file_states_what_it_lacks(jobs: Jobs) -> None:
    job = trained(jobs, "converted", TYPES["LOHA"], outputs={"converted_rank": 2})
    (stated,) = (file for file in job.adapter().files if file.format == v1.ADAPTER_FORMAT_CONVERTED)
    whole, plain = (
        read_adapter(job.file(f"adapter{ending}")).layers for ending in (".safetensors", ".lora.safetensors")
    )
    deltas = {layer.name: layer.delta(torch.float64) for layer in whole}
    lost = sum(float((layer.delta(torch.float64) - deltas[layer.name]).square().sum()) for layer in plain)
    total = sum(float(delta.square().sum()) for delta in deltas.values())
    assert stated.rank == 2
    assert 0.05 < stated.relative_error < 1
    assert stated.relative_error == pytest.approx((lost / total) ** 0.5, rel=1e-4)
    assert {layer.rank for layer in plain} == {2}
    said = f"at most rank 2; lacks {100 * stated.relative_error:.2g} % of the change"
    assert said in job.file("report.html").read_text()


@pytest.mark.parametrize("case", ["LOKR, full", "DYLORA"])
def test_the_report_s_script_for_diffusers_draws_the_preview(
    case: str, jobs: Jobs, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = trained(jobs, f"script {case}", TYPES[case])
    page = read_page(job.file("report.html").read_text())
    (script,) = (element.text for element in page.all("code") if "from_pretrained" in element.text)
    for file in job.run_folder.glob("adapters/final/*"):
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "shapes").symlink_to(tiny_base)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    exec(compile(script, "draw.py", "exec"), {})
    drawn, preview = (
        np.asarray(Image.open(path), dtype=int)
        for path in (tmp_path / "picture.png", next(job.run_folder.glob("previews/0000003/*.png")))
    )
    assert np.abs(drawn - preview).max() <= 1


def test_no_conversion_where_none_is_asked_for(jobs: Jobs) -> None:
    job = trained(jobs, "unconverted", TYPES["LOKR, small"], outputs={"converted_rank": 0})
    assert v1.ADAPTER_FORMAT_CONVERTED not in {file.format for file in job.adapter().files}


def test_a_dylora_leaves_a_file_for_every_rank_it_was_trained_at(jobs: Jobs, tiny_base: Path) -> None:
    job = trained(jobs, "dylora files", {**TYPES["DYLORA"], "rank": 6, "alpha": 3})
    cut = [file for file in job.adapter().files if file.format == v1.ADAPTER_FORMAT_TRUNCATED]
    assert [(file.file_name, file.rank) for file in cut] == [
        ("adapter.rank-002.safetensors", 2),
        ("adapter.rank-004.safetensors", 4),
    ]
    whole = load_file(job.file("adapter.safetensors"))
    part = load_file(job.file("adapter.rank-002.safetensors"))
    key = next(key.removesuffix(".alpha") for key in part if key.endswith(".alpha"))
    torch.testing.assert_close(part[f"{key}.lora_down.weight"], whole[f"{key}.lora_down.weight"][:2], rtol=0, atol=0)
    assert part[f"{key}.alpha"].item() / 2 == pytest.approx(3 / 6 * (6 / 2) ** 0.5), "(alpha / r) sqrt(r / b)"
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_base, safety_checker=None, local_files_only=True)
    pipeline.load_lora_weights(job.file("adapter.rank-002.safetensors"))


@pytest.mark.parametrize("case", ["DYLORA", "LORA, everything dropped at times"])
def test_what_is_drawn_by_the_step_is_drawn_again_after_a_resume(
    case: str, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan: dict[str, object] = {"optimization": {"steps": 6, "batch_size": 1}}
    whole = trained(jobs, f"whole {case}", TYPES[case], **plan)
    stopped = jobs.new(f"stopped {case}", {**json.loads(json.dumps(_spec_of(whole)))})
    with monkeypatch.context() as patch:
        terminate_once_asked_about(patch, step=2)
        assert stopped.run() == v1.EXIT_CODE_PREEMPTED
    again = stopped.launched_again()
    assert again.run() == 0
    assert again.adapter().tensors_sha256 == whole.adapter().tensors_sha256


def _spec_of(job: Job) -> dict[str, object]:
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(job.assignment.spec, preserving_proto_field_name=True)


RULES = [
    {"pattern": "unet.mid_block.*", "train": False},
    {"pattern": "unet.up_blocks.*attn2.to_k", "rank": 8},
    {"pattern": "unet.up_blocks.*", "alpha": 1, "learning_rate": 1e-3},
]


def test_rules_give_layers_ranks_alphas_and_rates_of_their_own(jobs: Jobs) -> None:
    job = trained(jobs, "rules", {"rules": RULES})
    layers = {layer.path: layer for layer in read_adapter(job.file("adapter.safetensors")).layers}
    assert not [path for path in layers if path.startswith("mid_block")]
    key, query = (f"up_blocks.0.attentions.0.transformer_blocks.0.attn2.to_{name}" for name in ("k", "q"))
    other = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    assert [layers[path].rank for path in (key, query, other)] == [8, 4, 4]
    page = read_page(job.file("report.html").read_text())
    rows = [element.text.split() for element in page.all("tr")]
    told = [row[-3:] for row in rows if row[:1] == ["UNet"]]
    assert told == [["4", "2", "0.03"], ["4", "1", "0.001"], ["8", "4", "0.03"]], "rank, alpha, peak rate"


def refused(jobs: Jobs, name: str, change: dict[str, object], initial: Path | None = None) -> str:
    job = jobs.new(name, change, initial=initial)
    assert job.run() == v1.EXIT_CODE_USER_ERROR
    return job.end.message


def test_a_rule_that_matches_nothing_is_an_error(jobs: Jobs) -> None:
    said = refused(jobs, "stray rule", {"adapter": {"rules": [{"pattern": "unet.no_such.*", "rank": 2}]}})
    assert "'unet.no_such.*', which matches none of the" in said
    said = refused(jobs, "no layer", {"adapter": {"rules": [{"pattern": "unet.*", "train": False}]}})
    assert "leave no layer of the base's unet to train" in said


@pytest.mark.parametrize("name", ["adapter.safetensors", "adapter.diffusers.safetensors"])
def test_a_job_goes_on_from_a_file(name: str, jobs: Jobs, finished: Job) -> None:
    """At a rate of almost nothing the file comes out as it went in, with its own ranks and alphas."""
    job = jobs.new(
        f"warm {name}",
        {
            "adapter": {"initial_adapter": "adapters/a"},
            "unet": {"learning_rate": 1e-12},
            "text_encoder": {"train": True, "learning_rate": 1e-12},
            "optimization": {"steps": 1, "weight_decay": 0},
        },
        initial=finished.file(name),
    )
    assert job.run() == 0, job.log()
    old, new = (
        {layer.name: layer for layer in read_adapter(path).layers}
        for path in (finished.file(name), job.file("adapter.safetensors"))
    )
    assert old.keys() == new.keys()
    for path, layer in new.items():
        assert (layer.rank, layer.alpha) == (old[path].rank, pytest.approx(old[path].alpha))
        torch.testing.assert_close(layer.delta(), old[path].delta(), rtol=1e-5, atol=1e-7)


def test_what_a_job_cannot_go_on_from_is_said(jobs: Jobs, finished: Job, tmp_path: Path) -> None:
    warm: dict[str, object] = {"adapter": {"initial_adapter": "adapters/a", "type": "ADAPTER_TYPE_LOHA"}}
    said = refused(jobs, "other type", warm, finished.file("adapter.safetensors"))
    assert "holds LoRA tensors, but adapter.type loha is made of LoHa" in said
    assert "adapts the base's text_encoder; set text_encoder.train to true" in said

    other = tmp_path / "other.safetensors"
    tensors = load_file(finished.file("adapter.safetensors"))
    renamed = {key.replace("mid_block", "down_blocks_7"): value for key, value in tensors.items()}
    from safetensors.torch import save_file

    save_file(renamed, other)
    warm = {"adapter": {"initial_adapter": "adapters/a"}, "text_encoder": {"train": True, "learning_rate": 1e-3}}
    assert "The base model lacks" in refused(jobs, "other base", warm, other)


def test_the_file_to_go_on_from_is_pinned(jobs: Jobs, finished: Job, tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(finished.file("adapter.safetensors").read_bytes())
    job = jobs.new("pinned", {"adapter": {"initial_adapter": "adapters/a"}}, initial=file)
    assert job.assignment.initial_adapter_sha256 == sha256_of(file)
    file.write_bytes(finished.file("adapter.diffusers.safetensors").read_bytes())
    assert job.run() == v1.EXIT_CODE_USER_ERROR
    assert "is another than the one this job was accepted with" in job.end.message


def test_the_set_that_is_trained_is_told(finished: Job) -> None:
    with safe_open(finished.file("adapter.safetensors"), "pt") as file:
        modules = {key.partition(".")[0] for key in file.keys()}  # noqa: SIM118 (it is no mapping)
    unet = sum(module.startswith("lora_unet") for module in modules)
    assert f'"layers": {{"unet": {unet}, "text_encoder": {len(modules) - unet}}}' in finished.log()
