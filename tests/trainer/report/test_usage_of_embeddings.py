from __future__ import annotations

import dataclasses

from trainer.report.data import TagEmbedding, Usage
from trainer.report.usage import a1111_prompt, comfyui_workflow, diffusers_script, snippets

USAGE = Usage(
    kohya_file="a.safetensors",
    diffusers_file="a.diffusers.safetensors",
    base="shapes",
    checkpoint_file="shapes.safetensors",
    prompt="a red Lumi heart (big)",
    activation_tag="lumi heart",
    embeddings=(TagEmbedding(tag="lumi heart", file="a.embedding.safetensors"),),
)


def test_the_report_tells_each_program_how_the_tag_is_called() -> None:
    script = diffusers_script(USAGE)
    assert "load_textual_inversion(\".\", weight_name='a.embedding.safetensors', token='<lumi-heart>')" in script
    assert "'a red <lumi-heart> (big)'" in script
    assert "a red embedding:lumi-heart \\\\(big\\\\)" in comfyui_workflow(USAGE)
    assert a1111_prompt(USAGE).startswith("a red lumi-heart \\(big\\) <lora:a:1>")


def test_the_report_says_where_the_embeddings_go() -> None:
    _, comfyui, a1111 = snippets(USAGE)
    assert "a.embedding.safetensors into models/embeddings as lumi-heart.safetensors" in comfyui.before
    assert "a.embedding.safetensors into embeddings as lumi-heart.safetensors" in a1111.before


def test_of_two_encoders_each_gets_its_own() -> None:
    both = (TagEmbedding(tag="lumi heart", file="a.embedding.safetensors", encoders=2),)
    script = diffusers_script(dataclasses.replace(USAGE, embeddings=both))
    assert "from safetensors.torch import load_file" in script
    assert "pipeline.load_textual_inversion(embeddings[\"clip_l\"], token='<lumi-heart>')" in script
    assert "embeddings[\"clip_g\"], token='<lumi-heart>', text_encoder=pipeline.text_encoder_2" in script
    compile(script, "draw.py", "exec")
