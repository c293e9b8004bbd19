"""Reading, listing, cancelling and deleting jobs. Synchronous: called in threads."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from loramill import v1
from service import indexes, keys
from service.adapter_index import complete_index
from service.audit import Audit
from service.caller import Caller
from service.errors import Refused, ResourceNotFound, invalid
from service.executors import Executor, ExecutorError
from service.facts import JobFacts, read_facts, with_executions
from service.initial_adapter import refuse_used
from service.job import is_terminal, training_job
from service.pages import entry_before, page_size, page_token
from service.times import to_timestamp, utc_now
from store.object_store import ObjectStore
from store.records import put_record, read_record

log = structlog.get_logger(__name__)

QueuePosition = Callable[[str, str], int | None]

_READERS = 8
"""Jobs of a page that are read at once."""


class StillEnding(Refused):
    """A job has its outcome, and its trainer is on its way out. Passes by itself."""

    reason = "JOB_ENDING"


def job_id(name: str, field: str = "name") -> str:
    """The id in `trainingJobs/<id>`. Raises InvalidRequest."""
    job = keys.job_of_name(name)
    if job is None:
        text = f"{field} is {name[:80]!r}, but must be trainingJobs/<id>, as CreateTrainingJob gave it."
        raise invalid(field, text, "INVALID_NAME")
    return job


def no_job(job: str) -> ResourceNotFound:
    return ResourceNotFound(f"{keys.job_name(job)} does not exist; list the jobs to see those that do.")


@dataclass(frozen=True)
class Jobs:
    """The jobs of the record, with what the executor sees of them."""

    store: ObjectStore
    executor: Executor
    queue_position: QueuePosition
    audit: Audit
    clock: Callable[[], datetime] = utc_now
    held_back: Callable[[JobFacts], str] = lambda _facts: ""
    """Why no launch of a job begins; empty where one may."""

    def facts(self, tenant: str, job: str) -> JobFacts:
        """Raises ResourceNotFound."""
        facts = read_facts(self.store, tenant, job)
        if facts is None or facts.tombstone is not None:
            raise no_job(job)
        return facts

    def get(self, tenant: str, job: str) -> v1.TrainingJob:
        """Raises ResourceNotFound."""
        return self.view(self.facts(tenant, job))

    def new(self, facts: JobFacts) -> v1.TrainingJob:
        """A job that was recorded just now, and nothing else of it; asks neither store nor executor, nor who is before it."""
        return training_job(facts, self.clock(), held_back=self.held_back(facts))

    def page(self, tenant: str, request: v1.ListTrainingJobsRequest) -> v1.ListTrainingJobsResponse:
        """One page, newest first. Only jobs that can be of the states asked for are read.

        A job that has just ended is found under its last state as soon as the index of ended jobs holds it.
        """
        size = page_size(request.page_size)
        wanted = _states(request.states)
        bound_to = ("jobs", *sorted(str(state) for state in wanted))
        after = entry_before(request.page_token, *bound_to)
        page: list[v1.TrainingJob] = []
        candidates = self._candidates(tenant, wanted, after, size + 1)
        # One more than asked for tells whether another page follows.
        while len(page) <= size and (batch := list(itertools.islice(candidates, size + 1 - len(page)))):
            page += [job for job in self._read(tenant, batch) if not wanted or job.state in wanted]
        response = v1.ListTrainingJobsResponse(training_jobs=page[:size])
        if len(page) > size:
            response.next_page_token = page_token(job_id(page[size - 1].name), *bound_to)
        return response

    def cancel(self, caller: Caller, job: str) -> v1.TrainingJob:
        """Records that the job is to end; the job as it stands then. Nothing is done to one that has ended.

        The record is read once, before: a caller who wants to stop something shall not wait for it to be read again.
        Raises ResourceNotFound.
        """
        facts = self.facts(caller.tenant, job)
        if facts.outcome is None:
            self.audit.record(caller, keys.job_name(job))
            intent = v1.CancelIntent(create_time=to_timestamp(self.clock()))
            put_record(self.store, keys.TenantKeys(caller.tenant).job(job).cancel, intent)
            facts = replace(facts, cancel=intent)
        return self.view(facts)

    def delete(self, caller: Caller, job: str, delete_adapters: bool) -> None:
        """Removes an ended job. Again is accepted, and finishes what an interrupted call left.

        Raises ResourceNotFound; Refused while the job lives, or another goes on from an adapter that is to be removed;
        StillEnding while its trainer, which has nothing more to do, is not gone yet and might write into what is removed.
        """
        job_keys = keys.TenantKeys(caller.tenant).job(job)
        tombstone = read_record(self.store, job_keys.tombstone, v1.Tombstone)
        facts = read_facts(self.store, caller.tenant, job)
        if facts is not None and facts.outcome is not None and with_executions(facts, self.executor).alive:
            raise StillEnding(
                f"{keys.job_name(job)} has ended, but its trainer is not gone yet; delete it in a moment."
            )
        if delete_adapters:
            for adapter in self._listed_adapters(caller.tenant, job):
                refuse_used(self.store, caller.tenant, adapter)
        if tombstone is None:
            if facts is None:
                raise no_job(job)
            if facts.outcome is None:
                raise Refused(
                    f"{keys.job_name(job)} has not ended; cancel it, wait until it has ended, then delete it.",
                    "JOB_ALIVE",
                )
            self.audit.record(caller, keys.job_name(job))
            tombstone = v1.Tombstone(create_time=to_timestamp(self.clock()), adapters_deleted=delete_adapters)
            put_record(self.store, job_keys.tombstone, tombstone)
        self._remove(caller.tenant, job, facts, with_adapters=delete_adapters or tombstone.adapters_deleted)

    def view(self, facts: JobFacts) -> v1.TrainingJob:
        """The job as callers see it, with what the executor sees now."""
        return self.shown(self.seen(facts))

    def seen(self, facts: JobFacts) -> JobFacts:
        """The same facts with what the executor sees now."""
        try:
            return with_executions(facts, self.executor)
        except ExecutorError as error:  # the record alone still tells a truth
            log.warning("the executor could not be asked", job=facts.job, error=str(error))
            return facts

    def shown(self, facts: JobFacts) -> v1.TrainingJob:
        """The job as callers see it."""
        position = self.queue_position(facts.tenant, facts.job)
        return training_job(facts, self.clock(), position, self.held_back(facts))

    def _read(self, tenant: str, jobs: Iterable[str]) -> list[v1.TrainingJob]:
        """Those that exist, in the same order."""

        def read(job: str) -> v1.TrainingJob | None:
            facts = read_facts(self.store, tenant, job)
            return self.view(facts) if facts is not None and facts.tombstone is None else None

        with ThreadPoolExecutor(_READERS) as readers:
            return [job for job in readers.map(read, jobs) if job is not None]

    def _candidates(self, tenant: str, wanted: frozenset[int], after: str, at_once: int) -> Iterator[str]:
        """Ids behind `after`, newest first, each once; about so many are taken `at_once`."""
        ended: Iterable[str] = (
            job
            for job, state in indexes.ended_jobs(self.store, tenant, after, at_once)
            if not wanted or state in wanted
        )
        living: Iterable[str] = ()
        if not wanted or any(not is_terminal(v1.TrainingJobState.ValueType(state)) for state in wanted):
            living = (job for job in indexes.active_jobs(self.store, tenant) if job > after)
        return (job for job, _ in itertools.groupby(heapq.merge(ended, living)))

    def _remove(self, tenant: str, job: str, facts: JobFacts | None, *, with_adapters: bool) -> None:
        """Indexes first, then everything but the tombstone and, unless asked for, committed adapters."""
        tenant_keys = keys.TenantKeys(tenant)
        job_keys = tenant_keys.job(job)
        indexes.clear_deleted(self.store, tenant, job, facts.outcome if facts is not None else None)
        if with_adapters:
            for adapter in self._listed_adapters(tenant, job):
                self.store.delete(tenant_keys.adapter(adapter))
        elif facts is not None:
            complete_index(self.store, facts)
        kept = () if with_adapters else tuple(self._kept_folders(tenant_keys, job))
        for entry in list(self.store.list(job_keys.root)):
            if entry.key != job_keys.tombstone and not entry.key.startswith(kept):
                self.store.delete(entry.key)
        for launch in facts.launches if facts is not None else ():
            with suppress(ExecutorError) if launch.given_up else nullcontext():  # its trainer may never be gone
                self.executor.forget(tenant, job, launch.number)

    def _listed_adapters(self, tenant: str, job: str) -> list[str]:
        """The ids of the job's adapters that the index names."""
        tenant_keys = keys.TenantKeys(tenant)
        entries = self.store.list(tenant_keys.adapters_of(job))
        return [keys.part_after(tenant_keys.adapters_prefix, entry.key) for entry in entries]

    def _kept_folders(self, tenant_keys: keys.TenantKeys, job: str) -> Iterator[str]:
        """The folders of the committed adapters that the index names, and what tells which of them were given up."""
        for entry in self.store.list(tenant_keys.adapters_of(job)):
            manifest_key = self.store.get(entry.key).decode()
            yield manifest_key.rpartition("/")[0] + "/"
            yield tenant_keys.job(job).generations_prefix


def _states(states: Iterable[v1.TrainingJobState.ValueType]) -> frozenset[int]:
    wanted = frozenset(states)
    known = v1.TrainingJobState.values()
    for state in sorted(wanted):
        if state not in known or state == v1.TRAINING_JOB_STATE_UNSPECIFIED:
            names = ", ".join(name.removeprefix("TRAINING_JOB_STATE_") for name in v1.TrainingJobState.keys()[1:])
            raise invalid(
                "states", f"states has {state}, which is no state of a job; choose of {names}.", "UNKNOWN_VALUE"
            )
    return wanted
