"""The whole report: of a spoilt dataset on the disk, by the tool and, with the built-in base, with what the base says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tests.trainer.data_report.test_measures import marked, scenery
from trainer.builtin.shapes import draw
from trainer.data.rules import PictureRules
from trainer.errors import UserError
from trainer.tools.dataset_report import BaseChoice, dataset_report, subsets_of

BASE = Path("trainer/builtin/shapes/base")
RULES = PictureRules(resolution=256, bucket_step=64)


def put(folder: Path, name: str, picture: Image.Image, caption: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    path.with_suffix(".txt").write_text(caption)


@pytest.fixture
def spoilt(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    for number in range(6):
        put(folder, f"10_cat/{number}.png", scenery(number), f"a cat, on mat {number}")
    put(folder, "10_cat/again.jpg", scenery(2), "a cat, once more")
    put(folder, "soft.png", scenery(7).filter(ImageFilter.GaussianBlur(4)), "a soft cat")
    put(folder, "long.png", scenery(8, 512).crop((0, 192, 512, 300)), "<script>alert(1)</script>")
    (folder / "long.txt").with_name("notes.md").write_text("no caption of anything")
    return folder


def report_of(folder: Path, capsys: pytest.CaptureFixture[str], base: BaseChoice | None = None, tag: str = "") -> dict:
    dataset_report(folder, RULES, tag, base, folder.parent / "report.html", as_json_=True)
    return json.loads(capsys.readouterr().out)


def test_a_spoilt_dataset_is_told_picture_by_picture(spoilt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = report_of(spoilt, capsys)
    by_code = {one["code"]: one for one in found["suggestions"]}
    assert set(by_code) == {"NEAR_DUPLICATES", "BLURRED", "TOO_SMALL", "SUBSET_RARELY_VISITED"}
    assert sorted(by_code["NEAR_DUPLICATES"]["pictures"]) == ["10_cat/2.png", "10_cat/again.jpg"]
    assert by_code["BLURRED"]["pictures"] == ["soft.png"]
    assert by_code["TOO_SMALL"]["pictures"] == ["long.png"]
    assert [(one["name"], one["repeats"]) for one in found["subsets"]] == [("10_cat/", 10), ("", 1)]
    assert len(found["pictures"]) == 9
    assert found["captions"]["words"]["cat"] == 8


def test_the_page_needs_nothing_and_does_what_no_caption_says(spoilt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report_of(spoilt, capsys)
    page = (spoilt.parent / "report.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", page)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert page.count('src="data:image/webp;base64,') >= 5


def test_the_table_is_for_people(spoilt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset_report(spoilt, RULES, "", None, None, as_json_=False)
    out = capsys.readouterr().out
    assert out.startswith("pictures: 9 pictures, 4 suggestions.\n")
    assert "drop: 1 picture looks blurred\n" in out
    assert "  'soft.png'\n" in out


def test_what_cannot_be_trained_on_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no file in"):
        dataset_report(tmp_path, RULES, "", None, None, as_json_=False)
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no picture")
    with pytest.raises(UserError) as raised:
        dataset_report(tmp_path, RULES, "", None, None, as_json_=False)
    assert [problem[:15] for problem in raised.value.problems] == ["Picture 'a.png'", "Picture 'b.png'"]


def test_subsets_are_folders() -> None:
    found = [(one.path_prefix, one.repeats) for one in subsets_of(["10_cat/a.png", "dogs/b.png", "c.png"], "")]
    assert found == [("10_cat/", 10), ("dogs/", 1), ("", 1)]
    assert [one.path_prefix for one in subsets_of(["10_cat/a.png"], "")] == ["10_cat/"]


def test_the_base_names_the_word_that_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(3)
    folder = tmp_path / "pictures"
    for number in range(2):
        scene = draw.random_scene(rng, ("star", "circle", "cross"), striped=0)
        put(folder, f"{number}.png", draw.draw(scene), draw.caption(scene))
    scene = draw.Scene(shape="star", color="yellow", background="night")
    put(folder, "wrong.png", draw.draw(scene), "a yellow star on a sand background")
    rules = PictureRules(resolution=64, bucket_step=8)
    dataset_report(folder, rules, "lumi", BaseChoice(folder=BASE, family="sd15"), None, as_json_=True)
    found = json.loads(capsys.readouterr().out)
    wrong = [one["pictures"] for one in found["suggestions"] if one["code"] == "CAPTION_PROBABLY_WRONG"]
    assert wrong == [["wrong.png"]]
    by_path = {one["path"]: one for one in found["pictures"]}
    assert by_path["wrong.png"]["worst_words"] == "sand"
    assert all(0 < one["reconstruction_error"] < 0.1 for one in found["pictures"])
    assert by_path["0.png"]["tokens"] > 4


def test_marks_are_found_in_a_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(14):
        put(tmp_path / "pictures", f"{number}.png", marked(scenery(number)), f"cat {number}")
    codes = [one["code"] for one in report_of(tmp_path / "pictures", capsys)["suggestions"]]
    assert codes == ["COMMON_MARK"]
