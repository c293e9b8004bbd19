"""What operators ask and do across tenants: which jobs are stuck; to give a launch up. Synchronous: called in threads."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from loramill import v1
from service import indexes, keys
from service.audit import Audit
from service.caller import Caller
from service.causes import cause_of
from service.errors import InvalidRequest, Refused, ResourceNotFound, Violation
from service.executors import Executor, ExecutorError
from service.facts import JobFacts, read_facts
from service.jobs import Jobs
from service.pages import entry_before, page_size, page_token
from service.stuck import message_of, stuck_of, unreadable
from service.times import to_timestamp, utc_now
from store.object_store import ObjectStore, RecordError
from store.records import put_record

_USUAL_PAGE, _READERS = 100, 8
_LONGEST_REASON = 500
_BOUND_TO, _BETWEEN = "stuck", "_"
"""Of page tokens; no tenant's name has a `_`."""


@dataclass(frozen=True)
class Operations:
    store: ObjectStore
    executor: Executor
    jobs: Jobs
    audit: Audit
    waits_its_turn: Callable[[str, str], bool]
    """Whether a job (tenant, id) waits and nobody holds it back: such a one need not be read."""
    held_back: Callable[[JobFacts], str]
    """Why no launch of a job begins; empty where one may."""
    clock: Callable[[], datetime] = utc_now

    def stuck(self, request: v1.ListStuckJobsRequest) -> v1.ListStuckJobsResponse:
        """One page, by tenant and newest first. Of the living only those are read that do not wait for their turn."""
        size = page_size(request.page_size, _USUAL_PAGE)
        candidates = self._candidates(entry_before(request.page_token, _BOUND_TO).replace(_BETWEEN, "/"))
        page: list[v1.StuckJob] = []
        with ThreadPoolExecutor(_READERS) as readers:
            while len(page) <= size and (batch := list(itertools.islice(candidates, _READERS))):
                page += [found for found in readers.map(lambda job: self._look(*job), batch) if found is not None]
        response = v1.ListStuckJobsResponse(stuck_jobs=page[:size])
        if len(page) > size:
            last = page[size - 1]
            response.next_page_token = page_token(f"{last.tenant}{_BETWEEN}{keys.job_of_name(last.name)}", _BOUND_TO)
        return response

    def give_up(self, caller: Caller, request: v1.GiveUpLaunchRequest) -> v1.TrainingJob:
        """Ends the newest launch in the record. Raises InvalidRequest, ResourceNotFound, and Refused where it has ended."""
        violations = [*_violations(request)]
        if violations:
            raise InvalidRequest(violations)
        tenant, job = request.tenant, keys.job_of_name(request.name) or ""
        facts = read_facts(self.store, tenant, job, self.executor)
        if facts is None or facts.tombstone is not None:
            raise ResourceNotFound(f"{request.name} of tenant {tenant} does not exist; list the stuck jobs.")
        self._refuse(facts, request.launch)
        if facts.newest is not None and facts.newest.given_up:
            return self.jobs.get(tenant, job)  # asked twice
        self.audit.record(caller, f"{request.name}/launches/{request.launch}", tenant)
        end = v1.LaunchEnd(
            schema_version=1,
            reason=v1.STATE_REASON_GIVEN_UP,
            message=f"{caller.principal} gave the launch up: {request.reason.rstrip('.')}.",
            create_time=to_timestamp(self.clock()),
        )
        # Before the pod is told: whoever sees it gone then knows why. Where its end was recorded first, that end counts.
        if not put_record(self.store, keys.TenantKeys(tenant).job(job).seen_end(request.launch), end):
            raise Refused(f"Launch {request.launch} of {request.name} has just ended; nothing was given up.", "ENDED")
        return self.jobs.get(tenant, job)

    def _refuse(self, facts: JobFacts, launch: int) -> None:
        name, newest = keys.job_name(facts.job), facts.newest
        if facts.outcome is not None:
            raise Refused(f"{name} has ended, so no launch of it can be given up.", "ENDED")
        if newest is None or newest.number != launch:
            told = (
                f"only its newest can, which is {newest.number}"
                if newest is not None
                else "it was never launched; cancel the job if it shall not be"
            )
            raise Refused(f"Launch {launch} of {name} cannot be given up: {told}.", "NOT_THE_NEWEST")
        if not newest.given_up and cause_of(newest, self.clock()) is not None:
            raise Refused(f"Launch {launch} of {name} has ended by itself; the next step follows from that.", "ENDED")

    def _candidates(self, after: str) -> Iterator[tuple[str, str]]:
        for tenant, job in indexes.all_active_jobs(self.store, after):
            if not self.waits_its_turn(tenant, job):
                yield tenant, job

    def _look(self, tenant: str, job: str) -> v1.StuckJob | None:
        now = self.clock()
        try:
            facts = read_facts(self.store, tenant, job, self.executor)
        except (RecordError, ExecutorError) as error:
            return unreadable(tenant, job, str(error))
        if facts is None or facts.tombstone is not None:
            return None
        found = stuck_of(facts, now, self.held_back(facts))
        return message_of(facts, found) if found is not None else None


def _violations(request: v1.GiveUpLaunchRequest) -> Iterator[Violation]:
    if not keys.is_tenant(request.tenant):
        yield Violation("tenant", f"tenant is {request.tenant[:80]!r}, but must be a tenant's name.", "INVALID_NAME")
    if keys.job_of_name(request.name) is None:
        text = f"name is {request.name[:80]!r}, but must be trainingJobs/<id>, as ListStuckJobs gives it."
        yield Violation("name", text, "INVALID_NAME")
    if request.launch < 1:
        text = f"launch is {request.launch}, but must be the number of the newest launch, from 1."
        yield Violation("launch", text, "REQUIRED")
    if not request.reason.strip() or len(request.reason) > _LONGEST_REASON:
        text = f"reason has {len(request.reason)} characters, but must say why in 1 to {_LONGEST_REASON}."
        yield Violation("reason", text, "REQUIRED")
