"""Errors → figures → verdict → settings: what is decided, and what of it a job takes."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.concepts.evidence import Evidence, Side, figures
from trainer.concepts.naming import CalledBy, naming
from trainer.concepts.settings import settings_of
from trainer.concepts.verdict import Verdict, verdict_of
from trainer.concepts.wording import sentence_of
from trainer.config_concepts import ConceptConfig


def side(named: float, unnamed: float, nothing: float) -> Side:
    """Four pictures at eight timesteps that differ a little."""
    spread = 1 + 0.05 * np.random.default_rng(0).standard_normal((4, 8))
    return Side(named=named * spread, unnamed=unnamed * spread, name_alone=unnamed * spread, nothing=nothing * spread)


def evidence(dataset: Side, own: Side, name: str = "star") -> Evidence:
    return Evidence(
        naming=naming(["a red star"] * 4, "", name),
        places=(0, 1, 2, 3),
        timesteps=tuple(range(62, 1000, 125)),
        dataset=dataset,
        own=own,
    )


OWN = side(0.02, 0.04, 0.05)
STAR = naming(["a red star"], "", "star")


@pytest.mark.parametrize(
    ("dataset", "verdict"),
    [
        (side(0.018, 0.036, 0.05), Verdict.KNOWN),
        (side(0.08, 0.12, 0.14), Verdict.MODIFIED),
        (side(0.10, 0.105, 0.14), Verdict.NEW),
        (side(0.11, 0.11, 0.10), Verdict.NEW),
        (side(0.11, 0.09, 0.10), Verdict.NEW),
    ],
)
def test_verdicts(dataset: Side, verdict: Verdict) -> None:
    found = figures(evidence(dataset, OWN))
    assert verdict_of(found, CalledBy.NAME) is verdict
    assert sentence_of(verdict, found, STAR).startswith(f"{verdict}: ")


def test_a_word_that_means_nothing_to_the_base_makes_it_new() -> None:
    own = side(0.0200, 0.0202, 0.03)
    found = figures(evidence(side(0.08, 0.12, 0.14), own))
    assert verdict_of(found, CalledBy.NAME) is Verdict.NEW
    assert "the word 'star' means nothing to it" in sentence_of(Verdict.NEW, found, STAR)


def test_what_the_base_draws_itself_is_known_whatever_the_word_means_to_it() -> None:
    """A base may draw a thing well and be told little by its name."""
    own = side(0.0200, 0.0202, 0.03)
    found = figures(evidence(side(0.021, 0.0212, 0.03), own))
    assert verdict_of(found, CalledBy.NAME) is Verdict.KNOWN


@pytest.mark.parametrize(("error", "verdict"), [(0.02, Verdict.KNOWN), (0.08, Verdict.NEW)])
def test_a_name_that_was_only_tried_cannot_show_that_the_thing_is_known(error: float, verdict: Verdict) -> None:
    """Of several there is always one that says something."""
    said = naming(["a red lumi"], "lumi", "star", CalledBy.TRIAL)
    found = figures(evidence(side(error, 2 * error, 3 * error), OWN))
    assert verdict_of(found, CalledBy.NAME) is not Verdict.NEW
    assert verdict_of(found, said.by) is verdict
    assert "nobody calls it by a name (class words would tell more), and the word 'star'" in sentence_of(
        verdict, found, said
    )


@pytest.mark.parametrize(("error", "verdict"), [(0.02, Verdict.KNOWN), (0.08, Verdict.NEW)])
def test_captions_that_name_nothing_cannot_show_that_the_thing_is_known(error: float, verdict: Verdict) -> None:
    """Colours and backgrounds tell much of any picture."""
    said = naming(["red on sand", "blue on sky"], "", "", CalledBy.NOBODY)
    found = figures(evidence(side(error, 2 * error, 3 * error), OWN, ""))
    assert verdict_of(found, said.by) is verdict
    assert verdict_of(found, CalledBy.CAPTIONS) is not Verdict.NEW
    assert "no caption has a word for what is shown" in sentence_of(verdict, found, said)


def test_figures_have_intervals_and_repeat() -> None:
    shown = evidence(side(0.08, 0.10, 0.12), OWN)
    found = figures(shown)
    assert found == figures(shown)
    assert found.own_gain.value == pytest.approx(0.5)
    assert found.name_gain.value == pytest.approx(0.2 / 0.5)
    assert found.caption_gain.value == pytest.approx((1 / 3) / 0.6)
    assert found.distance_by_band == pytest.approx((4, 4, 4, 4))
    assert found.distance.low < found.distance_by_band[0] < found.distance.high
    assert found.empty_distance.value == pytest.approx(0.12 / 0.05)


def test_the_band_where_they_differ_most_is_the_distance() -> None:
    fine = np.array([5.0, 5, 1, 1, 1, 1, 1, 1])
    other = side(0.02, 0.04, 0.05)
    styled = Side(named=other.named * fine, unnamed=other.unnamed, name_alone=other.unnamed, nothing=other.nothing)
    found = figures(evidence(styled, OWN))
    assert found.distance_by_band == pytest.approx((5, 1, 1, 1))
    assert found.distance.value == pytest.approx(5)


def test_few_timesteps_make_few_bands() -> None:
    short = Side(**{name: values[:, :2] for name, values in vars(OWN).items()})
    assert figures(evidence(short, short)).distance_by_band == pytest.approx((1, 1))


def concept(tag: str = "", class_words: str = "", prior: bool | None = None) -> ConceptConfig:
    return ConceptConfig(kind="auto", activation_tag=tag, class_words=class_words, prior_preservation=prior)


@pytest.mark.parametrize(
    ("given", "verdict", "chosen"),
    [
        (concept(), Verdict.NEW, {"kind": "new", "activation_tag": "vusk", "prior_preservation": {"enabled": False}}),
        (
            concept(),
            Verdict.MODIFIED,
            {
                "kind": "modified",
                "class_words": "star",
                "prior_preservation": {"enabled": True, "captions": ["star"]},
            },
        ),
        (
            concept("lumi", prior=False),
            Verdict.MODIFIED,
            {"kind": "new", "activation_tag": "lumi", "class_words": "star", "prior_preservation": {"enabled": False}},
        ),
        (
            concept("lumi", "thing"),
            Verdict.NEW,
            {"kind": "new", "activation_tag": "lumi", "class_words": "thing", "prior_preservation": {"enabled": False}},
        ),
    ],
)
def test_what_is_given_stays_and_the_rest_follows(
    given: ConceptConfig, verdict: Verdict, chosen: dict[str, object]
) -> None:
    assert settings_of(given, verdict, "star", "vusk").as_job_file() == {"concept": chosen}


def test_many_known_things_rendered_otherwise_are_a_style() -> None:
    assert settings_of(concept(), Verdict.MODIFIED, "", "").as_job_file()["purpose"] == "style"
