"""Completes the index of adapters for one job, from its record: what was committed and is whole is listed."""

from __future__ import annotations

import structlog

from service import indexes
from service.facts import JobFacts
from service.verification import adapters_to_list
from store.object_store import ObjectStore

log = structlog.get_logger(__name__)


def complete_index(store: ObjectStore, facts: JobFacts) -> None:
    """The reconciler does the same at a job's end; whoever asks before that must not be told that there is no adapter."""
    for committed in adapters_to_list(store, facts):
        if committed.whole:
            indexes.put_adapter(store, facts.tenant, committed.adapter_id, committed.manifest_key)
        else:
            log.warning("adapter is not whole", adapter=committed.adapter_id, problem=committed.problem)
