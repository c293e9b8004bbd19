"""Concepts of kind AUTO in a job: measured before training, once for all of the job's runs, and settled by what was found."""

from __future__ import annotations

from dataclasses import replace

from loramill import v1
from store.records import put_record, read_record
from trainer.concepts.analysis import AnalysisMaterials, ConceptAnalysis, decided
from trainer.concepts.measuring import QUICK
from trainer.config_reading import read_config
from trainer.data.dataset import Reading
from trainer.errors import TrainerError
from trainer.families.base import Base
from trainer.preparation import Preparation
from trainer.record import now

KEY = "concepts.json"
"""Of the record of the decision, in what all runs of a job share."""


def with_concepts_decided(
    preparation: Preparation, base: Base, reading: Reading, fingerprint: str
) -> tuple[Preparation, list[str]]:
    """The preparation of the job as it is then trained, and why, one sentence for each concept of kind AUTO.

    The first run that comes so far decides; every later one reads what it decided, so that they train the same. Call it while no
    adapter is in the base.
    """
    if all(concept.kind != "auto" for concept in preparation.config.concepts):
        return preparation, []
    line = preparation.record.line
    decision = read_record(line, KEY, v1.ConceptDecision)
    if decision is None:
        put_record(line, KEY, _measured(preparation, base, reading, fingerprint))
        decision = read_record(line, KEY, v1.ConceptDecision)
    if decision is None:
        raise TrainerError("What was decided of the job's concepts cannot be read back; look at the object store.")
    for message in decision.messages:
        preparation.reporter.phase(v1.PHASE_EXAMINING, message)
    assignment = v1.Assignment()
    assignment.CopyFrom(preparation.record.assignment)
    assignment.spec.CopyFrom(decision.spec)
    return replace(preparation, config=read_config(assignment)), list(decision.messages)


def _measured(preparation: Preparation, base: Base, reading: Reading, fingerprint: str) -> v1.ConceptDecision:
    config, assignment = preparation.config, preparation.record.assignment
    encoded = preparation.encoded(base, reading)
    preparation.reporter.phase(v1.PHASE_EXAMINING, "asking the base what it knows of the concept")
    materials = AnalysisMaterials(
        config=config,
        base=base,
        base_name=assignment.base_model.name,
        base_digest=assignment.base_model.digest,
        dataset_name=assignment.spec.dataset.dataset,
        examples=reading.examples,
        posteriors=encoded.posteriors,
        words=encoded.words,
        decoder=preparation.decoder,
        cache=preparation.cache,
        fingerprint=fingerprint,
        at_once=max(2, config.optimization.batch_size),
        progress=preparation.progress,
        work=preparation.work,
    )
    spec = v1.TrainingSpec()
    spec.CopyFrom(assignment.spec)
    messages = []
    for place, concept in enumerate(config.concepts):
        if concept.kind == "auto":
            analysis = decided(materials, place, QUICK)
            settle(spec, place, analysis)
            messages.append(f"{analysis.sentence} {_what_follows(spec, place)}")
    return v1.ConceptDecision(spec=spec, messages=messages, create_time=now())


def settle(spec: v1.TrainingSpec, place: int, analysis: ConceptAnalysis) -> None:
    """Fills in what the spec leaves open of the concept at this place; what it says stays."""
    concept = (spec.concept, *spec.concepts)[place]
    name = concept.activation_tag or concept.class_words
    chosen = analysis.settings.concept
    concept.kind = v1.CONCEPT_KIND_NEW if chosen.activation_tag else v1.CONCEPT_KIND_MODIFIED
    concept.activation_tag, concept.class_words = chosen.activation_tag, chosen.class_words
    prior = concept.prior_preservation
    if not prior.HasField("enabled"):
        prior.enabled = chosen.keeps_the_class
    if prior.enabled and not prior.captions and chosen.class_words:
        prior.captions.append(chosen.class_words)
    if place == 0 and not spec.previews.prompts and not chosen.activation_tag and not chosen.class_words:
        for seed, shown in enumerate(analysis.shown[:2]):
            spec.previews.prompts.add(prompt=shown.caption, seed=seed)
    for subset in spec.dataset.subsets:
        if name and subset.concept == name:
            subset.concept = concept.activation_tag or concept.class_words


def _what_follows(spec: v1.TrainingSpec, place: int) -> str:
    concept = (spec.concept, *spec.concepts)[place]
    parts = [f"activation tag {concept.activation_tag!r}" if concept.activation_tag else "no activation tag"]
    parts.append(f"class words {concept.class_words!r}" if concept.class_words else "no class words")
    parts.append(f"prior preservation {'on' if concept.prior_preservation.enabled else 'off'}")
    return f"It is trained with {', '.join(parts)}."
