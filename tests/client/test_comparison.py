"""Adapters beside each other, as their jobs drew them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from loramill import v1
from loramill.comparison import Column, Prompt, comparison_page
from tests.client.conftest import Loramill
from tests.client.fake_service import FakeService
from tests.client.test_previews import png, preview
from tests.trainer.report.page import read_page


def put_job(service: FakeService, job: str, prompts: dict[str, int], **previews: object) -> None:
    spec = v1.TrainingSpec(
        previews=v1.PreviewSpec(
            prompts=[v1.PreviewPrompt(prompt=prompt, seed=seed) for prompt, seed in prompts.items()],
            width=64,
            height=64,
            inference_steps=20,
            guidance_scale=3,
        )
    )
    spec.previews.MergeFrom(v1.PreviewSpec(**previews))  # type: ignore[arg-type]
    service.state.jobs[f"trainingJobs/{job}"] = v1.TrainingJob(name=f"trainingJobs/{job}", spec=spec)
    for suffix, step in (("000010", 10), ("final", 15)):
        name = f"adapters/{job}-{suffix}"
        adapter = v1.Adapter(
            name=name,
            training_job=f"trainingJobs/{job}",
            step=step,
            base_model="baseModels/shapes",
            type=v1.ADAPTER_TYPE_LOHA,
            rank=8,
            activation_tag=f"tag-of-{job}",
            preferred=suffix == "final",
        )
        service.state.adapters[name] = (adapter, {})


def draw(service: FakeService, steps: dict[int, str], prompts: int = 2) -> None:
    """The final adapter is that of step 15, the best; training ended at 20, where its pictures were drawn."""
    for step, color in steps.items():
        for place in range(prompts):
            told, content = preview(step, place, png(color))
            told.seed = place + 1
            service.state.previews.append((told, content))


@pytest.fixture
def trained(service: FakeService) -> FakeService:
    put_job(service, "one", {"[tag] on grass": 1, "a cat": 2})
    put_job(service, "two", {"[tag] on grass": 1, "a dog": 2})
    draw(service, {0: "white", 10: "blue", 20: "red"})
    return service


@pytest.mark.usefixtures("trained")
def test_the_prompts_that_all_have_drawn_are_beside_each_other(loramill: Loramill, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    result = loramill("adapter", "compare", "one-final", "two", "two-000010", "--out", str(out))
    assert (result.code, result.out) == (0, f"{out}\n"), result.err
    page = read_page(out.read_text())
    assert [heading.text for heading in page.all("h2")] == ["[tag] on grass"]
    names = ["without adapter", "one-final", "two-final", "two-000010"]
    assert [caption.text for caption in page.all("figcaption")] == names
    assert "loha, rank 8" in page.all("td")[0].text
    again = loramill("adapter", "compare", "one-final", "two-final", "--out", str(out))
    assert (again.code, "--force" in again.err) == (2, True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sampler": v1.PREVIEW_SAMPLER_EULER}, "another size, sampler, guidance"),
        ({"width": 96}, "another size, sampler, guidance"),
    ],
)
def test_pictures_that_were_drawn_otherwise_are_not_compared(
    trained: FakeService, loramill: Loramill, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    put_job(trained, "two", {"[tag] on grass": 1, "a dog": 2}, **change)
    result = loramill("adapter", "compare", "one-final", "two-final", "--out", str(tmp_path / "page.html"))
    assert result.code == 1
    assert said in result.err
    assert "python -m trainer compare-adapters" in result.err
    assert not list(tmp_path.iterdir())


def test_what_has_not_been_drawn_is_said(trained: FakeService, loramill: Loramill, tmp_path: Path) -> None:
    put_job(trained, "other", {"a bird": 1, "a fish": 2})
    none = loramill("adapter", "compare", "one-final", "other-final", "--out", str(tmp_path / "page.html"))
    assert "no prompt with the same seed" in none.err
    trained.state.adapters["adapters/x-upload"] = (v1.Adapter(name="adapters/x-upload"), {})
    uploaded = loramill("adapter", "compare", "one-final", "x-upload", "--out", str(tmp_path / "page.html"))
    assert "was uploaded" in uploaded.err
    trained.state.adapters["adapters/two-000010"][0].abandoned = True
    given_up = loramill("adapter", "compare", "one-final", "two-000010", "--out", str(tmp_path / "page.html"))
    assert "gave up and did again" in given_up.err
    trained.state.adapters["adapters/two-000010"][0].abandoned = False
    trained.state.previews = [one for one in trained.state.previews if one[0].step != 10]
    missing = loramill("adapter", "compare", "one-final", "two-000010", "--out", str(tmp_path / "page.html"))
    assert "no previews after step 10" in missing.err
    alone = loramill("adapter", "compare", "one-final")
    assert (alone.code, "at least two" in alone.err) == (2, True)


HOSTILE = '<script>alert(1)</script>"><img src=x> \u202egnp.exe\x07'


def test_the_page_shows_hostile_texts_and_fetches_nothing() -> None:
    def page(text: str) -> str:
        columns = [Column(name=text, note=text, pictures=[png("red")]), Column(name=text, pictures=[None])]
        return comparison_page(text, text, [Prompt(text=text, negative=text, seed=3)], columns)

    hostile = page(HOSTILE)
    assert [element.tag for element in read_page(hostile).elements] == [
        element.tag for element in read_page(page("tame")).elements
    ]
    assert not set(hostile) & {"\u202e", "\x07"}
    assert all(value.startswith("data:image/png") for value in re.findall(r'src="([^"]*)"', hostile))
    assert "default-src 'none'" in hostile
