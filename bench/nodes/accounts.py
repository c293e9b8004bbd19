"""What a run came to: waits, cost, work lost, and what must not have happened. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from bench.nodes.facts import Fact, InterruptionFact, MachineFact, RunFact
from bench.nodes.scenario import CLASS_OF, INSTANCE_TYPES, SPOT, STEP_SECONDS
from loramill import v1

MOST_LOST = 0.02
"""Share of the work that interruptions may cost."""


@dataclass(frozen=True, kw_only=True)
class EndedJob:
    """A job as its caller saw it. Times in seconds since 1970."""

    id: str
    compute_class: str
    steps: int
    created: float
    started: float
    """When its first run began to work."""
    ended: float
    succeeded: bool
    launches: int
    message: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One compute class."""

    compute_class: str
    jobs: int
    launches: int
    waits: Sequence[float]
    """Seconds from a job's creation to its first run."""
    machines: int
    interruptions: int
    interrupted_trainers: int
    paid_gpu_seconds: float
    trained_gpu_seconds: float
    """Of steps that counted."""
    cost: float
    lost_steps: int
    steps: int

    @property
    def lost(self) -> float:
        """Share of all steps that were done twice."""
        return self.lost_steps / max(1, self.steps + self.lost_steps)


def rows(jobs: Sequence[EndedJob], facts: Sequence[Fact]) -> list[Row]:
    return [_row(capacity_type, name, jobs, facts) for capacity_type, name in CLASS_OF.items()]


def _row(capacity_type: str, name: str, jobs: Sequence[EndedJob], facts: Sequence[Fact]) -> Row:
    own = [job for job in jobs if job.compute_class == name]
    ids = {job.id for job in own}
    runs = [fact for fact in facts if isinstance(fact, RunFact) and fact.job in ids]
    machines = [fact for fact in facts if isinstance(fact, MachineFact) and fact.capacity_type == capacity_type]
    taken = {fact.node for fact in facts if isinstance(fact, InterruptionFact)}
    steps = sum(job.steps for job in own)
    return Row(
        compute_class=name,
        jobs=len(own),
        launches=sum(job.launches for job in own),
        waits=sorted(job.started - job.created for job in own),
        machines=len(machines),
        interruptions=len(taken) if capacity_type == SPOT else 0,
        interrupted_trainers=sum(run.node in taken and run.exit_code != 0 for run in runs),
        paid_gpu_seconds=sum((fact.until - fact.since) * _gpus(fact) for fact in machines),
        trained_gpu_seconds=steps * STEP_SECONDS,
        cost=sum((fact.until - fact.since) / 3600 * _price(fact) for fact in machines),
        lost_steps=sum(run.last_step - run.first_step for run in runs) - steps,
        steps=steps,
    )


def faults(jobs: Sequence[EndedJob], planned: int, facts: Sequence[Fact], nodes_left: int) -> Iterator[str]:
    """What should not be, a sentence each."""
    if len(jobs) < planned:
        yield f"{planned - len(jobs)} of {planned} jobs did not end."
    for job in jobs:
        if not job.succeeded:
            yield f"{job.id} did not succeed: {job.message}"
    taken = {fact.node for fact in facts if isinstance(fact, InterruptionFact)}
    evicted = [fact for fact in facts if isinstance(fact, RunFact) and _driven_out(fact) and fact.node not in taken]
    if evicted:
        reasons = ", ".join(sorted({fact.disruption or "told to stop" for fact in evicted}))
        yield f"{len(evicted)} trainers were driven out by the scaling down of machines ({reasons})."
    if nodes_left:
        yield f"{nodes_left} nodes are left when nothing is to be done any more."
    for row in rows(jobs, facts):
        if row.lost > MOST_LOST:
            yield f"{row.compute_class}: {row.lost:.1%} of the work was done twice; at most {MOST_LOST:.0%} may be."


def _driven_out(run: RunFact) -> bool:
    return bool(run.disruption) or run.exit_code == v1.EXIT_CODE_PREEMPTED


def table(found: Sequence[Row]) -> str:
    """Markdown."""
    head = (
        "class",
        "jobs",
        "launches",
        "wait p50 / p90 / max",
        "machines",
        "taken away",
        "trainers hit",
        "work lost",
        "GPU-hours paid",
        "of which trained",
        "cost",
    )
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    for row in found:
        waits = (
            f"{median(row.waits):.0f} / {_quantile(row.waits, 90):.0f} / {max(row.waits):.0f} s" if row.waits else "–"
        )
        trained = row.trained_gpu_seconds / row.paid_gpu_seconds if row.paid_gpu_seconds else 0.0
        cells = (
            row.compute_class,
            row.jobs,
            row.launches,
            waits,
            row.machines,
            row.interruptions,
            row.interrupted_trainers,
            f"{row.lost:.2%}",
            f"{row.paid_gpu_seconds / 3600:.2f}",
            f"{trained:.0%}",
            f"{row.cost:.2f} USD",
        )
        lines.append(" | ".join(map(str, cells)))
    return "\n".join(f"| {line} |" for line in lines)


def _quantile(sorted_values: Sequence[float], percent: int) -> float:
    if len(sorted_values) < 2:
        return sorted_values[0]
    return quantiles(sorted_values, n=100, method="inclusive")[percent - 1]


def _gpus(machine: MachineFact) -> int:
    """What is paid for; a Node object tells only what was asked of it."""
    return next((each.gpus for each in INSTANCE_TYPES if each.name == machine.instance_type), machine.gpus)


def _price(machine: MachineFact) -> float:
    """Per hour; nothing for machines that nobody buys."""
    bought = next((each for each in INSTANCE_TYPES if each.name == machine.instance_type), None)
    return bought.prices[machine.capacity_type] if bought is not None else 0.0
