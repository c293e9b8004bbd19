"""The data report of a job: made with the base that is loaded for it, and stored where the service finds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from trainer.cache import Cache
from trainer.data.dataset import Example
from trainer.data.images import Decoder
from trainer.data.rules import PictureRules, SubsetRules
from trainer.data.views import View
from trainer.data_report.as_json import as_json
from trainer.data_report.budget import Sample
from trainer.data_report.document import render
from trainer.data_report.judging import Judge
from trainer.data_report.looking import look_at
from trainer.data_report.report import Captions, DataReport, data_report, with_judgements
from trainer.data_report.table import as_table
from trainer.data_report.words import bare
from trainer.embeddings import Words
from trainer.families.base import Base
from trainer.latents import Posterior

log = structlog.get_logger()

FOLDER = "data-report"
"""Of a run; in it `report.html`, `report.json` and `report.txt`."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Reporting:
    """What a data report is made with."""

    subsets: Sequence[SubsetRules]
    rules: PictureRules
    base: Base
    base_name: str
    base_digest: str
    fingerprint: str
    at_once: int
    """Pictures that the UNet's memory is sure to suffice for."""
    decoder: Decoder
    cache: Cache
    progress: Callable[[str], Progress]

    def made(
        self,
        name: str,
        examples: Sequence[Example],
        texts: Sequence[str],
        words: Words,
        posteriors: Mapping[View, Posterior],
        chosen: Sample,
    ) -> DataReport:
        """`texts` are the captions as the text encoder reads them; the base is asked about what is `chosen`."""
        looks = look_at(examples, self.decoder, self.cache, self.progress("looking at pictures"))
        encoders = self.base.text_encoders
        captions = Captions(
            texts=texts,
            counted=words.token_counts(texts),
            token_limit=min(encoder.most for encoder in encoders),
        )
        report = data_report(name, examples, looks, self.subsets, self.rules, captions)
        judge = Judge(
            base=self.base,
            words=words,
            decoder=self.decoder,
            cache=self.cache,
            base_digest=self.base_digest,
            fingerprint=self.fingerprint,
            at_once=self.at_once,
        )
        asked = [examples[place] for place in chosen.places]
        without_tag = [
            bare(texts[place], self.subsets[examples[place].subset].activation_tag) for place in chosen.places
        ]
        words.prepare([], {"", *without_tag} if asked else (), self.progress("encoding captions without their tag"))
        progress = self.progress("asking the base about the data")
        judged = judge.judged(asked, without_tag, posteriors, chosen.passes_for_parts, progress)
        return with_judgements(
            report, dict(zip(chosen.places, judged, strict=True)), self.base_name, chosen.why_not_all
        )


def store(report: DataReport, work: Path, put: Callable[[str, Path], None]) -> None:
    """Has it put into the run's folder, in every form; `put` is given the key and the file."""
    for name, text in (
        ("report.html", render(report)),
        ("report.json", as_json(report)),
        ("report.txt", as_table(report)),
    ):
        path = work / name
        path.write_text(text, encoding="utf-8")
        put(f"{FOLDER}/{name}", path)
    for one in report.suggestions:
        log.info("suggestion", code=one.code, action=one.action.value, what=one.title)
