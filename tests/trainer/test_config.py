"""Assignment → configuration: every problem at once, nothing ignored."""

from __future__ import annotations

import dataclasses

import pytest

from loramill import v1
from tests.trainer.small_training import config_of
from trainer.config_reading import read_config
from trainer.errors import UserError


def test_everything_that_a_bare_spec_lacks_is_named_at_once() -> None:
    with pytest.raises(UserError) as raised:
        read_config(v1.Assignment(base_model=v1.BaseModel(family="sd15")))
    said = " ".join(raised.value.problems)
    for field in (
        "dataset.resolution",
        "adapter.rank",
        "adapter.alpha",
        "adapter.targets",
        "unet.learning_rate",
        "optimization.steps nor optimization.epochs",
        "optimization.batch_size",
        "optimization.schedule",
        "optimization.seed",
        "previews.guidance_scale",
    ):
        assert field in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"optimization": {"optimizer": 99}},
            "optimization.optimizer is unset or not supported by this trainer; it can do",
        ),
        ({"loss": {"type": 99}}, "loss.type is unset or not supported by this trainer; it can do: mse"),
        ({"adapter": {"type": 99}}, "adapter.type is unset or not supported by this trainer; it can do: lora, locon"),
        ({"unet": {"train": False}}, "Neither unet.train nor text_encoder.train"),
        ({"text_encoder": {"train": True}}, "text_encoder.learning_rate"),
        ({"concept": {"prior_preservation": {"enabled": True}}}, "enabled without captions"),
        ({"dataset": {"crop": 99}}, "dataset.crop is unset or not supported by this trainer; it can do: center"),
    ],
)
def test_what_this_trainer_cannot_do_is_refused_by_name(change: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        config_of(change)


def test_what_the_base_knows_is_kept_for_every_concept() -> None:
    concepts = [
        {"activation_tag": "zorp", "prior_preservation": {"captions": ["a cat", "a dog"]}},
        {"class_words": "car"},
    ]
    own = {"prior_preservation": {"enabled": True, "captions": ["a dog", "a dog"], "weight": 0.5}}
    prior = config_of({"concept": own, "concepts": concepts}).prior
    assert prior is not None
    assert (prior.captions, prior.weight) == (("a dog", "a dog", "a cat", "car"), 0.5)
    off = {"prior_preservation": {"enabled": False}}
    assert config_of({"concept": off}).prior is None
    others = config_of({"concept": off, "concepts": concepts}).prior
    assert others is not None
    assert others.captions == ("a cat", "a dog", "car")


def test_a_subset_has_the_tag_and_the_weight_of_its_concept() -> None:
    subsets = [
        {"path_prefix": "a/", "weight": 2},
        {"path_prefix": "b/", "concept": "zorp"},
        {"path_prefix": "c/", "concept": "zorp", "class_images": True, "weight": 2},
    ]
    concept = {"prior_preservation": {"enabled": False, "weight": 0.25}}
    config = config_of({"dataset": {"subsets": subsets}, "concept": concept, "concepts": [{"activation_tag": "zorp"}]})
    assert [(one.activation_tag, one.weight) for one in config.subsets] == [("lumi", 2), ("zorp", 1), ("", 0.5)]
    assert config.activation_tags == ("lumi", "zorp")
    with pytest.raises(UserError, match="A subset names the concept 'blub'"):
        config_of({"dataset": {"subsets": [{"concept": "blub"}]}})


def test_previews_say_the_activation_tag() -> None:
    previews = {"prompts": [{"prompt": "a red [tag]", "negative_prompt": "no [tag]"}, {"prompt": "x", "seed": 9}]}
    first, second = config_of({"previews": previews}).previews.prompts
    assert (first.prompt, first.negative_prompt, first.seed) == ("a red lumi", "no lumi", 0)
    assert second.seed == 9
    unasked = config_of({"previews": {"prompts": []}}).previews.prompts
    assert [(prompt.prompt, prompt.seed) for prompt in unasked] == [("lumi", 0), ("lumi", 1)]
    wordless = {"previews": {"prompts": []}, "concept": {"activation_tag": ""}}
    assert config_of(wordless).previews.prompts == ()


@pytest.mark.parametrize(
    ("prior", "class_words", "expected"),
    [
        ({}, "", None),
        ({}, "dog", (("dog",), 16)),
        ({"enabled": False}, "dog", None),
        ({"captions": ["a", "b"]}, "dog", (("a", "b"), 16)),
        ({"captions": [str(n) for n in range(20)]}, "", (tuple(str(n) for n in range(20)), 40)),
        ({"captions": ["a"], "images": 3}, "", (("a",), 3)),
    ],
)
def test_when_the_prior_is_preserved(
    prior: dict[str, object], class_words: str, expected: tuple[tuple[str, ...], int] | None
) -> None:
    found = config_of({"concept": {"class_words": class_words, "prior_preservation": prior}}).prior
    assert (None if found is None else (found.captions, found.images)) == expected


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        config_of().output_name = "other"
