"""Every layout, from names and contents in memory to the one form that is uploaded."""

from __future__ import annotations

import pytest

from loramill import v1
from loramill.inputs.describe import lines_of, record_of
from loramill.inputs.result import Layout
from loramill.plain import to_plain
from tests.client.inputs.memory import captions, read

P = b"picture"
"""Nobody decodes it here."""


def subsets(found) -> list[dict[str, object]]:
    return [to_plain(subset) for subset in found.suggested.dataset.subsets]


def test_a_plain_folder() -> None:
    found = read(
        {
            "a.png": P,
            "a.txt": "a cat",
            "in/b.JPG": P,
            "in/b.caption": "b",
            "c.webp": P,
            "a.mask.png": P,
            "c-masklabel.png": P,
            "x.mask.png": P,
            "d.gif": P,
            "e.txt": "e",
            "f.docx": P,
            "inner.zip": P,
            ".git": P,
            "__MACOSX/a.png": P,
            "link.png": None,
        }
    )
    assert found.layout is Layout.PLAIN
    assert [file.label for file in found.files] == [
        "a.mask.png", "a.png", "a.txt", "c.mask.png", "c.webp", "in/b.JPG", "in/b.txt",
    ]  # fmt: skip
    assert [file.label for file in found.without_caption] == ["c.webp"]
    assert captions(found) == {"a.txt": "a.txt", "in/b.txt": "in/b.caption"}
    assert dict(found.reasons()) == {
        "hidden": (".git", "__MACOSX/a.png"),
        "a mask without a picture of its name": ("x.mask.png",),
        "a picture of a kind that is not read; convert it to JPEG, PNG, WebP, AVIF or BMP": ("d.gif",),
        "no picture of this name": ("e.txt",),
        "neither a picture nor a caption": ("f.docx",),
        "an archive beside pictures; give it by itself, or unpack it": ("inner.zip",),
        "a symbolic link": ("link.png",),
    }
    assert subsets(found) == []


def test_kohya_folders() -> None:
    found = read(
        {
            "img/10_sks dog/1.png": P,
            "img/10_sks dog/1.caption": "sks dog, grass",
            "img/10_sks dog/deeper/2.png": P,
            "img/3_closeup/3.png": P,
            "img/3_closeup/3.txt": "a closeup",
            "reg/1_dog/4.png": P,
            "5.png": P,
            "5.txt": "five",
        }
    )
    assert found.layout is Layout.KOHYA_FOLDERS
    assert subsets(found) == [
        {},
        {"path_prefix": "img/10_sks dog/", "repeats": 10, "captions": {"source": "file_or_fixed", "text": "sks dog"}},
        {"path_prefix": "img/3_closeup/", "repeats": 3},
        {
            "path_prefix": "reg/1_dog/",
            "repeats": 1,
            "captions": {"source": "file_or_fixed", "text": "dog"},
            "class_images": True,
        },
    ]
    assert to_plain(found.suggested.concept) == {"activation_tag": "sks", "class_words": "dog"}
    assert [(part.pictures, part.captioned) for part in found.parts] == [(1, 1), (2, 1), (1, 1), (1, 0)]
    assert found.notes == ("1 picture is in no folder named like 10_tag, and is read once an epoch: 5.png.",)


@pytest.mark.parametrize(
    ("folder", "captioned", "concept"),
    [
        ("10_sks dog", True, {"activation_tag": "sks", "class_words": "dog"}),
        ("10_sks", False, {"activation_tag": "sks"}),
        ("10_closeup", True, {}),
        ("10_a dog", False, {}),
        ("10_sks, dog", False, {}),
        ("10_sks big red dog", True, {"activation_tag": "sks", "class_words": "big red dog"}),
    ],
)
def test_which_folder_names_are_tags(folder: str, captioned: bool, concept: dict[str, str]) -> None:
    found = read({f"{folder}/1.png": P, **({f"{folder}/1.txt": "x"} if captioned else {})})
    assert to_plain(found.suggested.concept) == concept


def test_several_tags_are_several_concepts() -> None:
    found = read({"4_ann woman/1.png": P, "2_bob man/1.png": P, "9_bob man/2.png": P})
    assert found.suggested.concept.activation_tag == "bob"
    assert [concept.activation_tag for concept in found.suggested.concepts] == ["ann"]
    concepts = {subset.path_prefix: subset.concept for subset in found.suggested.dataset.subsets}
    assert concepts == {"2_bob man/": "", "4_ann woman/": "ann", "9_bob man/": ""}


def test_a_year_is_no_number_of_repeats() -> None:
    files = {"2024_holiday/1.png": P, "2024_holiday/1.txt": "x"}
    assert "--layout plain" in read(files).notes[0]
    assert subsets(read(files, layout=Layout.PLAIN)) == []


CONFIGURATION = """
[general]
caption_extension = ".txt"
shuffle_caption = true
keep_tokens = 1
[[datasets]]
resolution = [768, 512]
batch_size = 2
keep_tokens = 2
enable_bucket = true
bucket_no_upscale = true
  [[datasets.subsets]]
  image_dir = "dogs"
  num_repeats = 10
  class_tokens = "sks dog"
  flip_aug = true
  keep_tokens_separator = "|||"
  color_aug = true
  colour_aug = true
  [[datasets.subsets]]
  image_dir = "./reg"
  is_reg = true
  keep_tokens = 0
  shuffle_caption = false
  caption_extension = ".cap"
  class_tokens = "dog"
  enable_wildcard = true
  caption_dropout_rate = 0.1
  caption_tag_dropout_rate = 0.2
  caption_prefix = "photo"
"""


def test_a_dataset_configuration() -> None:
    found = read(
        {
            "d.toml": CONFIGURATION,
            "dogs/1.png": P,
            "dogs/1.txt": "sks dog, grass",
            "dogs/1.caption": "not read",
            "dogs/2.png": P,
            "dogs/inside/3.png": P,
            "reg/4.png": P,
            "reg/4.cap": "a dog",
            "elsewhere/5.png": P,
        }
    )
    assert found.layout is Layout.KOHYA_TOML
    assert subsets(found) == [
        {
            "path_prefix": "dogs/",
            "repeats": 10,
            "captions": {
                "source": "file_or_fixed",
                "text": "sks dog",
                "shuffle_tags": True,
                "keep_tags": 2,
                "keep_separator": "|||",
            },
            "flip_probability": 0.5,
        },
        {
            "path_prefix": "reg/",
            "captions": {
                "prefix": "photo",
                "shuffle_tags": False,
                "keep_tags": 0,
                "tag_dropout": 0.2,
                "caption_dropout": 0.1,
                "wildcards": True,
                "lines_as_alternatives": True,
            },
            "class_images": True,
        },
    ]
    rest = v1.DatasetSpec()
    rest.CopyFrom(found.suggested.dataset)
    rest.ClearField("subsets")
    assert to_plain(rest) == {"resolution": 640, "buckets": True, "upscale": False}
    assert captions(found) == {"dogs/1.txt": "dogs/1.txt", "reg/4.txt": "reg/4.cap"}
    assert dict(found.reasons()) == {
        "caption_extension is .txt": ("dogs/1.caption",),
        "in no image_dir": ("dogs/inside/3.png", "elsewhere/5.png"),
    }
    assert found.notes == (
        "batch_size = 2 belongs into the job: optimization.batch_size: 2.",
        "datasets[0].subsets[0]: color_aug = True is not supported. Colours are never changed, because latents are kept.",
        "datasets[0].subsets[0]: colour_aug is no key of a dataset configuration, and is not read; the nearest is color_aug.",
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metadata.jsonl", '{"file_name": "a.png", "text": "a cat"}\n\n{"file_name": "in/b.png", "text": ""}\n'),
        ("metadata.csv", 'file_name,text,source\na.png,a cat,"x,y"\nin/b.png,,z\n'),
    ],
)
@pytest.mark.parametrize("folder", ["", "train/"])
def test_an_imagefolder(name: str, content: str, folder: str) -> None:
    files = {f"{folder}a.png": P, f"{folder}a.txt": "old", f"{folder}in/b.png": P, f"{folder}c.png": P}
    found = read({f"{folder}{name}": content, **files})
    assert found.layout is Layout.IMAGEFOLDER
    assert captions(found) == {f"{folder}a.txt": "a cat"}
    assert {file.label for file in found.pictures} == {f"{folder}{label}" for label in ("a.png", "in/b.png", "c.png")}
    assert dict(found.reasons()) == {"the metadata has the caption": (f"{folder}a.txt",)}
    assert f"1 picture is in no row of the metadata: {folder}c.png." in found.notes


def test_which_column_has_captions() -> None:
    row = '{"file_name": "a.png", "caption": ["one", "two"], "alt": "three"}'
    assert captions(read({"metadata.jsonl": row, "a.png": P})) == {"a.txt": "one"}
    assert captions(read({"metadata.jsonl": row, "a.png": P}, caption_column="alt")) == {"a.txt": "three"}


def test_webdataset_samples() -> None:
    found = read(
        {
            "00/1.jpg": P,
            "00/1.json": '{"caption": "one", "url": "x"}',
            "00/2.seg.png": P,
            "00/2.png": P,
            "00/2.json": '{"caption": "not read"}',
            "00/2.txt": "two",
            "00/2.cls": "3",
            "00/3.txt": "three",
        }
    )
    assert found.layout is Layout.WEBDATASET
    assert captions(found) == {"00/1.txt": "one", "00/2.txt": "00/2.txt"}
    assert [file.label for file in found.pictures] == ["00/1.jpg", "00/2.png"]
    assert dict(found.reasons()) == {
        "a member of a sample that is not read": ("00/2.cls", "00/2.json"),
        "another picture of the sample": ("00/2.seg.png",),
        "no picture of this name": ("00/3.txt",),
    }


def test_what_is_said_and_kept_is_the_same() -> None:
    found = read({"10_sks dog/1.png": P, "x.gif": P})
    record = record_of(found, "dogs.zip")
    assert (record.source, record.pictures, record.captions) == ("dogs.zip", 1, 0)
    assert list(lines_of(record, found.suggested)) == [
        "Read as kohya folders: 1 picture, 0 captions in 1 subset.",
        "  10_sks dog/: 1 picture, 10 repeats, 1 of them with the caption 'sks dog'",
        "Ignored (a picture of a kind that is not read; convert it to JPEG, PNG, WebP, AVIF or BMP): x.gif.",
        "Jobs get the activation tag 'sks', which is a kind of 'dog', unless they name a concept.",
    ]
