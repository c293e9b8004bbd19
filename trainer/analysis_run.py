"""The story of a run that measures what the base knows of a concept.

claim → data → base model → latents and words → analysis → end
"""

from __future__ import annotations

from loramill import v1
from trainer.concepts.analysis import AnalysisMaterials, analyzed
from trainer.concepts.as_json import as_json
from trainer.concepts.document import as_html
from trainer.confirmation import confirm_base
from trainer.prepared import prepared
from trainer.progress import Reporter
from trainer.record import RunRecord
from trainer.settings import TrainerSettings
from trainer.stopping import StopSignal

FOLDER = "concept-analysis"
"""Of a run; in it `analysis.json` and `analysis.html`."""


def run(record: RunRecord, settings: TrainerSettings, reporter: Reporter, stop: StopSignal) -> str:
    """Does the assignment; its last word when the analysis is stored. Raises a TrainerError, and Stopped."""
    with stop.interrupting(), prepared(record, settings, reporter, stop) as ready:
        preparation, encoded, assignment = ready.preparation, ready.encoded, record.assignment
        reporter.phase(v1.PHASE_EXAMINING, "measuring what the base knows")
        config, examples = preparation.config, ready.reading.examples
        confirm_base(ready.base, config, examples, encoded.posteriors, encoded.words)
        analysis = analyzed(
            AnalysisMaterials(
                config=config,
                base=ready.base,
                base_name=assignment.base_model.name,
                base_digest=assignment.base_model.digest,
                dataset_name=assignment.spec.dataset.dataset,
                examples=examples,
                posteriors=encoded.posteriors,
                words=encoded.words,
                decoder=preparation.decoder,
                cache=preparation.cache,
                fingerprint=ready.fingerprint,
                at_once=max(2, config.optimization.batch_size),
                progress=preparation.progress,
                work=preparation.work,
            )
        )
        reporter.phase(v1.PHASE_SAVING, "saving the analysis")
        for name, text in (("analysis.json", as_json(analysis)), ("analysis.html", as_html(analysis))):
            path = preparation.work / name
            path.write_text(text, encoding="utf-8")
            record.put_result(f"{FOLDER}/{name}", path)
    reporter.phase(v1.PHASE_ENDED, "done")
    return analysis.sentence
