"""A launch is looked at before its records are read, and once more where they say that it began after the look."""

from __future__ import annotations

from service.assignments import assignment_of
from service.executors import ABSENT, Execution, ExecutionState
from service.facts import read_facts
from service.times import utc_now
from store.records import put_record
from tests.service.runtime.world import JOB, KEYS, TENANT, MemoryStore, PretendedExecutor, facts_of, submit


class BegunAfterTheFirstLook(PretendedExecutor):
    """Its trainer claims its run right after it was found absent."""

    looks = 0

    def observe(self, tenant: str, job: str, number: int) -> Execution:
        self.looks += 1
        if self.looks == 1:
            self.acts(job, number).claim()
            return ABSENT
        return super().observe(tenant, job, number)


def test_a_run_that_began_after_the_look_is_not_taken_for_lost() -> None:
    store = MemoryStore()
    submit(store)
    put_record(store, KEYS.job(JOB).launch(1), assignment_of(store, facts_of(store), 1, utc_now()))
    executor = BegunAfterTheFirstLook(store)
    executor.executions[JOB, 1] = Execution(ExecutionState.RUNNING)
    facts = read_facts(store, TENANT, JOB, executor)
    assert facts is not None
    assert facts.newest is not None
    assert facts.newest.claim is not None
    assert facts.newest.alive
    assert executor.looks == 2
