"""An analysis for programs."""

from __future__ import annotations

import dataclasses
import json

from trainer.concepts.analysis import Analysis, ConceptAnalysis
from trainer.concepts.evidence import Side

SCHEMA_VERSION = 1


def as_json(analysis: Analysis) -> str:
    """One JSON object: that of the first concept, with all of them in `concepts`. Its form is in docs/concepts.md."""
    concepts = [_concept(one) for one in analysis.concepts]
    top = {"schema_version": SCHEMA_VERSION, "base_model": analysis.base, "dataset": analysis.dataset}
    return json.dumps({**top, **concepts[0], "concepts": concepts}, ensure_ascii=False, indent=1)


def _concept(one: ConceptAnalysis) -> dict[str, object]:
    evidence = one.evidence
    return {
        "name": one.concept.name,
        "verdict": one.verdict.value,
        "sentence": one.sentence,
        "settings": one.settings.as_job_file(),
        "known_as": evidence.naming.name,
        "figures": dataclasses.asdict(one.figures),
        "timesteps": list(evidence.timesteps),
        "errors": {"dataset": _errors(evidence.dataset), "own": _errors(evidence.own)},
        "pictures": [
            {
                "path": shown.path,
                "caption": shown.caption,
                "error": float(evidence.dataset.named[place].mean()),
                "own_error": float(evidence.own.named[place].mean()),
            }
            for place, shown in enumerate(one.shown)
        ],
        "activation_tag": None
        if one.tag is None
        else {"tag": one.tag.tag, "is_good": one.tag.is_good, "sentence": one.tag.sentence},
        "captions_looked_at": one.captions,
        "wrong_captions": [dataclasses.asdict(caption) for caption in one.wrong],
    }


def _errors(side: Side) -> dict[str, list[float]]:
    """Means over the pictures, by text and timestep."""
    return {field.name: getattr(side, field.name).mean(axis=0).tolist() for field in dataclasses.fields(side)}
