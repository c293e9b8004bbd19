"""The data report for programs."""

from __future__ import annotations

import dataclasses
import json

from trainer.data_report.facts import SCHEMA_VERSION
from trainer.data_report.report import DataReport


def as_json(report: DataReport) -> str:
    """One JSON object; pictures are named by their paths. Its form is in docs/data-report.md."""
    facts = report.facts
    paths = [one.path for one in facts.pictures]
    captions = facts.captions
    return json.dumps(
        {
            "schema_version": SCHEMA_VERSION,
            "dataset": facts.name,
            "resolution": facts.resolution,
            "base_model": facts.base,
            "not_judged": facts.not_judged,
            "suggestions": [
                {
                    "code": one.code,
                    "action": one.action.value,
                    "title": one.title,
                    "reason": one.reason,
                    "pictures": [paths[place] for place in one.pictures],
                }
                for one in report.suggestions
            ],
            "subsets": [dataclasses.asdict(subset) for subset in facts.subsets],
            "captions": {
                "distinct": captions.distinct,
                "token_limit": captions.token_limit,
                "tags": dict(captions.tags),
                "words": dict(captions.words),
                "identical": [
                    {"caption": text, "pictures": [paths[place] for place in places]}
                    for text, places in captions.identical
                ],
            },
            "near_duplicates": [[paths[place] for place in group] for group in facts.near_duplicates],
            "pictures": [
                {**dataclasses.asdict(one), "tokens": captions.tokens[place] if captions.tokens else None}
                for place, one in enumerate(facts.pictures)
            ],
        },
        ensure_ascii=False,
        indent=1,
    )
