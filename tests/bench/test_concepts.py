"""The cases of the concept bench are what its protocol says, and its table counts them."""

from __future__ import annotations

from collections import Counter

from bench import second_base
from bench.concept_cases import Case, World, cases
from bench.concepts import line_of, table
from trainer.builtin.shapes import draw
from trainer.concepts.evidence import Estimate, Figures
from trainer.concepts.verdict import Verdict

FIRST = World([shape for shape in draw.SHAPES if shape not in draw.HELD_OUT], draw.HELD_OUT)


def test_there_are_more_than_a_hundred_and_the_rule_saw_fewer() -> None:
    judged = list(cases(World(second_base.KNOWN, second_base.HELD_OUT), 2, of_the_rule=False))
    seen = list(cases(FIRST, 1, of_the_rule=True))
    assert Counter(case.answer for case in judged) == {"KNOWN": 32, "MODIFIED": 35, "NEW": 42}
    assert len({case.name for case in judged}) == len(judged)
    assert not {"dotted", "teal", "comb"} & {word for case in seen for word in case.name.split()}
    for case in judged:
        assert len(case.pictures) == len(case.captions) == 12
        assert (case.activation_tag == "") == (not any("lumi" in caption for caption in case.captions))


def test_the_table_counts_answers_and_verdicts() -> None:
    one = Estimate(1, 1, 1)
    figures = Figures(
        distance=one, own_gain=one, name_gain=one, caption_gain=one, empty_distance=one, distance_by_band=(1, 1, 1, 1)
    )
    known, new = (Case(name=answer, answer=answer, pictures=[], captions=[]) for answer in ("KNOWN", "NEW"))
    judged = [(known, Verdict.KNOWN, figures), (known, Verdict.MODIFIED, figures), (new, Verdict.NEW, figures)]
    assert "| KNOWN | 0 | 1 | 1 |" in table(judged)
    assert table(judged)[-1] == "2 of 3 right, 66.7%."
    assert "≠" in line_of(*judged[1])
    assert "≠" not in line_of(*judged[0])
