"""What a dataset knows reaches the jobs on it, and what its names show is refused before a launch."""

from __future__ import annotations

import grpc
import pytest

from loramill import v1
from service.dataset_names import violations_of_names
from service.suggestions import warnings, with_suggestions
from tests.service.api.api import Api, error_of


def create(spec: v1.TrainingSpec) -> v1.CreateTrainingJobRequest:
    return v1.CreateTrainingJobRequest(spec=spec)


SUGGESTED = v1.SuggestedSpec(
    dataset=v1.DatasetSpec(
        resolution=128,
        flip_probability=0.5,
        subsets=[
            v1.SubsetSpec(path_prefix="10_sks dog/", repeats=10),
            v1.SubsetSpec(path_prefix="2_ann woman/", concept="ann"),
        ],
    ),
    concept=v1.ConceptSpec(activation_tag="sks", class_words="dog"),
    concepts=[v1.ConceptSpec(activation_tag="ann", class_words="woman")],
)
DATASET = v1.Dataset(suggested=SUGGESTED)


def test_what_is_open_is_filled_in_and_told() -> None:
    spec = v1.TrainingSpec(dataset=v1.DatasetSpec(dataset="datasets/x", flip_probability=0))
    filled = with_suggestions(spec, DATASET)
    assert list(filled.dataset.subsets) == list(SUGGESTED.dataset.subsets)
    assert (filled.dataset.dataset, filled.dataset.resolution, filled.dataset.flip_probability) == (
        "datasets/x",
        128,
        0,
    )
    assert (filled.concept, list(filled.concepts)) == (SUGGESTED.concept, list(SUGGESTED.concepts))
    assert [sentence.partition(":")[0] for sentence in warnings(spec, DATASET)] == [
        "dataset.subsets are those that the dataset was found to have",
        "dataset.resolution",
        "concept.activation_tag is 'sks' and 'ann', as the dataset's folders are named.",
    ]


def test_what_a_spec_says_stays() -> None:
    spec = v1.TrainingSpec(
        dataset=v1.DatasetSpec(
            subsets=[v1.SubsetSpec(path_prefix="a/", repeats=2)], resolution=64, flip_probability=0.1
        ),
        concept=v1.ConceptSpec(class_words="cat"),
    )
    assert with_suggestions(spec, DATASET) == spec
    assert warnings(spec, DATASET) == []
    assert with_suggestions(spec, v1.Dataset()) is spec
    assert with_suggestions(spec, None) is spec


def test_one_subset_of_everything_is_laid_over_those_of_the_dataset() -> None:
    rules = v1.SubsetSpec(captions=v1.CaptionSpec(shuffle_tags=True))
    filled = with_suggestions(v1.TrainingSpec(dataset=v1.DatasetSpec(subsets=[rules])), DATASET)
    assert [
        (subset.path_prefix, subset.repeats, subset.captions.shuffle_tags) for subset in filled.dataset.subsets
    ] == [
        ("10_sks dog/", 10, True),
        ("2_ann woman/", 0, True),
    ]


async def _dataset(api: Api, suggested: v1.SuggestedSpec, *paths: str) -> str:
    opened = await api.datasets.CreateDataset(v1.CreateDatasetRequest(dataset=v1.Dataset(suggested=suggested)))
    for path in paths:
        await api.upload(opened.name, path, path.encode())
    await api.datasets.FinalizeDataset(v1.FinalizeDatasetRequest(name=opened.name))
    return opened.name


@pytest.mark.asyncio(loop_scope="module")
async def test_a_job_has_the_datasets_subsets_and_tag(api: Api) -> None:
    suggested = v1.SuggestedSpec(
        dataset=v1.DatasetSpec(subsets=[v1.SubsetSpec(path_prefix="10_sks dog/", repeats=10)]),
        concept=v1.ConceptSpec(activation_tag="sks", class_words="dog"),
    )
    name = await _dataset(api, suggested, "10_sks dog/1.png", "10_sks dog/1.txt")
    spec = await api.spec()
    spec.dataset.dataset = name
    spec.ClearField("concept")
    job = await api.training.CreateTrainingJob(create(spec))
    assert (job.spec.dataset.subsets[0].repeats, job.spec.concept.activation_tag) == (10, "sks")
    assert any("10_sks dog/' with 10 repeats" in warning for warning in job.warnings)
    sources = {source.field: source.source for source in job.spec.sources}
    assert (sources["dataset.subsets"], sources["concept.activation_tag"]) == ("dataset", "dataset")
    assert sources["base_model"] == "given"


@pytest.mark.asyncio(loop_scope="module")
async def test_suggestions_are_held_to_the_bounds_of_a_spec(api: Api) -> None:
    suggested = v1.SuggestedSpec(dataset=v1.DatasetSpec(subsets=[v1.SubsetSpec(repeats=0)]))
    request = v1.CreateDatasetRequest(
        dataset=v1.Dataset(suggested=suggested, input=v1.DatasetInput(notes=["x"] * 101, source="s" * 1001))
    )
    answer = await error_of(api.datasets.CreateDataset(request))
    assert {"dataset.suggested.dataset.subsets[0].repeats", "dataset.input.source", "dataset.input.notes"} <= set(
        answer.violations
    )


@pytest.mark.asyncio(loop_scope="module")
async def test_pictures_without_captions_take_no_gpu(api: Api) -> None:
    spec = await api.spec()
    spec.dataset.dataset = await _dataset(api, v1.SuggestedSpec(), "a/1.png", "a/1.txt", "b/2.png")
    answer = await error_of(api.training.CreateTrainingJob(create(spec)))
    assert answer.code == grpc.StatusCode.INVALID_ARGUMENT
    assert answer.reasons == {"spec.dataset.subsets[0].captions.source": "NO_CAPTION"}
    assert "'b/2.png'" in answer.message


FIXED = v1.CaptionSpec(source=v1.CAPTION_SOURCE_FIXED, text="x")


@pytest.mark.parametrize(
    ("paths", "subsets", "reasons"),
    [
        (["a.png", "a.txt"], [], []),
        (["a.txt", "b.psd", ".hidden.png"], [], ["NO_PICTURE"]),
        ([], [], ["NO_PICTURE"]),
        (["a.png"], [], ["NO_CAPTION"]),
        (["a.png"], [v1.SubsetSpec(captions=FIXED)], []),
        (["a.png"], [v1.SubsetSpec(class_images=True)], []),
        (["a/1.png", "a/1.txt"], [v1.SubsetSpec(path_prefix="a/"), v1.SubsetSpec(path_prefix="b/")], ["NO_PICTURE"]),
        (
            ["a/1.png", "a/b/2.png"],
            [v1.SubsetSpec(path_prefix="a/", captions=FIXED), v1.SubsetSpec(path_prefix="a/b/")],
            ["NO_CAPTION"],
        ),
        (["cafe\u0301/1.png"], [v1.SubsetSpec(path_prefix="caf\u00e9/", captions=FIXED)], []),
        (["A.png", "a.txt"], [], ["NO_CAPTION"]),
    ],
)  # fmt: skip
def test_names_against_a_spec(paths: list[str], subsets: list[v1.SubsetSpec], reasons: list[str]) -> None:
    spec = v1.TrainingSpec(dataset=v1.DatasetSpec(subsets=subsets))
    assert [violation.reason for violation in violations_of_names(spec, paths)] == reasons
