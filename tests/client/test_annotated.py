"""A resolved spec says behind each field where its value came from, and stays the same spec."""

from __future__ import annotations

from loramill import v1
from loramill.annotated import dump_annotated
from loramill.spec import read_spec


def resolved() -> v1.TrainingSpec:
    spec = v1.TrainingSpec(base_model="baseModels/shapes", display_name="a: b # c")
    spec.dataset.dataset = "datasets/0000000000000000"
    spec.adapter.rank = 16
    spec.previews.prompts.add(prompt="word " * 60, seed=1)
    spec.previews.guidance_scale = 3
    for field, source in (
        ("base_model", "given"),
        ("display_name", "given"),
        ("adapter.rank", "preset sd15/lora/style (a guide)"),
        ("previews.prompts", "default"),
        ("previews.guidance_scale", "preset for pictures of 64 pixels"),
    ):
        spec.sources.add(field=field, source=source)
    return spec


def test_each_field_has_its_source_behind_it() -> None:
    lines = dump_annotated(resolved()).splitlines()
    said = {line.partition("#")[0].strip(): line.rpartition("# ")[2] for line in lines if "  # " in line}
    assert said["rank: 16"] == "preset sd15/lora/style (a guide)"
    assert said["prompts:"] == "default"
    assert said["guidance_scale: 3.0"] == "preset for pictures of 64 pixels"
    assert not any("sources" in line for line in lines)


def test_it_reads_as_the_same_spec() -> None:
    spec = resolved()
    again = read_spec(dump_annotated(spec), [], source="here")
    del spec.sources[:]
    assert again == spec
