from __future__ import annotations

import dataclasses
import json
import sys
import types
from unittest.mock import MagicMock

import pytest

from tests.trainer.report.page import read_page
from tests.trainer.report.samples import HOSTILE, whole_report
from trainer.report.data import Usage
from trainer.report.document import render
from trainer.report.usage import a1111_prompt, comfyui_workflow, diffusers_script

USAGE = Usage(
    kohya_file="my.zorp.safetensors",
    diffusers_file="my.zorp.diffusers.safetensors",
    base="bases/shapes",
    checkpoint_file="shapes.safetensors",
    prompt="a red zorp (big) [toy]",
    activation_tag="zorp",
    width=64,
    height=96,
    seed=7,
    steps=12,
    guidance_scale=3,
    strength=0.8,
)


@pytest.mark.parametrize("prompt", [USAGE.prompt, 'it\'s "so"', "back\\slash\nline", HOSTILE])
def test_the_diffusers_script_runs_and_asks_for_what_it_should(monkeypatch: pytest.MonkeyPatch, prompt: str) -> None:
    diffusers, torch = MagicMock(), MagicMock()
    torch.cuda.is_available.return_value = False
    monkeypatch.setitem(sys.modules, "diffusers", diffusers)
    monkeypatch.setitem(sys.modules, "torch", torch)
    script = diffusers_script(dataclasses.replace(USAGE, prompt=prompt))
    exec(compile(script, "draw.py", "exec"), types.ModuleType("draw").__dict__)

    load = diffusers.StableDiffusionPipeline.from_pretrained
    load.assert_called_once_with("bases/shapes")
    load.return_value.to.assert_called_once_with("cpu")
    pipeline = load.return_value
    pipeline.load_lora_weights.assert_called_once_with(
        ".", weight_name="my.zorp.diffusers.safetensors", adapter_name="adapter"
    )
    pipeline.set_adapters.assert_called_once_with("adapter", 0.8)
    (given,), options = pipeline.call_args
    assert given == prompt
    assert (options["width"], options["height"], options["num_inference_steps"]) == (64, 96, 12)
    torch.Generator.return_value.manual_seed.assert_called_once_with(7)


def test_the_comfyui_workflow_is_whole() -> None:
    nodes = json.loads(comfyui_workflow(USAGE))
    for node in nodes.values():
        for value in node["inputs"].values():
            if isinstance(value, list):
                assert value[0] in nodes, "a link leads nowhere"
    by_type = {node["class_type"]: node["inputs"] for node in nodes.values()}
    assert by_type["LoraLoader"]["lora_name"] == "my.zorp.safetensors"
    assert by_type["CheckpointLoaderSimple"]["ckpt_name"] == "shapes.safetensors"
    assert (by_type["KSampler"]["seed"], by_type["KSampler"]["cfg"]) == (7, 3)
    assert nodes[by_type["KSampler"]["positive"][0]]["inputs"]["text"] == "a red zorp \\(big\\) [toy]"


def test_the_a1111_prompt_calls_the_file_by_its_name_and_weights_nothing() -> None:
    assert a1111_prompt(USAGE) == "a red zorp \\(big\\) \\[toy\\] <lora:my.zorp:0.8>"


def test_snippets_come_out_of_the_page_as_they_went_in() -> None:
    usage = dataclasses.replace(USAGE, prompt=HOSTILE)
    page = read_page(render(dataclasses.replace(whole_report(), usage=usage)))
    codes = [element.text for element in page.all("code")]
    assert diffusers_script(usage) in codes
    assert json.loads(next(code for code in codes if code.startswith("{")))["3"]["inputs"]["text"] == HOSTILE.replace(
        "(", "\\("
    ).replace(")", "\\)")


@pytest.mark.parametrize(("tag", "words"), [("zorp", "Its activation tag is zorp"), ("", "It has no activation tag")])
def test_the_page_says_how_the_adapter_is_called(tag: str, words: str) -> None:
    usage = dataclasses.replace(USAGE, activation_tag=tag)
    assert words in render_text(usage)


def render_text(usage: Usage) -> str:
    page = read_page(render(dataclasses.replace(whole_report(), usage=usage)))
    return " ".join(element.text for element in page.all("p", "lead"))
