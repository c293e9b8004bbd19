"""What the fields on pictures, subsets, captions and concepts ask of each other, and what fills those that are unset."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from loramill import v1
from service import presets
from tests.service.api.specs import BASE, found, spec_of, valid, without_sources

FILE, ALPHA, RANDOM, FIXED = "MASK_SOURCE_FILE", "MASK_SOURCE_ALPHA", "CROP_RANDOM", "CAPTION_SOURCE_FIXED"
DOG, CAT = {"activation_tag": "gr2mpy", "class_words": "dog"}, {"class_words": "cat"}


def with_(dataset: dict[str, Any], **spec: Any) -> v1.TrainingSpec:
    return ParseDict({"dataset": dataset, **spec}, valid())


def captions(**rules: Any) -> v1.TrainingSpec:
    return with_({"subsets": [{"captions": rules}]})


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (with_({"masks": FILE, "mask_folder": "masks"}), {}),
        (with_({"masks": ALPHA, "mask_folder": "masks"}), {"dataset.mask_folder": "CONFLICT"}),
        (with_({"crop": RANDOM, "crop_variants": 64}), {}),
        (with_({"crop": RANDOM, "crop_variants": 1}), {"dataset.crop_variants": "OUT_OF_RANGE"}),
        (with_({"crop": RANDOM, "crop_variants": 65}), {"dataset.crop_variants": "OUT_OF_RANGE"}),
        (with_({"crop": "CROP_SMART", "crop_variants": 4}), {"dataset.crop_variants": "CONFLICT"}),
        (captions(separator=";", keep_separator="|||", group_separator="+", shuffle_tags=True, variants=256), {}),
        (captions(shuffle_tags=True, variants=0), {"dataset.subsets[0].captions.variants": "OUT_OF_RANGE"}),
        (captions(wildcards=True, variants=257), {"dataset.subsets[0].captions.variants": "OUT_OF_RANGE"}),
        (captions(keep_tags=2, variants=4), {"dataset.subsets[0].captions.variants": "CONFLICT"}),
        (captions(keep_separator=","), {"dataset.subsets[0].captions.keep_separator": "CONFLICT"}),
        (captions(keep_separator=",,"), {}),
        (captions(separator=";", group_separator=";;;"), {"dataset.subsets[0].captions.group_separator": "CONFLICT"}),
        (
            captions(keep_separator="|||", group_separator="|||"),
            {
                "dataset.subsets[0].captions.keep_separator": "CONFLICT",
                "dataset.subsets[0].captions.group_separator": "CONFLICT",
            },
        ),
        (captions(lines_as_alternatives=True), {}),
        (
            captions(source=FIXED, lines_as_alternatives=True),
            {"dataset.subsets[0].captions.lines_as_alternatives": "CONFLICT"},
        ),
    ],
)
def test_pictures_and_captions(spec: v1.TrainingSpec, expected: dict[str, str]) -> None:
    assert found(spec) == expected


@pytest.mark.parametrize(
    ("subsets", "concepts", "expected"),
    [
        ([{"path_prefix": "a/"}, {"path_prefix": "b/", "concept": "gr2mpy"}], [DOG], {}),
        ([{"path_prefix": "a/", "concept": "zyx"}, {"path_prefix": "b/", "concept": "cat"}], [CAT], {}),
        ([{"concept": "dog"}], [], {"dataset.subsets[0].concept": "NOT_FOUND"}),
        ([{"path_prefix": "a/"}], [DOG], {"concepts[0]": "CONFLICT"}),
        ([], [DOG], {"concepts[0]": "CONFLICT"}),
        ([{"concept": "gr2mpy"}], [DOG], {"concept": "CONFLICT"}),
        (
            [{"path_prefix": "a/"}, {"path_prefix": "b/", "concept": "zyx"}],
            [{"activation_tag": "ZYX"}],
            {"concepts[0]": "DUPLICATE"},
        ),
        ([{}], [{}], {"concepts[0].activation_tag": "REQUIRED"}),
        (
            [{"path_prefix": "a/"}, {"path_prefix": "b/", "concept": "gr2mpy"}],
            [{**DOG, "prior_preservation": {"captions": ["a cat"], "weight": 2}}],
            {"concepts[0].prior_preservation.weight": "CONFLICT"},
        ),
        ([{"class_images": True}], [], {"dataset.subsets": "CONFLICT"}),
        (
            [{"path_prefix": "a/"}, {"path_prefix": "b/", "class_images": True, "captions": {"source": FIXED}}],
            [],
            {"dataset.subsets[1].captions.text": "REQUIRED"},
        ),
        (
            [
                {"path_prefix": "a/"},
                {"path_prefix": "b/", "concept": "gr2mpy"},
                {"path_prefix": "c/", "concept": "gr2mpy", "class_images": True, "captions": {"source": FIXED}},
            ],
            [DOG],
            {},
        ),
    ],
)
def test_subsets_and_what_they_show(
    subsets: list[dict[str, Any]], concepts: list[dict[str, Any]], expected: dict[str, str]
) -> None:
    assert found(with_({"subsets": subsets}, concepts=concepts)) == expected


def test_too_many_concepts() -> None:
    concepts = [{"activation_tag": f"tag{n}"} for n in range(33)]
    subsets = [
        {"path_prefix": "x"},
        *({"path_prefix": tag["activation_tag"], "concept": tag["activation_tag"]} for tag in concepts),
    ]
    assert found(with_({"subsets": subsets}, concepts=concepts)) == {"concepts": "OUT_OF_RANGE"}
    assert found(with_({"subsets": subsets[:-1]}, concepts=concepts[:-1])) == {}


RESOLVED = [
    with_({"crop": RANDOM, "masks": FILE, "mask_folder": "masks", "background": "#000000", "flip_probability": 0.5}),
    captions(shuffle_tags=True, keep_separator="|||"),
    with_(
        {
            "subsets": [
                {"path_prefix": "a/"},
                {"path_prefix": "b/", "concept": "cat"},
                {"path_prefix": "c/", "class_images": True},
            ]
        },
        concepts=[CAT],
    ),
    with_({"subsets": [{"path_prefix": "a/"}, {"path_prefix": "b/", "class_images": True}]}, concept=DOG),
]


@pytest.mark.parametrize("spec", RESOLVED)
def test_a_resolved_spec_is_valid_and_resolves_to_itself(spec: v1.TrainingSpec) -> None:
    resolved = presets.resolve(spec, BASE, seed=5)
    assert found(resolved) == {}
    assert without_sources(presets.resolve(resolved, BASE, seed=6)) == without_sources(resolved)


def test_what_is_unset_is_filled_in() -> None:
    masked, shuffled, several = (presets.resolve(spec, BASE, seed=5) for spec in RESOLVED[:3])
    assert masked.dataset.crop_variants == 4
    assert masked.dataset.subsets[0].flip_probability == 0.5
    assert shuffled.dataset.subsets[0].captions.variants == 16
    plain = presets.resolve(spec_of(), BASE, seed=5).dataset
    assert (plain.background, plain.masks) == ("#ffffff", v1.MASK_SOURCE_NONE)
    assert not plain.HasField("crop_variants")
    assert not plain.subsets[0].captions.HasField("variants")

    # The base's knowledge of every concept is kept, by one weight, ratio and number of pictures.
    prior, of_cats = several.concept.prior_preservation, several.concepts[0].prior_preservation
    assert (prior.enabled, list(prior.captions), prior.weight, prior.images) == (False, [], 1, 16)
    assert (of_cats.enabled, list(of_cats.captions), of_cats.HasField("images")) == (True, ["cat"], False)
    assert [prompt.prompt for prompt in several.previews.prompts] == ["[tag]", "a picture of [tag]", "cat"]


def test_given_class_pictures_take_the_place_of_those_that_the_base_makes() -> None:
    spec = presets.resolve(RESOLVED[3], BASE, seed=5)
    assert not spec.concept.prior_preservation.enabled
    assert spec.concept.prior_preservation.weight == 1
    captions = spec.dataset.subsets[1].captions
    assert (captions.source, captions.text) == (v1.CAPTION_SOURCE_FILE_OR_FIXED, "dog")
