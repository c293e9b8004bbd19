from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import math
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tests.trainer.report.page import read_page
from tests.trainer.report.samples import HOSTILE, heart, metrics, star, whole_report
from trainer.report.data import Metric, Preview, PreviewSeries, ReportData, RunFacts, Verdict
from trainer.report.document import render
from trainer.report.text import visible

ALL_SECTIONS = ["previews", "strength", "curves", "warnings", "tags", "data", "trained", "files", "use", "spec"]


def picture_of(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition("base64,")[2])))


def test_a_whole_report_has_every_part_and_links_to_it() -> None:
    page = read_page(render(whole_report()))
    assert page.sections == ALL_SECTIONS
    assert [link.attributes["href"] for link in page.all("a")] == [f"#{name}" for name in ALL_SECTIONS]


def test_the_key_numbers_stand_at_the_top() -> None:
    page = read_page(render(whole_report()))
    tiles = page.all("dl", "tiles")[0].text
    for number in (
        "200of 300 planned",
        "1 min 33 s467 ms a step",
        "pictures12",
        "16alpha 8",
        "797kin 48 modules",
        "final loss0.0",
    ):
        assert number in tiles


def test_nothing_is_fetched_from_anywhere() -> None:
    html = render(whole_report())
    page = read_page(html)
    for element in page.elements:
        assert element.tag not in ("link", "iframe", "object", "embed", "base", "form", "use")
        for name, value in element.attributes.items():
            assert not name.startswith("on"), "an inline event handler"
            assert name not in ("style", "srcset", "action", "poster", "xlink:href")
            if name in ("src", "href"):
                assert value.startswith(("data:image/", "#")), value
    assert "url(" not in html
    assert "@import" not in html
    assert "//" not in re.sub(r"base64,[A-Za-z0-9+/=]+|(?:^|>) *// .*$", "", html, flags=re.MULTILINE)


def test_the_page_allows_itself_only_its_own_style_and_script() -> None:
    page = read_page(render(whole_report()))
    policy = next(meta for meta in page.all("meta") if meta.attributes.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.attributes["content"].split(";"))
    for kind in ("script", "style"):
        (element,) = page.all(kind)
        digest = base64.b64encode(hashlib.sha256(element.text.encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"


def test_hostile_texts_add_no_element_and_are_shown_as_they_are() -> None:
    tame, hostile = read_page(render(whole_report("tame"))), read_page(render(whole_report(HOSTILE)))
    assert [element.tag for element in hostile.elements] == [element.tag for element in tame.elements]
    assert [set(element.attributes) for element in hostile.elements] == [
        set(element.attributes) for element in tame.elements
    ]
    for tag, style in (("h1", None), ("p", "verdict"), ("p", "prompt"), ("title", None)):
        assert hostile.all(tag, style)[0].text == visible(HOSTILE)


def test_a_page_with_hostile_texts_can_be_encoded_and_turns_nothing_round() -> None:
    html = render(whole_report(HOSTILE)).encode("utf-8").decode("utf-8")
    assert not set(html) & {"\x00", "\x07", "\u202e", "\ud800"}
    assert "[U+202E]gnp.exe[U+0007]" in html


def test_the_same_data_gives_the_same_bytes() -> None:
    assert render(whole_report()) == render(whole_report())


def test_a_report_of_title_and_verdict_alone_stands() -> None:
    page = read_page(render(ReportData(title="t", verdict="v")))
    assert page.sections == []
    assert not page.all("dl")


@pytest.mark.parametrize(
    ("part", "section"),
    [
        ("metrics", "curves"),
        ("previews", "previews"),
        ("sheets", "strength"),
        ("trained", "trained"),
        ("files", "files"),
    ],
)
def test_a_missing_part_takes_only_its_own_section_away(part: str, section: str) -> None:
    page = read_page(render(dataclasses.replace(whole_report(), **{part: ()})))
    # What is drawn at several strengths are prompts of the previews.
    gone = {section, "strength"} if part == "previews" else {section}
    assert page.sections == [name for name in ALL_SECTIONS if name not in gone]


def test_without_dataset_usage_and_spec_their_sections_are_gone_and_warnings_stay() -> None:
    data = dataclasses.replace(whole_report(), dataset=None, usage=None, spec_yaml="", digests=())
    page = read_page(render(data))
    assert page.sections == ["previews", "strength", "curves", "warnings", "tags", "trained", "files"]
    assert len(page.all("li")) == 1


@pytest.mark.parametrize("kind", list(Verdict))
def test_the_verdict_is_coloured_by_its_kind(kind: Verdict) -> None:
    page = read_page(render(ReportData(title="t", verdict="it is so", verdict_kind=kind)))
    assert page.all("p", kind.value)[0].text == "it is so"


def test_a_small_preview_is_in_the_page_pixel_for_pixel_and_enlarged_without_blur() -> None:
    page = read_page(render(whole_report()))
    images = page.all("img", "small")
    assert np.array_equal(np.asarray(picture_of(images[0].attributes["src"])), np.asarray(star()))
    assert np.array_equal(np.asarray(picture_of(images[2].attributes["src"])), np.asarray(heart()))


def test_a_large_preview_is_compressed() -> None:
    large = heart().resize((512, 512))
    page = read_page(render(ReportData(title="t", verdict="v", previews=[PreviewSeries(prompt="p", without=large)])))
    (image,) = page.all("img")
    assert image.attributes["src"].startswith("data:image/webp;")
    assert picture_of(image.attributes["src"]).size == (512, 512)
    assert "class" not in image.attributes


def test_what_a_picture_file_carried_beside_its_pixels_is_left_out() -> None:
    buffer, notes = io.BytesIO(), PngImagePlugin.PngInfo()
    notes.add_text("Comment", "where it was taken")
    heart().save(buffer, "PNG", pnginfo=notes, icc_profile=b"profile")
    with_notes = Image.open(io.BytesIO(buffer.getvalue()))

    def page(picture: Image.Image) -> str:
        return render(ReportData(title="t", verdict="v", previews=[PreviewSeries(prompt="p", without=picture)]))

    assert page(with_notes) == page(heart())


def test_the_slider_goes_over_all_steps_and_every_frame_says_its_own() -> None:
    previews = [
        PreviewSeries(prompt="a", previews=[Preview(step=100, picture=star()), Preview(step=0, picture=star())]),
        PreviewSeries(prompt="b", previews=[Preview(step=1500, picture=star()), Preview(step=100, picture=star())]),
    ]
    page = read_page(render(ReportData(title="t", verdict="v", previews=previews)))
    (slider,) = page.all("div", "slider")
    (handle,) = page.all("input")
    assert slider.attributes["data-steps"] == "0 100 1500"
    assert (handle.attributes["max"], handle.attributes["value"]) == ("2", "2")
    assert [frame.attributes["data-step"] for frame in page.all("figure", "frame")] == ["0", "100", "100", "1500"]
    assert "hidden" in slider.attributes, "without the script there is nothing to slide"


def test_one_step_needs_no_slider() -> None:
    previews = [PreviewSeries(prompt="a", without=star(), previews=[Preview(step=100, picture=heart())])]
    assert not read_page(render(ReportData(title="t", verdict="v", previews=previews))).all("input")


def test_a_repeated_step_shows_its_later_picture() -> None:
    twice = [Preview(step=5, picture=star()), Preview(step=5, picture=heart())]
    page = read_page(render(ReportData(title="t", verdict="v", previews=[PreviewSeries(prompt="p", previews=twice)])))
    (image,) = page.all("img")
    assert np.array_equal(np.asarray(picture_of(image.attributes["src"])), np.asarray(heart()))


@pytest.mark.parametrize(
    "values",
    [
        [Metric(step=1, loss=0.1)],
        [Metric(step=1, loss=math.nan), Metric(step=2, loss=math.inf)],
        [Metric(step=step, loss=0.1, gradient_norm=0.0, learning_rate=0.0) for step in range(1, 9)],
        [Metric(step=step, loss=-1e30 if step == 4 else 1e30, loss_by_band=[math.nan] * 4) for step in range(1, 9)],
        [Metric(step=10**6, loss=1e-12, images_per_second=1e-3), Metric(step=2 * 10**6, loss=2e-12)],
    ],
    ids=["one", "not a number", "all zero", "huge", "tiny"],
)
def test_odd_measurements_still_make_a_page_without_nan_in_its_drawings(values: list[Metric]) -> None:
    page = read_page(render(ReportData(title="t", verdict="v", metrics=values)))
    assert page.sections == ["curves"]
    for path in page.all("path"):
        assert not re.search("nan|inf", path.attributes["d"])


def test_the_final_loss_is_the_given_one_or_the_end_of_the_curve() -> None:
    falling = metrics(400)
    end = float(np.mean([metric.loss for metric in falling[-11:]]))
    assert (
        f"final loss{end:.3g}"
        in read_page(render(ReportData(title="t", verdict="v", metrics=falling))).all("dl")[0].text
    )
    given = ReportData(title="t", verdict="v", metrics=falling, facts=RunFacts(final_loss=0.5))
    assert "final loss0.5" in read_page(render(given)).all("dl")[0].text


def test_the_report_imports_no_heavy_library() -> None:
    code = "import sys, trainer.report.document, trainer.report.contact_sheet; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "matplotlib", "diffusers", "transformers"} & set(done.stdout.split())
