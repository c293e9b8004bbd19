"""How well new, modified and known concepts are told apart, and wrong captions found: docs/decisions has the protocol.

    python -m bench.concepts verdicts                 on the base that the rule was fixed on, with what it was fixed by
    python -m bench.concepts verdicts --second        on the other base, which it is judged on
    python -m bench.concepts captions [--second]      wrong captions among right ones

A run that was stopped goes on: each case's figures are kept below --work.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import second_base
from bench.concept_cases import Case, World, cases, misnamed
from trainer.builtin.shapes import draw
from trainer.concepts.analysis import naming_for
from trainer.concepts.evidence import Estimate, Figures, figures
from trainer.concepts.measuring import QUICK, Instrument, Pictures
from trainer.concepts.naming import CalledBy
from trainer.concepts.verdict import Verdict, verdict_of
from trainer.config import PreviewConfig
from trainer.config_concepts import ConceptConfig
from trainer.data_report.budget import evenly
from trainer.families.base import Base, Conditioning, Framing
from trainer.families.registry import load_base

RULE_SEED, JUDGED_SEED = 1, 2
FRAMING = Framing((draw.SIZE, draw.SIZE), (0, 0), (draw.SIZE, draw.SIZE))


class Asked:
    """A base, and what its text encoder made of captions so far."""

    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)
        self.base: Base = load_base("sd15", folder, torch.device("cpu"), torch.float32)
        self._said: dict[str, Conditioning] = {}

    @torch.no_grad()
    def said(self, texts: Sequence[str]) -> Conditioning:
        for text in texts:
            if text not in self._said:
                self._said[text] = self.base.encode_captions([text])
        return Conditioning(torch.cat([self._said[text].words for text in texts]))

    def measured(self, case: Case) -> tuple[CalledBy, Figures]:
        """As a job whose concept is of kind AUTO would find them before it trains."""
        shown = evenly(len(case.pictures), QUICK.pictures)
        means, _ = self.base.encode_pictures(np.stack([np.asarray(case.pictures[place]) for place in shown]))
        pictures = Pictures(
            shown,
            [self.base.scaled(mean) for mean in means],
            [FRAMING] * len(means),
            [f"{case.name} {place}" for place in shown],
        )
        instrument = Instrument(
            base=self.base,
            said=self.said,
            at_once=QUICK.pairs,
            drawing=PreviewConfig(prompts=(), every_steps=0, inference_steps=20, guidance_scale=3.0),
            side=draw.SIZE,
            progress=lambda _: _quiet,
        )
        concept = ConceptConfig(
            kind="auto",
            activation_tag=case.activation_tag,
            class_words=case.class_words,
            prior_preservation=None,
        )
        said = naming_for(instrument, pictures, [case.captions[place] for place in shown], concept, QUICK)
        found = figures(instrument.evidence(pictures, said, instrument.drawn(said.named), QUICK.pairs))
        return said.by, found


def _quiet(_: int, __: int) -> None:
    """Cases are told one by one."""


Judged = tuple[Case, Verdict, Figures]


def verdicts(folder: Path, all_cases: Iterable[Case], work: Path) -> Iterator[Judged]:
    """Each case with its verdict and figures; what was measured before is kept in `work`, and judged by the rule of today."""
    asked: Asked | None = None
    work.mkdir(parents=True, exist_ok=True)
    for case in all_cases:
        kept = work / f"{case.name.replace(' ', '-').replace(':', '')}.json"
        if not kept.exists():
            asked = asked or Asked(folder)
            by, measured = asked.measured(case)
            partial = kept.with_suffix(".partial")
            partial.write_text(json.dumps({"by": by.value, "figures": dataclasses.asdict(measured)}))
            partial.replace(kept)
        plain = json.loads(kept.read_text())
        found = _figures(plain["figures"])
        yield case, verdict_of(found, CalledBy(plain["by"])), found


def _figures(plain: dict[str, Any]) -> Figures:
    estimates = {name: Estimate(**value) for name, value in plain.items() if isinstance(value, dict)}
    return Figures(**estimates, distance_by_band=tuple(plain["distance_by_band"]))


def line_of(case: Case, verdict: Verdict, found: Figures) -> str:
    mark = " " if verdict == case.answer else "≠"
    return (
        f"{case.answer:<8} {mark} {verdict.value:<8}  means {found.own_gain.value:5.2f}  tells {found.name_gain.value:6.2f}  "
        f"distance {found.distance.value:5.2f}  {case.name}"
    )


def table(judged: Sequence[Judged]) -> list[str]:
    """Answers and verdicts, and the share that is right."""
    counts = Counter((Verdict(case.answer), verdict) for case, verdict, _ in judged)
    kinds = list(Verdict)
    rows = [f"| {answer} | " + " | ".join(str(counts[answer, kind]) for kind in kinds) + " |" for answer in kinds]
    right = sum(verdict == case.answer for case, verdict, _ in judged)
    return [
        "| is | " + " | ".join(f"judged {kind}" for kind in kinds) + " |",
        "|---" * 4 + "|",
        *rows,
        "",
        f"{right} of {len(judged)} right, {right / len(judged):.1%}.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.concepts", description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["verdicts", "captions"])
    parser.add_argument(
        "--second", action="store_true", help="on the second base, which is trained first if it is missing"
    )
    parser.add_argument("--work", type=Path, default=Path("build/concepts"), help="where a stopped run goes on from")
    parser.add_argument("--pictures", type=int, default=24, help="wrong captions of each kind")
    options = parser.parse_args()
    if options.second:
        folder, world, seed = second_base.second_base(), World(second_base.KNOWN, second_base.HELD_OUT), JUDGED_SEED
    else:
        known = [shape for shape in draw.SHAPES if shape not in draw.HELD_OUT]
        folder, world, seed = second_base.SHIPPED, World(known, draw.HELD_OUT), RULE_SEED
    if options.what == "captions":
        from bench.data_report_captions import Words, rows

        for row in rows(options.pictures, folder, Words(tuple(world.known), tuple(world.held_out)), seed=12 * seed):
            print("| " + " | ".join(row) + " |", flush=True)
        return
    of_the_rule = not options.second
    judged = []
    for one in verdicts(folder, cases(world, seed, of_the_rule=of_the_rule), options.work / f"verdicts-{seed}"):
        judged.append(one)
        print(line_of(*one), flush=True)
    print("\n".join(["", *table(judged), "", "Called by the word of another thing, not counted:"]))
    for one in verdicts(folder, misnamed(world, seed, of_the_rule=of_the_rule), options.work / f"misnamed-{seed}"):
        print(line_of(*one), flush=True)


if __name__ == "__main__":
    main()
