"""The story of a run that makes a dataset's report: claim → data → base model → latents and words → report → end."""

from __future__ import annotations

from loramill import v1
from trainer.confirmation import confirm_base
from trainer.data_report.budget import unlimited
from trainer.data_report.job import store
from trainer.prepared import prepared
from trainer.progress import Reporter
from trainer.record import RunRecord
from trainer.settings import TrainerSettings
from trainer.stopping import StopSignal


def run(record: RunRecord, settings: TrainerSettings, reporter: Reporter, stop: StopSignal) -> str:
    """Does the assignment; its last word when the report is stored. Raises a TrainerError, and Stopped."""
    with stop.interrupting(), prepared(record, settings, reporter, stop) as ready:
        preparation, encoded = ready.preparation, ready.encoded
        reporter.phase(v1.PHASE_EXAMINING, "looking at the data")
        examples = ready.reading.examples
        confirm_base(ready.base, preparation.config, examples, encoded.posteriors, encoded.words)
        report = preparation.report(
            ready.base, encoded.words, encoded.posteriors, ready.reading, ready.fingerprint, unlimited(len(examples))
        )
        store(report, preparation.work, record.put_result)
    reporter.phase(v1.PHASE_ENDED, "done")
    pictures = "1 picture" if len(examples) == 1 else f"{len(examples)} pictures"
    suggested = "1 suggestion" if len(report.suggestions) == 1 else f"{len(report.suggestions)} suggestions"
    return f"The report of {pictures} is made; it has {suggested}."
