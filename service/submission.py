"""What a call that makes a job does, whatever the job's kind: it is accepted, its reconciler is told, and it is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from loramill import v1
from service.acceptance import Acceptance, Wanted
from service.caller import Caller
from service.facts import JobFacts
from service.jobs import Jobs

Wake = Callable[[str, str], None]
"""Tells the reconciler, on the event loop's thread, that something about a job has changed."""
Welcome = Callable[[JobFacts], None]
"""Tells the reconciler, on the event loop's thread, of a job that was recorded just now."""


@dataclass(frozen=True)
class Submission:
    """Takes jobs."""

    acceptance: Acceptance
    jobs: Jobs
    wake: Wake
    welcome: Welcome

    async def take(self, caller: Caller, wanted: Wanted, *, validate_only: bool) -> v1.TrainingJob:
        """The job; with `validate_only` as it would be, without a name. Raises as `Acceptance.check` and `Acceptance.create`."""
        if validate_only:
            record = await asyncio.to_thread(self.acceptance.check, caller, wanted)
            return v1.TrainingJob(
                spec=record.spec,
                kind=record.kind,
                captioning=record.captioning if record.HasField("captioning") else None,
                warnings=record.warnings,
                compute=record.compute if record.HasField("compute") else None,
                compute_fallbacks=record.compute_fallbacks,
                length=record.length if record.HasField("length") else None,
            )
        record, is_new = await asyncio.to_thread(self.acceptance.create, caller, wanted)
        if is_new:
            facts = JobFacts(tenant=caller.tenant, job=record.job_id, create=record)
            self.welcome(facts)
            return self.jobs.new(facts)
        self.wake(caller.tenant, record.job_id)
        return await asyncio.to_thread(self.jobs.get, caller.tenant, record.job_id)
