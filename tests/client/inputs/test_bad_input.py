"""Each thing that is wrong with names, sizes and describing files is named, and all of them at once."""

from __future__ import annotations

import pytest

from loramill.errors import InputError
from loramill.inputs.result import Layout
from tests.client.inputs.memory import problems, read

P = b"picture"


def jsonl(*lines: str) -> dict[str, bytes | str | None]:
    return {"metadata.jsonl": "\n".join(lines), "a.png": P, "b.txt": "b"}


def toml(text: str) -> dict[str, bytes | str | None]:
    return {"d.toml": f"[[datasets]]\n{text}", "a/1.png": P, "a/1.caption": "x", "b/2.txt": "y"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, "There is no picture, but nothing at all"),
        ({"a.txt": "a", "b.txt": "b", "c.psd": P, "d": P}, "but 2 .txt, 1 .psd, 1 without an ending;"),
        ({"a.png": None}, "but 1 links or special files"),
        ({"a.png": b"", "b.jpg": b"", "c.png": P}, "2 pictures have 0 bytes: a.png, b.jpg."),
        ({"a.png": P, "a.txt": "a" * 70_000}, "1 caption has more than 65536 bytes: a.txt."),
        ({"a.png": P, "a.txt": b"\xff\xfea\x00"}, "1 caption is not UTF-8 text: a.txt."),
        ({"a.png": P, "a.txt": "one", "a.caption": "two"}, "2 captions that differ, a.caption and a.txt;"),
        ({"new\nline.png": P}, r"'new\nline.png' has control characters"),
        ({"a\u202egnp.png": P}, r"'a\u202egnp.png' has the invisible character U+202E"),
        ({"a\u200b.png": P}, "has the invisible character U+200B"),
        ({"a\u2028b.png": P}, "has control characters"),
        ({"back\\slash.png": P}, "has a backslash"),
        ({"\udcff.png": P}, "is not valid UTF-8"),
        ({f"{'d' * 999}/a.png": P}, "is longer than 1000"),
        ({"caf\u00e9.png": P, "cafe\u0301.png": P}, "are the same name, spelt with different Unicode characters"),
        ({"../a.png": P}, "'../a.png' has an empty part, '.' or '..'"),
        ({"/etc/a.png": P}, "begins like an absolute path"),
        ({"C:/a.png": P}, "begins like an absolute path"),
        ({"0_dog/a.png": P}, "The folder '0_dog/' has 0 repeats, but must have 1 to 10000"),
        ({"99999_dog/a.png": P}, "has 99999 repeats"),
        (jsonl('{"file_name": "a.png"', '{"file_name": "a.png"}'), "metadata.jsonl, line 1: it is not JSON"),
        (jsonl("[1]"), "line 1: it is not JSON (it is no object"),
        (jsonl('{"file_name": "c.png"}'), "metadata.jsonl, line 1, names 'c.png', which is not there"),
        (jsonl('{"file_name": "a.png"}', '{"file_name": "./a.png"}'), "line 2, names 'a.png', as metadata.jsonl, line 1, does"),
        (jsonl('{"file_name": "../a.png"}'), "leads out of the folder"),
        (jsonl('{"file_name": "b.txt"}'), "which is no picture"),
        (jsonl('{"text": "x"}'), "has no column file_name; it has text"),
        (jsonl(""), "has no rows"),
        ({"metadata.jsonl": b'{}\n{"file_name": "\xff"}', "a.png": P}, "metadata.jsonl, line 2: it is not UTF-8"),
        ({"metadata.csv": "file_name,text\na.png,one,two\n", "a.png": P}, "line 2: it has 3 values, but the header has 2"),
        ({"metadata.csv": 'file_name,text\na.png,"one\n', "a.png": P}, "it is not CSV"),
        (toml('[[datasets.subsets]]\nimage_dir = "c"'), "image_dir 'c' is not there"),
        (toml('[[datasets.subsets]]\nimage_dir = "../a"'), "image_dir '../a' is not there"),
        (toml('[[datasets.subsets]]\nimage_dir = "b"'), "image_dir 'b' has no picture"),
        (toml('[[datasets.subsets]]\nimage_dir = "a"\nnum_repeats = 0'), "num_repeats is 0, but must be 1 to 10000"),
        (
            toml('[[datasets.subsets]]\nimage_dir = "a"\n[[datasets.subsets]]\nimage_dir = "./a"'),
            "datasets[0].subsets[1]: image_dir './a' is that of datasets[0].subsets[0] too",
        ),
        (toml("[[datasets.subsets]]\nnum_repeats = 1"), "datasets[0].subsets[0] has no image_dir"),
        (toml('[[datasets.subsets]]\nimage_dir = "a"\nresolution = "big"'), "resolution is 'big'"),
        ({**toml(""), "e.toml": "[[datasets]]"}, "d.toml and e.toml are dataset configurations"),
        ({"00/1.jpg": P, "00/1.json": "{}", "00/2.jpg": P, "00/2.json": "{"}, "'00/2.json' is not JSON"),
    ],
)  # fmt: skip
def test_each_is_named(files: dict[str, bytes | str | None], expected: str) -> None:
    assert any(expected in problem for problem in problems(files)), problems(files)


def test_all_at_once() -> None:
    files = {"0_dog/a.png": P, "1_cat/b.png": b"", "1_cat/b.txt": b"\xff", "new\nline.png": P}
    assert len(problems(files)) == 4


def test_a_broken_configuration_is_named_by_its_line() -> None:
    with pytest.raises(InputError, match=r"line 3"):
        read({"d.toml": "a = 1\n\n[[datasets]\n", "a.png": P}, layout=Layout.KOHYA_TOML)
    assert "line 3" in read({"d.toml": "a = 1\n\n[[datasets]\n", "a.png": P}).notes[0]


def test_odd_things_are_noted() -> None:
    files = {
        "a.png": P, "A.png": P, "b.png": P, "b.jpg": P, "b.txt": "b", "one/1.png": P, "two/1.png": P, "c.png": P, "c.txt": " ",
    }  # fmt: skip
    notes = read(files).notes
    for expected in (
        "A.png and a.png differ in upper and lower case only",
        "b.jpg and b.png share one caption",
        "one/ and two/ have 1 pictures of the same names and sizes",
        "1 caption is empty: c.txt",
        "4 pictures have no caption",
    ):
        assert any(expected in note for note in notes), notes
