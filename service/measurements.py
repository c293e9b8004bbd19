"""The measurements of a job: the chunks of all its runs, each step once. Synchronous: called in threads."""

from __future__ import annotations

from loramill import v1
from service.errors import invalid
from service.facts import JobFacts
from service.keys import TenantKeys
from service.pages import entry_before, page_size, page_token
from store.object_store import ObjectStore
from store.records import read_record

_DEFAULT_SIZE = 1000
_MOST = 10_000


def list_metrics(
    store: ObjectStore, facts: JobFacts, request: v1.ListTrainingMetricsRequest
) -> v1.ListTrainingMetricsResponse:
    """One page by step. Where a later run repeated a step, its measurement stands."""
    if request.after_step < 0:
        raise invalid("after_step", f"after_step is {request.after_step}, but must be 0 or more; 0 means all steps.")
    size = page_size(request.page_size, _DEFAULT_SIZE, _MOST)
    bound_to = ("metrics", facts.job, str(request.after_step))
    after = int(entry_before(request.page_token, *bound_to) or request.after_step)
    by_step = {step: metric for step, metric in _measured(store, facts).items() if step > after}
    steps = sorted(by_step)
    response = v1.ListTrainingMetricsResponse(metrics=[by_step[step] for step in steps[:size]])
    if len(steps) > size:
        response.next_page_token = page_token(str(steps[size - 1]), *bound_to)
    return response


def _measured(store: ObjectStore, facts: JobFacts) -> dict[int, v1.TrainingMetric]:
    by_step: dict[int, v1.TrainingMetric] = {}
    job_keys = TenantKeys(facts.tenant).job(facts.job)
    for launch in facts.launches:
        for entry in store.list(job_keys.run(launch.number).metrics_prefix):
            chunk = read_record(store, entry.key, v1.MetricChunk)
            if chunk is not None:
                by_step.update((metric.step, metric) for metric in chunk.metrics)
    return by_step
