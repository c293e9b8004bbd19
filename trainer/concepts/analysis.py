"""What the frozen base knows of a job's concepts: measured, judged, and what follows for the job's settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.cache import Cache
from trainer.concepts.evidence import Evidence, Figures, figures
from trainer.concepts.measuring import FULL, Effort, Instrument, Pictures
from trainer.concepts.naming import CalledBy, Naming, calls_things, has_tag_inside, heads, naming
from trainer.concepts.settings import Settings, settings_of
from trainer.concepts.tag_check import TagFinding, made_up_tags, ordinary_words
from trainer.concepts.tag_measuring import Pictures as TagPictures
from trainer.concepts.tag_measuring import TagChecks
from trainer.concepts.verdict import Verdict, verdict_of
from trainer.concepts.wording import sentence_of
from trainer.config import TrainConfig
from trainer.config_concepts import ConceptConfig
from trainer.data.dataset import Example
from trainer.data.images import Decoder
from trainer.data.views import View
from trainer.data_report.budget import evenly
from trainer.data_report.judging import Judge
from trainer.data_report.suggestions import wrong_captions
from trainer.data_report.words import bare
from trainer.embeddings import Words
from trainer.errors import UserError
from trainer.families.base import Base
from trainer.latents import Posterior
from trainer.loop import caption_variant, framing_of

Drawn = NDArray[np.uint8]
"""(height, width, 3)."""

_CAPTIONS = 256
"""Captions of a concept that are looked at for wrong words."""
_UNLIMITED = 10**9


@dataclass(frozen=True, kw_only=True)
class AnalysisMaterials:
    """What an analysis is made with; no adapter is in the base."""

    config: TrainConfig
    base: Base
    base_name: str
    base_digest: str
    dataset_name: str
    examples: Sequence[Example]
    posteriors: Mapping[View, Posterior]
    words: Words
    decoder: Decoder
    cache: Cache
    fingerprint: str
    """Of the UNet's arithmetic."""
    at_once: int
    """Pictures that the UNet's memory is sure to suffice for."""
    progress: Callable[[str], Callable[[int, int], None]]
    work: Path
    """A folder of the run's own."""


@dataclass(frozen=True, kw_only=True)
class WrongCaption:
    """A caption that says what is not there."""

    path: str
    caption: str
    words: str
    """Of it, those that are wrong."""
    instead: str
    """What fits better; empty where nothing that other captions say does."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A picture of the dataset beside what the base draws for its caption."""

    path: str
    caption: str
    """With the concept's name."""
    picture: Drawn
    """As the base's VAE keeps it."""
    drawn: Drawn


@dataclass(frozen=True, kw_only=True)
class ConceptAnalysis:
    """Of one concept."""

    concept: ConceptConfig
    verdict: Verdict
    sentence: str
    evidence: Evidence
    figures: Figures
    settings: Settings
    tag: TagFinding | None
    """Of the activation tag that was given; None where none was."""
    wrong: tuple[WrongCaption, ...]
    captions: int
    """How many captions were looked at for wrong words."""
    shown: tuple[Shown, ...]


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """Of all of a job's concepts."""

    base: str
    dataset: str
    concepts: tuple[ConceptAnalysis, ...]

    @property
    def sentence(self) -> str:
        """For people, on one line."""
        if len(self.concepts) == 1:
            return self.concepts[0].sentence
        return " ".join(f"{one.concept.name}: {one.sentence}" for one in self.concepts)


def analyzed(materials: AnalysisMaterials) -> Analysis:
    """Of every concept of the job, whatever its kind. Raises UserError where a concept has no picture."""
    return Analysis(
        base=materials.base_name,
        dataset=materials.dataset_name,
        concepts=tuple(
            _analyzed(materials, place, FULL, with_captions=True) for place in range(len(materials.config.concepts))
        ),
    )


def decided(materials: AnalysisMaterials, place: int, effort: Effort) -> ConceptAnalysis:
    """Of one concept, without a look at each caption: for a job that asks before it trains."""
    return _analyzed(materials, place, effort, with_captions=False)


def _analyzed(materials: AnalysisMaterials, place: int, effort: Effort, *, with_captions: bool) -> ConceptAnalysis:
    config, base = materials.config, materials.base
    concept = config.concepts[place]
    examples = [
        one
        for one in materials.examples
        if (rules := config.subsets[one.subset]).concept == place and not rules.class_images
    ]
    if not examples:
        raise UserError(
            f"There is no picture of {concept.name!r}, so that nothing can be measured of it; let a subset name it."
        )
    texts = [caption_variant(config, one, 0) for one in examples]
    chosen = evenly(len(examples), min(effort.pictures, len(examples)))
    measured = [examples[one] for one in chosen]
    pictures = Pictures(
        places=chosen,
        latents=[base.scaled(materials.posteriors[View(one.id, mirrored=False)].mean) for one in measured],
        framings=[framing_of(one, View(one.id, mirrored=False)) for one in measured],
        keys=[one.sha256 for one in measured],
    )
    instrument = Instrument(
        base=base,
        said=materials.words.of_base,
        at_once=materials.at_once,
        drawing=config.previews,
        side=config.pictures.resolution,
        progress=materials.progress,
    )
    said = naming_for(instrument, pictures, [texts[one] for one in chosen], concept, effort)
    own = instrument.drawn(said.named)
    evidence = instrument.evidence(pictures, said, own, effort.pairs)
    found = figures(evidence)
    verdict = verdict_of(found, said.by)
    checks = _tag_checks(materials, measured)
    asks_for_tag = not concept.activation_tag and verdict is Verdict.NEW
    return ConceptAnalysis(
        concept=concept,
        verdict=verdict,
        sentence=sentence_of(verdict, found, said),
        evidence=evidence,
        figures=found,
        settings=settings_of(concept, verdict, said.name, _unused_tag(checks, base) if asks_for_tag else ""),
        tag=checks.finding(concept.activation_tag) if concept.activation_tag else None,
        wrong=_wrong_captions(materials, examples, texts, concept) if with_captions else (),
        captions=min(_CAPTIONS, len(examples)) if with_captions else 0,
        shown=tuple(
            Shown(path=one.path, caption=caption, picture=_picture(base, latents), drawn=_picture(base, drawn))
            for one, caption, latents, drawn in zip(measured, said.named, pictures.latents, own, strict=True)
        ),
    )


def naming_for(
    instrument: Instrument, pictures: Pictures, texts: Sequence[str], concept: ConceptConfig, effort: Effort
) -> Naming:
    """With the class words, else with what all captions are about, else with the ordinary word that helps the base most."""
    tag = concept.activation_tag
    if concept.class_words:
        return naming(texts, tag, concept.class_words)
    names, by = heads(texts, tag), CalledBy.NAME
    says_nothing = not any(bare(text, tag).strip() for text in texts)
    if not names and (has_tag_inside(texts, tag) or says_nothing):
        encoder = instrument.base.text_encoders[0]
        names, by = ordinary_words(lambda word: len(encoder.token_ids(word)) == 1), CalledBy.TRIAL
    if not names:
        return naming(texts, tag, "", CalledBy.CAPTIONS if calls_things(texts, tag) else CalledBy.NOBODY)
    candidates = [naming(texts, tag, name, by) for name in names]
    if len(candidates) == 1:
        return candidates[0]
    gains = instrument.name_gains(pictures, candidates, effort.trial_pairs)
    return candidates[int(np.argmax(gains))]


def _tag_checks(materials: AnalysisMaterials, measured: Sequence[Example]) -> TagChecks:
    first, base = measured[0], materials.base
    alike = [one for one in measured if one.bucket == first.bucket][:2]
    pictures = TagPictures(
        latents=[base.scaled(materials.posteriors[View(one.id, mirrored=False)].mean) for one in alike],
        framing=framing_of(first, View(first.id, mirrored=False)),
        key=[[one.sha256, one.resize, one.crops[0]] for one in alike],
    )
    depends_on = {"base": materials.base_digest, "fingerprint": materials.fingerprint}
    return TagChecks(base, pictures, materials.cache, depends_on, at_once=materials.at_once)


def _unused_tag(checks: TagChecks, base: Base) -> str:
    """The made-up tag that means least to the base, of those that are offered."""
    encoder = base.text_encoders[0]
    first = made_up_tags(lambda word: len(encoder.token_ids(word)) == 1)[0]
    return checks.finding(first).suggestions[0]


def _wrong_captions(
    materials: AnalysisMaterials, examples: Sequence[Example], texts: Sequence[str], concept: ConceptConfig
) -> tuple[WrongCaption, ...]:
    judge = Judge(
        base=materials.base,
        words=materials.words,
        decoder=materials.decoder,
        cache=materials.cache,
        base_digest=materials.base_digest,
        fingerprint=materials.fingerprint,
        at_once=materials.at_once,
    )
    chosen = evenly(len(examples), min(_CAPTIONS, len(examples)))
    asked, captions = [examples[one] for one in chosen], [bare(texts[one], concept.activation_tag) for one in chosen]
    judged = judge.judged(
        asked, captions, materials.posteriors, _UNLIMITED, materials.progress("asking about captions")
    )
    return tuple(
        WrongCaption(
            path=asked[place].path,
            caption=captions[place],
            words=judged[place].worst_words,
            instead=judged[place].instead,
        )
        for place in wrong_captions(judged)
    )


def _picture(base: Base, latents: Tensor) -> Drawn:
    with torch.no_grad():
        picture = base.decode_latents(base.unscaled(latents)[None])[0]
    shown: Drawn = (255 * picture).round().clip(0, 255).astype(np.uint8)
    return shown
