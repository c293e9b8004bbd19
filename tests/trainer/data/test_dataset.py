from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.trainer.data import corpus
from trainer.data.buckets import Bucket
from trainer.data.dataset import DataFile, Reading, read_dataset
from trainer.data.images import Decoder
from trainer.data.rules import CaptionRules, PictureRules, SubsetRules
from trainer.errors import StorageFailed, UserError

PICTURE = corpus.png()
RULES = PictureRules(resolution=64, bucket_step=8)
Read = Callable[..., Reading]


def manifest(contents: dict[str, bytes]) -> list[DataFile]:
    return [DataFile(path, hashlib.sha256(content).hexdigest(), len(content)) for path, content in contents.items()]


@pytest.fixture
def read(decoder: Decoder, tmp_path: Path) -> Read:
    def read(
        contents: dict[str, bytes],
        subsets: Sequence[SubsetRules] = (SubsetRules(),),
        files: Sequence[DataFile] | None = None,
        tag: str = "sks",
        pictures: PictureRules = RULES,
        progress: Callable[[int, int], None] = lambda *_: None,
    ) -> Reading:
        blobs = {hashlib.sha256(content).hexdigest(): content for content in contents.values()}
        return read_dataset(
            files if files is not None else manifest(contents),
            lambda sha256, path: Path(path).write_bytes(blobs[sha256]) and None,
            tmp_path / "work",
            [replace(subset, activation_tag=tag) for subset in subsets],
            pictures,
            decoder,
            progress,
        )

    return read


def problems(read: Read, contents: dict[str, bytes], **options: Any) -> tuple[str, ...]:
    with pytest.raises(UserError) as raised:
        read(contents, **options)
    return raised.value.problems


def captions(**rules: Any) -> list[SubsetRules]:
    return [SubsetRules(captions=CaptionRules(**rules))]


FIXED = captions(source="fixed", text="a cat")


def test_a_dataset_in_order_of_path_with_all_that_training_needs(read: Read) -> None:
    seen: list[tuple[int, int]] = []
    reading = read(
        {
            "dogs/2.jpg": corpus.encoded(corpus.noise(300, 200), "JPEG"),
            "dogs/2.txt": b"\xef\xbb\xbfa dog,\r\n  lying \n",
            "cats/1.PNG": PICTURE,
            "cats/1.caption": "a cät".encode(),
        },
        [SubsetRules(path_prefix="dogs/", repeats=3), SubsetRules()],
        progress=lambda done, total: seen.append((done, total)),
    )
    cat, dog = reading.examples
    assert (cat.path, cat.caption, cat.subset, cat.bucket) == ("cats/1.PNG", "a cät", 1, Bucket(64, 64))
    assert (dog.path, dog.caption, dog.subset) == ("dogs/2.jpg", "a dog, lying", 0)
    assert (dog.width, dog.height, dog.bucket, dog.resize, dog.crops) == (
        300,
        200,
        Bucket(80, 48),
        (80, 53),
        ((0, 2, 80, 50),),
    )
    assert cat.file.read_bytes() == PICTURE
    assert cat.id == f"cats/1.PNG@{hashlib.sha256(PICTURE).hexdigest()}"
    assert seen == [(0, 2), (1, 2), (2, 2)]
    assert reading.warnings == ("1 caption file has several lines, which were joined: 'dogs/2.txt'.",)
    summary = reading.summary
    assert (summary.pictures, summary.visits_per_epoch, summary.subsets) == (2, 4, (1, 1))
    assert (dict(summary.buckets), dict(summary.formats)) == (
        {Bucket(64, 64): 1, Bucket(80, 48): 1},
        {"PNG": 1, "JPEG": 1},
    )


def test_every_problem_is_named_at_once(read: Read) -> None:
    found = problems(
        read,
        {
            "bomb.png": corpus.bomb(),
            "bomb.txt": b"x",
            "cut.jpg": corpus.truncated_jpeg(),
            "cut.txt": b"x",
            "empty.png": b"",
            "empty.txt": b"x",
            "film.webp": corpus.animated("WEBP"),
            "film.txt": b"x",
            "gif.png": corpus.animated("GIF"),
            "gif.txt": b"x",
            "phone.heic": b"\x00\x00\x00\x20ftypheic",
            "lone.png": PICTURE,
            "latin.png": corpus.png(seed=1),
            "latin.txt": "é".encode("latin-1"),
            "windows.png": corpus.png(seed=2),
            "windows.txt": "é".encode("utf-16"),
            "both.png": corpus.png(seed=3),
            "both.txt": b"one",
            "both.caption": b"other",
            "tiny.png": corpus.png(9, 70),
            "dot.png": corpus.png(1, 1),
            "dot.txt": b"x",
            "line.png": corpus.encoded(Image.new("RGB", (30_000, 10))),
            "line.txt": b"x",
            "tiny.txt": b"x",
            "long.png": corpus.png(seed=4),
            "long.txt": b"x" * 70_000,
        },
        subsets=[SubsetRules(), SubsetRules(path_prefix="dogs/")],
        pictures=replace(RULES, bucket_step=16),
    )
    assert set(found) == {
        "Picture 'bomb.png' claims more than 64 million pixels; make it smaller or remove it.",
        "Picture 'cut.jpg' is truncated (its JPEG data ends early); upload it again from the original, or remove it.",
        "Picture 'empty.png' is empty (0 bytes); upload it again or remove it.",
        "Picture 'film.webp' is animated (3 frames); save one frame of it, or remove it.",
        "Picture 'gif.png' is a GIF, not a JPEG, PNG, WebP, AVIF or BMP picture; convert it or remove it.",
        "1 file is a picture of a kind that is not read: 'phone.heic'. "
        "Convert to JPEG, PNG, WebP, AVIF or BMP, or remove what is not needed.",
        "1 picture has no caption: 'lone.png'. Put a .txt file of the same name beside each, or set "
        "dataset.subsets.captions.source to fixed or file_or_fixed, with a text.",
        "Caption file 'latin.txt' is not UTF-8 text (byte 0 is 0xe9); save it as UTF-8.",
        "Caption file 'windows.txt' is not UTF-8 text (it looks like UTF-16); save it as UTF-8.",
        "Picture 'both.png' has 2 captions that differ, 'both.caption' and 'both.txt'; keep one of them.",
        "Picture 'tiny.png' is too small: 9×70 is smaller than one bucket step of 16 pixels; "
        "use a larger one, remove it, or set dataset.upscale.",
        "Picture 'dot.png' has 1×1 pixels, which cannot be learnt from: a side is shorter than 8 pixels; "
        "use another one, or remove it.",
        "Picture 'line.png' has 30000×10 pixels, which cannot be learnt from: one side is more than 20 times the other; "
        "use another one, or remove it.",
        "Caption file 'long.txt' has 70000 bytes, more than 65536; it should hold one caption.",
        "Subset with path_prefix 'dogs/' has no picture that is not in a subset with a longer one; "
        "there are pictures in the top folder.",
    }


def test_a_long_list_of_problems_is_cut(read: Read) -> None:
    found = problems(read, {f"{n:03}.png": bytes([n]) for n in range(110)}, subsets=FIXED)
    assert len(found) == 101
    assert found[-1] == "And 10 more problems of the dataset."


def test_many_missing_captions_are_one_sentence(read: Read) -> None:
    (found,) = problems(read, {f"{n:02}.png": corpus.png(seed=n) for n in range(12)})
    assert found.startswith("12 pictures have no caption: '00.png', '01.png',")
    assert "'07.png' and 4 more. Put a .txt" in found


@pytest.mark.parametrize(
    ("contents", "what"),
    [
        ({}, "it has no files at all"),
        ({"a.txt": b"x", "b.txt": b"y", "README": b"z"}, "it has 2 .txt, 1 without extension"),
        ({"a.gif": b"GIF89a"}, "it has 1 .gif"),
        ({".DS_Store": b"x", "__MACOSX/a.png": b"x", "b/._a.png": b"x"}, "it has no files at all"),
    ],
)
def test_no_picture_found_says_what_was_found(read: Read, contents: dict[str, bytes], what: str) -> None:
    assert any(
        f"The dataset has no picture (.jpg, .png, .webp, .avif or .bmp): {what}; upload" in p
        for p in problems(read, contents)
    )


@pytest.mark.parametrize(
    ("contents", "subsets", "warning"),
    [
        (
            {"a.png": PICTURE, "b.png": PICTURE},
            FIXED,
            "1 picture has the same content as another of its subset: 'b.png'.",
        ),
        ({"a.png": PICTURE, "a.txt": b"x"}, FIXED, "1 picture has a caption file that is not read, because"),
        (
            {"a.png": PICTURE, "a.txt": b"x", "b.txt": b"y"},
            None,
            "1 caption file has no picture of its name and is ignored: 'b.txt'.",
        ),
        ({"a.png": PICTURE, "a.txt": b" \n"}, None, "1 caption file is empty: 'a.txt'."),
        (
            {"a.png": PICTURE, "a.txt": b"a photo of sks"},
            None,
            "1 picture has the activation tag in the middle of its caption",
        ),
        (
            {"a.png": PICTURE, "notes.md": b"x", "b.json": b"{}"},
            FIXED,
            "2 files are neither picture nor caption and are ignored: 'b.json'",
        ),
        (
            {"a.png": PICTURE, "A.png": corpus.png(seed=1)},
            FIXED,
            "1 picture's name differs from another's in upper and lower case only",
        ),
        (
            {"a.png": PICTURE, "a.bmp": corpus.encoded(corpus.noise(64, 64), "BMP")},
            FIXED,
            "1 picture differs from another in its extension",
        ),
        ({"a.jpg": PICTURE}, FIXED, "1 picture is of another kind than its extension says: 'a.jpg'."),
        (
            {"a.png": corpus.png(40, 40)},
            FIXED,
            "1 picture is smaller than its bucket and is trained on at its own size: 'a.png'.",
        ),
        ({"a.png": corpus.png(900, 90)}, FIXED, "1 picture loses more than 30% of its area to the crop: 'a.png'."),
        (
            {"a.png": corpus.encoded(corpus.Image.new("RGBA", (64, 64)))},
            FIXED,
            "1 picture is partly transparent and is laid on #ffffff",
        ),
        (
            {"a.jpg": corpus.damaged_exif()},
            FIXED,
            "1 picture has damaged EXIF data and is taken to be upright: 'a.jpg'.",
        ),
        (
            {"10_cat/a.png": PICTURE},
            FIXED,
            "One folder is named as other trainers write repeats, such as '10_cat/'; names are not",
        ),
        ({"cats\\a.png": PICTURE}, FIXED, "1 path has a backslash or spaces at an end: 'cats\\a.png'."),
        (
            {"a/1.png": PICTURE, "b/1.png": PICTURE},
            [SubsetRules(path_prefix="a/", captions=CaptionRules(source="fixed", text="x"))],
            "1 picture is in no subset and is not trained on: 'b/1.png'.",
        ),
    ],
)
def test_what_is_odd_is_a_counted_warning(
    read: Read, contents: dict[str, bytes], subsets: list[SubsetRules] | None, warning: str
) -> None:
    reading = read(contents, subsets or (SubsetRules(),))
    assert any(sentence.startswith(warning) for sentence in reading.warnings), reading.warnings


def test_a_sound_dataset_has_no_warnings(read: Read) -> None:
    contents = {
        "cats/1.png": PICTURE,
        "cats/1.txt": b"sks, a cat",
        "cats/2.png": corpus.png(seed=1),
        "cats/2.txt": b"a cat",
    }
    assert read(contents).warnings == ()
    assert read(contents, [SubsetRules(path_prefix="cats/")]).warnings == ()


@pytest.mark.parametrize(
    ("rules", "files", "caption"),
    [
        ({"source": "file"}, {"a.txt": b"own"}, "own"),
        ({"source": "fixed", "text": " of  all "}, {"a.txt": b"own"}, "of all"),
        ({"source": "file_or_fixed", "text": "of all"}, {"a.txt": b"own"}, "own"),
        ({"source": "file_or_fixed", "text": "of all"}, {}, "of all"),
        ({"source": "file"}, {"a.txt": b"same", "a.caption": b"same"}, "same"),
        ({"source": "file"}, {"a.TXT": b"own"}, "own"),
    ],
)
def test_where_captions_come_from(read: Read, rules: dict[str, Any], files: dict[str, bytes], caption: str) -> None:
    (example,) = read({"a.png": PICTURE, **files}, captions(**rules)).examples
    assert example.caption == caption


def test_names_are_compared_as_unicode_means_them(read: Read) -> None:
    (example,) = read({"né.png": PICTURE, "ne\u0301.txt": b"x"}, [SubsetRules(path_prefix="ne\u0301")]).examples
    assert example.caption == "x"


def test_a_caption_that_differs_in_case_is_pointed_at(read: Read) -> None:
    (found,) = problems(read, {"Cat.png": PICTURE, "cat.txt": b"x"})
    assert found == (
        "Picture 'Cat.png' has no caption: 'cat.txt' differs from its name in upper and lower case; rename one of them."
    )


def test_the_longest_prefix_wins(read: Read) -> None:
    subsets = [SubsetRules(path_prefix=prefix, captions=FIXED[0].captions) for prefix in ("a", "", "a/b/")]
    contents = {path: corpus.png(seed=n) for n, path in enumerate(["a/1.png", "a/b/1.png", "c.png"])}
    assert [example.subset for example in read(contents, subsets).examples] == [0, 2, 1]


def test_the_same_prefix_twice_is_a_problem(read: Read) -> None:
    assert problems(read, {"a.png": PICTURE}, subsets=[*FIXED, *FIXED]) == (
        "dataset.subsets has path_prefix '' 2 times; give it once.",
    )


def test_no_subsets_means_one_of_everything(read: Read) -> None:
    assert read({"a.png": PICTURE, "a.txt": b"x"}, ()).summary.subsets == (1,)


def test_contents_that_are_not_what_the_manifest_says(read: Read) -> None:
    digest = hashlib.sha256(PICTURE).hexdigest()
    files = [
        DataFile("size.png", digest, 5),
        DataFile("../up.png", digest, 5),
        DataFile("twice.png", digest, 5),
        DataFile("twice.png", digest, 5),
        DataFile("bell\a.png", digest, 5),
        DataFile("sha.png", "../../etc/passwd", 5),
    ]
    found = problems(read, {"x": PICTURE}, files=files, subsets=FIXED)
    assert f"Picture 'size.png' should have 5 bytes and has {len(PICTURE)}; upload the dataset again." in found
    assert "The path '../up.png' is not allowed; rename the file and upload the dataset anew." in found
    assert "The path 'bell\\x07.png' is not allowed; rename the file and upload the dataset anew." in found
    assert "The dataset lists 'twice.png' 2 times; upload it anew, with each file once." in found
    assert "File 'sha.png' is listed without a SHA-256; upload the dataset anew." in found


def test_a_wrong_digest_is_named(decoder: Decoder, tmp_path: Path) -> None:
    other = corpus.png(seed=5)
    with pytest.raises(UserError, match=r"Picture 'a.png' should have SHA-256 \w{12}… and has \w{12}…; upload"):
        read_dataset(
            [DataFile("a.png", hashlib.sha256(PICTURE).hexdigest(), len(other))],
            lambda _, path: path.write_bytes(other) and None,
            tmp_path,
            FIXED,
            RULES,
            decoder,
            lambda *_: None,
        )


def test_contents_already_there_are_used_again_if_they_are_sound(decoder: Decoder, tmp_path: Path) -> None:
    fetched: list[str] = []

    def fetch(sha256: str, path: Path) -> None:
        fetched.append(sha256)
        path.write_bytes(PICTURE)

    files = manifest({"a.png": PICTURE, "b.png": PICTURE})
    for _ in range(2):
        read_dataset(files, fetch, tmp_path, FIXED, RULES, decoder, lambda *_: None)
    assert len(fetched) == 1
    (tmp_path / files[0].sha256).write_bytes(PICTURE[:100])
    read_dataset(files, fetch, tmp_path, FIXED, RULES, decoder, lambda *_: None)
    assert len(fetched) == 2


def test_a_store_that_fails_is_not_a_fault_of_the_dataset(decoder: Decoder, tmp_path: Path) -> None:
    def fetch(_sha256: str, _path: Path) -> None:
        raise StorageFailed("The store is away.")

    with pytest.raises(StorageFailed):
        read_dataset(manifest({"a.png": PICTURE}), fetch, tmp_path, FIXED, RULES, decoder, lambda *_: None)


def test_a_bucket_step_above_the_resolution(read: Read) -> None:
    (found,) = problems(read, {"a.png": PICTURE}, subsets=FIXED, pictures=PictureRules(resolution=64, bucket_step=128))
    assert found == "dataset.bucket_step 128 is above dataset.resolution 64; make it smaller."
