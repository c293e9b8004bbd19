"""The pages in a real Chromium, at the width of a phone and of a desk: nothing sticks out, the slider slides, nothing is blocked.

The screenshots are left in the folder that LORAMILL_SCREENSHOTS names, for eyes.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loramill.comparison import Column, Prompt, comparison_page
from tests.trainer.report.chromium import Tab, browser, executable
from tests.trainer.report.samples import HOSTILE, whole_report
from trainer.report.document import render

WIDTHS = {"phone": 390, "desk": 1280}

pytestmark = pytest.mark.skipif(
    executable() is None,
    reason="NO CHROMIUM: how pages look is not tested; install it (apt-get install chromium), or name it in LORAMILL_CHROMIUM",
)


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    with browser(executable() or "") as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    noise = io.BytesIO()
    Image.effect_noise((512, 512), 80).convert("RGB").save(noise, "PNG")
    columns = [Column(name=f"{name}-final", note="lora, rank 8", pictures=[noise.getvalue()] * 2) for name in "abcde"]
    prompts = [Prompt(text="a zorp on grass"), Prompt(text=HOSTILE, negative="word " * 100)]
    texts = {
        "report": render(whole_report("a zorp, standing on a meadow in the morning")),
        "hostile": render(whole_report(HOSTILE + " " + "unbroken" * 40)),
        "comparison": comparison_page("5 adapters", "as the jobs drew them", prompts, columns),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in texts}


# The lists of code and the slider's own bar scroll inside themselves; everything else must end where the window ends.
STICKING_OUT = """[...document.body.querySelectorAll("*")].filter((element) => {
  const box = element.getBoundingClientRect();
  return box.width && box.right > window.innerWidth + 1 && !element.closest("pre");
}).map((element) => element.tagName + "." + element.className).slice(0, 5)"""


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["report", "hostile", "comparison"])
def test_nothing_sticks_out_and_nothing_is_blocked(
    tab: Tab, pages: dict[str, Path], name: str, width: str, tmp_path: Path
) -> None:
    tab.open(pages[name], WIDTHS[width])
    assert tab.value("window.innerWidth") == WIDTHS[width]
    assert tab.value("document.documentElement.scrollWidth") == WIDTHS[width], tab.value(STICKING_OUT)
    assert tab.value(STICKING_OUT) == []
    assert tab.complaints == []
    broken = "[...document.images].filter((image) => !image.naturalWidth).length"
    assert (tab.value("document.images.length") > 2, tab.value(broken)) == (True, 0)
    folder = Path(os.environ.get("LORAMILL_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    shot = folder / f"{name}-{width}.png"
    tab.screenshot(shot)
    with Image.open(shot) as picture:
        assert picture.width == WIDTHS[width]
        assert picture.height > 800
        assert np.asarray(picture.convert("L")).std() > 10, "the page is not empty"


SHOWN = """[...document.querySelectorAll(".preview .frame")].filter((frame) => frame.getBoundingClientRect().height)
  .map((frame) => frame.dataset.step)"""


def test_the_slider_shows_one_step_of_each_prompt(tab: Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["report"], 390)
    assert tab.value(SHOWN) == ["200", "200"], "the last step at first"
    slid = 'const input = document.querySelector(".slider input"); input.value = 0; input.dispatchEvent(new Event("input"))'
    tab.value(f"(() => {{ {slid} }})()")
    assert tab.value(SHOWN) == ["0", "0"]
    assert tab.value('document.querySelector(".slider output").textContent') == "0"


def test_without_scripts_every_step_is_there(tab: Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["report"], 1280, scripts=False)
    assert tab.value(SHOWN) == ["0", "200", "0", "200"]
    assert tab.value('document.querySelector(".slider").getBoundingClientRect().height') == 0


def test_what_sticks_out_is_found(tab: Tab, tmp_path: Path) -> None:
    """Else the tests above would prove nothing."""
    page = tmp_path / "wide.html"
    page.write_text(
        '<!DOCTYPE html><meta name="viewport" content="width=device-width"><body><div class="wide" '
        'style="width: 800px">wide</div><img src="data:image/png;base64,AA" width="10" height="10"></body>'
    )
    tab.open(page, 390)
    assert tab.value("document.documentElement.scrollWidth") > 390
