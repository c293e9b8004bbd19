"""The model card, read back by the hub's own library; what users wrote does nothing in it."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest
from huggingface_hub import ModelCard

from tests.trainer.report.samples import HOSTILE
from tests.trainer.report.test_usage import USAGE
from trainer.report.data import SavedFile
from trainer.report.model_card import CardFacts, model_card
from trainer.report.text import visible

FACTS = CardFacts(
    title="My zorp",
    kind="LoHa",
    family="sd15",
    base="my-sd15",
    base_source="hf://owner/repo@0123456789/sub/folder",
    license="creativeml-openrail-m",
    steps=300,
    pictures=12,
    resolution=512,
    created=datetime(2026, 1, 2, tzinfo=UTC),
    prompts=[("a red zorp", "")],
    sheet="contact-sheet.png",
    usage=USAGE,
    files=[SavedFile(name="zorp.safetensors", what="the adapter", size_bytes=5, note="rank 8")],
)


def read(facts: CardFacts) -> ModelCard:
    card = ModelCard(model_card(facts), ignore_metadata_errors=False)
    assert card.data.to_dict()["pipeline_tag"] == "text-to-image"
    return card


def test_a_base_of_the_hub_is_named_as_there() -> None:
    card = read(FACTS)
    assert (card.data.base_model, card.data.license, card.data.library_name) == (
        "owner/repo",
        "creativeml-openrail-m",
        "diffusers",
    )
    assert card.data.tags == ["text-to-image", "diffusers", "lora", "loha", "sd15", "template:sd-lora"]
    assert "[owner/repo](https://huggingface.co/owner/repo)" in card.text
    assert "Its activation tag is `zorp`" in card.text
    assert "| zorp.safetensors | the adapter \\(rank 8\\) |" in card.text


@pytest.mark.parametrize(
    ("license_", "said"),
    [
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("My own\nlicence", {"license": "other", "license_name": "My own licence"}),
        ("", {}),
    ],
)
def test_licences_are_the_hub_s_or_other(license_: str, said: dict[str, str]) -> None:
    told = read(dataclasses.replace(FACTS, license=license_)).data.to_dict()
    assert {key: value for key, value in told.items() if key.startswith("license")} == said


@pytest.mark.parametrize(
    "text", [HOSTILE, "---\nlicense: mit\n---", "a: [b", "```\n# no heading\n```", "`tick` | *star*"]
)
def test_what_users_wrote_stays_a_text(text: str) -> None:
    usage = dataclasses.replace(USAGE, prompt=text, activation_tag=text)
    facts = dataclasses.replace(FACTS, title=text, base=text, base_source="", prompts=[(text, text)], usage=usage)
    card = read(facts)
    told = card.data.to_dict()
    assert told["license"] == "creativeml-openrail-m"
    assert told["widget"] == [{"text": visible(text), "parameters": {"negative_prompt": visible(text)}}]
    assert told["instance_prompt"] == visible(text)
    headings = [line for line in card.text.splitlines() if line.startswith("#")]
    assert [heading.partition(" ")[2] for heading in headings[1:]] == [
        "How to use it",
        "diffusers",
        "ComfyUI",
        "A1111 and Forge",
        "Files",
    ]
    assert "<script" not in headings[0].replace("\\<", "")
    assert "\u202e" not in card.content
