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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from bench import second_base
from bench.concept_cases import Case, World, cases
from trainer.builtin.shapes import draw
from trainer.concepts.analysis import naming_for
from trainer.concepts.evidence import Estimate, Figures, figures
from trainer.concepts.measuring import FULL, Instrument, Pictures
from trainer.concepts.verdict import Verdict, verdict_of
from trainer.config import PreviewConfig
from trainer.config_concepts import ConceptConfig
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

    def figures(self, case: Case) -> Figures:
        """As an analysis of the case's dataset would find them."""
        means, _ = self.base.encode_pictures(np.stack([np.asarray(picture) for picture in case.pictures]))
        pictures = Pictures(
            tuple(range(len(means))),
            [self.base.scaled(mean) for mean in means],
            [FRAMING] * len(means),
            [f"{case.name} {place}" for place in range(len(means))],
        )
        instrument = Instrument(
            base=self.base,
            said=self.said,
            at_once=FULL.pairs,
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
        said = naming_for(instrument, pictures, case.captions, concept, FULL)
        return figures(instrument.evidence(pictures, said, instrument.drawn(said.named), FULL.pairs))


def _quiet(_: int, __: int) -> None:
    """Cases are told one by one."""


def verdicts(folder: Path, world: World, seed: int, work: Path, *, of_the_rule: bool) -> Iterator[tuple[Case, Figures]]:
    """Each case with its figures, those of a run before from `work`."""
    asked: Asked | None = None
    work.mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(cases(world, seed, of_the_rule=of_the_rule)):
        kept = work / f"{number:04d}.json"
        if not kept.exists():
            asked = asked or Asked(folder)
            found = asked.figures(case)
            partial = kept.with_suffix(".partial")
            partial.write_text(json.dumps({"name": case.name, **dataclasses.asdict(found)}))
            partial.replace(kept)
        yield case, _figures(json.loads(kept.read_text()))


def _figures(plain: dict[str, object]) -> Figures:
    estimates = {
        name: Estimate(**plain[name])  # type: ignore[arg-type]
        for name in ("distance", "name_gain", "caption_gain", "empty_distance")
    }
    return Figures(**estimates, distance_by_band=tuple(plain["distance_by_band"]))  # type: ignore[arg-type]


def told(found: Sequence[tuple[Case, Figures]], rule: Callable[[Figures], Verdict] = verdict_of) -> list[str]:
    """Lines: each case that was judged wrongly, then the table of answers and verdicts, then the share that is right."""
    judged = [(case, numbers, rule(numbers)) for case, numbers in found]
    lines = [
        f"wrong: {case.name}: {verdict}, not {case.answer}: name gain {numbers.name_gain.value:.2f}, "
        f"distance {numbers.distance.value:.2f}"
        for case, numbers, verdict in judged
        if verdict != case.answer
    ]
    counts = Counter((case.answer, verdict.value) for case, _, verdict in judged)
    kinds = [verdict.value for verdict in Verdict]
    lines += ["", "| is | " + " | ".join(f"judged {kind}" for kind in kinds) + " |", "|---" * 4 + "|"]
    lines += [f"| {answer} | " + " | ".join(str(counts[answer, kind]) for kind in kinds) + " |" for answer in kinds]
    right = sum(verdict == case.answer for case, _, verdict in judged)
    return [*lines, "", f"{right} of {len(judged)} right, {right / len(judged):.1%}."]


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
    found = []
    work = options.work / f"verdicts-{seed}"
    for case, numbers in verdicts(folder, world, seed, work, of_the_rule=not options.second):
        found.append((case, numbers))
        print(
            f"{case.answer:<9} {verdict_of(numbers).value:<9} name gain {numbers.name_gain.value:6.2f}  distance "
            f"{numbers.distance.value:6.2f}  {case.name}",
            flush=True,
        )
    print("\n".join(told(found)))


if __name__ == "__main__":
    main()
