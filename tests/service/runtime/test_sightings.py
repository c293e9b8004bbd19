"""What the cluster shows → what a launch is doing, in tables: objects as a real cluster had them, and variations of them.

The files in sightings/ were recorded from Kubernetes 1.34 (see tests/cluster/test_executor.py, which makes such objects anew).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from loramill import v1
from service.executors import Execution, ExecutionState
from service.executors.cluster_objects import KeptJob, KeptPod
from service.executors.sightings import LOST_AFTER, Sighting, execution_of, is_overdue

ABSENT, PENDING, RUNNING, EXITED = (
    ExecutionState.ABSENT,
    ExecutionState.PENDING,
    ExecutionState.RUNNING,
    ExecutionState.EXITED,
)
NOTHING = "UNSPECIFIED"
Object = dict[str, Any]


def recorded(name: str) -> tuple[Sighting, datetime]:
    """As much of it as is kept."""
    found = json.loads((Path(__file__).parent / "sightings" / f"{name}.json").read_text())
    job, pods = msgspec.convert(found["job"], KeptJob | None), msgspec.convert(found["pods"], list[KeptPod])
    return Sighting(cast("Object | None", job), cast("list[Object]", pods), found["events"]), datetime.fromisoformat(
        found["now"]
    )


def execution(name: str, change: Callable[[Sighting], Sighting | None] = lambda _: None, **later: float) -> Execution:
    """Of a recorded sighting after `change`, and some time `later`."""
    sighting, now = recorded(name)
    return execution_of(change(sighting) or sighting, now + timedelta(**later))


def reason(found: Execution) -> str:
    return v1.StateReason.Name(found.reason).removeprefix("STATE_REASON_")


@pytest.mark.parametrize(
    ("name", "state", "expected", "says"),
    [
        ("unschedulable", PENDING, "UNSCHEDULABLE", "0/2 nodes are available: 2 Insufficient nvidia.com/gpu"),
        ("image-pull", PENDING, "IMAGE_PULL", "registry.invalid"),
        ("image-missing-locally", PENDING, "IMAGE_PULL", "not present with pull policy of Never"),
        ("no-secret", PENDING, "STARTING", 'volume "credentials" : secret'),
        ("no-service-account", PENDING, "STARTING", 'serviceaccount "missing" not found'),
        ("quota", PENDING, "QUOTA", "requested: pods=1, used: pods=6, limited: pods=0"),
        ("suspending", PENDING, "SUSPENDED", "suspended by hand"),
        ("suspended", PENDING, "SUSPENDED", "spec.suspend"),
        ("running", RUNNING, NOTHING, ""),
        ("evicting", RUNNING, NOTHING, ""),
        ("job-deleted-orphan", RUNNING, NOTHING, ""),
        ("job-deleted-foreground", RUNNING, NOTHING, ""),
        ("exit-0", EXITED, NOTHING, ""),
        ("exit-42", EXITED, NOTHING, ""),
        ("exit-65", EXITED, NOTHING, ""),
        ("resumed", EXITED, NOTHING, ""),
        ("pod-deleted-by-hand", EXITED, NOTHING, ""),
        ("cannot-start", EXITED, NOTHING, "/not-there: no such file or directory"),
        ("evicted-by-api", EXITED, "PREEMPTED", "DisruptionTarget"),
        ("disk", EXITED, "EVICTED", 'Usage of EmptyDir volume "work" exceeds the limit "64Mi".'),
        ("oom", EXITED, "OUT_OF_MEMORY", "limit of 64Mi"),
        ("deadline", EXITED, "DEADLINE_EXCEEDED", "2 seconds"),
    ],
)
def test_what_a_real_cluster_showed(name: str, state: ExecutionState, expected: str, says: str) -> None:
    found = execution(name)
    assert (found.state, reason(found)) == (state, expected)
    assert says in found.message
    assert bool(found.message) == bool(says)
    assert not found.message or found.message.endswith((".", "…"))
    assert found.suspended == (expected == "SUSPENDED")
    assert (found.end_time is not None) == (state is EXITED)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("exit-0", 0),
        ("exit-42", 42),
        ("exit-65", 65),
        ("oom", 137),
        ("disk", 2),
        ("resumed", 68),
        ("pod-deleted-by-hand", 137),
        ("evicted-by-api", None),
        ("deadline", None),
    ],
)
def test_exit_codes(name: str, code: int | None) -> None:
    assert execution(name).exit_code == code


def without_pod(sighting: Sighting) -> Sighting:
    return replace(sighting, pods=())


@pytest.mark.parametrize(("name", "code"), [("exit-0", 0), ("exit-42", 42), ("exit-65", 65), ("disk", 2), ("oom", 137)])
def test_the_job_remembers_the_exit_code_of_a_pod_that_is_gone(name: str, code: int) -> None:
    found = execution(name, without_pod)
    assert (found.state, found.exit_code) == (EXITED, code)
    assert found.end_time is not None


def test_where_and_when_it_began() -> None:
    found = execution("running")
    assert found.node == "node1"
    assert found.scheduled_time is not None
    assert found.started_time is not None
    assert found.scheduled_time <= found.started_time
    never_ran = execution("cannot-start")
    assert never_ran.started_time is None
    assert never_ran.node


def test_nothing_at_all_is_absent() -> None:
    assert execution_of(Sighting(), datetime.now(UTC)).state is ABSENT


def without_job(sighting: Sighting) -> Sighting:
    return replace(sighting, job=None)


def unfinished(sighting: Sighting) -> Sighting:
    """Before the Job controller has said its word."""
    job = copy.deepcopy(sighting.job)
    assert job is not None
    job["status"]["conditions"] = []
    return replace(sighting, job=job)


def deleted(sighting: Sighting) -> Sighting:
    pods = copy.deepcopy(list(sighting.pods))
    for pod in pods:
        pod["metadata"]["deletionTimestamp"] = pod["metadata"]["creationTimestamp"]
    return replace(sighting, pods=pods)


@pytest.mark.parametrize(
    ("name", "change", "state"),
    [
        # A Job that has no pod yet, or none any more, without a word of its own: one may come.
        ("running", without_pod, PENDING),
        ("exit-42", lambda sighting: without_pod(unfinished(sighting)), PENDING),
        # A pod that lives although its Job is gone.
        ("running", without_job, RUNNING),
        ("unschedulable", without_job, PENDING),
        ("exit-42", without_job, EXITED),
        # A pod that has ended counts at once, unless somebody deletes it: then its Job says whether another follows.
        ("exit-42", unfinished, EXITED),
        ("exit-42", lambda sighting: deleted(unfinished(sighting)), PENDING),
        ("exit-42", deleted, EXITED),
        # A Job that is on its way out with nothing left of its pod is there until it is gone.
        ("job-deleted-foreground", without_pod, PENDING),
        ("job-deleted-foreground", lambda sighting: without_pod(without_job(sighting)), ABSENT),
        # What is suspended after its pod's end is held back; what had finished has.
        ("suspended", without_pod, PENDING),
    ],
)
def test_nothing_is_dead_before_its_job_was_looked_at(
    name: str, change: Callable[[Sighting], Sighting], state: ExecutionState
) -> None:
    assert execution(name, change).state is state


def in_a_queue(sighting: Sighting) -> Sighting:
    job = copy.deepcopy(sighting.job)
    assert job is not None
    job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "gpus"
    return replace(sighting, job=job)


def test_the_cluster_queue_holds_back_without_anybody_having_suspended_it() -> None:
    found = execution("suspending", in_a_queue)
    assert (found.state, reason(found), found.suspended) == (PENDING, "SUSPENDED", False)
    assert "queue gpus" in found.message
    # A trainer that the queue has stopped is over; the next launch waits in the queue.
    assert execution("suspended", in_a_queue).state is EXITED


def with_event(kind: str, message: str, age: timedelta) -> Callable[[Sighting], Sighting]:
    def change(sighting: Sighting) -> Sighting:
        _, now = recorded("unschedulable")
        event = {"reason": kind, "message": message, "lastTimestamp": (now - age).isoformat(), "metadata": {}}
        return replace(sighting, events=[*sighting.events, event])

    return change


MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("events", "expected", "says"),
    [
        ([("TriggeredScaleUp", "pod triggered scale-up: [{gpus 0->1 (max: 4)}]", MINUTE)], "WAITING_FOR_NODE", "0->1"),
        ([("Nominated", "Pod should schedule on: nodeclaim/gpu-x", MINUTE)], "WAITING_FOR_NODE", "nodeclaim/gpu-x"),
        ([("TriggeredScaleUp", "pod triggered scale-up", 16 * MINUTE)], "UNSCHEDULABLE", "Insufficient"),
        ([("NotTriggerScaleUp", "pod didn't trigger scale-up", MINUTE)], "UNSCHEDULABLE", "Insufficient"),
        ([("TriggeredScaleUp", "", 3 * MINUTE), ("NotTriggerScaleUp", "", MINUTE)], "UNSCHEDULABLE", "Insufficient"),
        ([("NotTriggerScaleUp", "", 3 * MINUTE), ("TriggeredScaleUp", "a", MINUTE)], "WAITING_FOR_NODE", "a."),
    ],
)
def test_waiting_for_the_autoscaler(events: list[tuple[str, str, timedelta]], expected: str, says: str) -> None:
    def change(sighting: Sighting) -> Sighting:
        for event in events:
            sighting = with_event(*event)(sighting)
        return sighting

    found = execution("unschedulable", change)
    assert (reason(found), says in found.message) == (expected, True)


def test_room_that_the_scheduler_makes() -> None:
    def nominated(sighting: Sighting) -> Sighting:
        pod = copy.deepcopy(sighting.pods[0])
        pod["status"]["nominatedNodeName"] = "node7"
        return replace(sighting, pods=[pod])

    found = execution("unschedulable", nominated)
    assert (reason(found), "node7" in found.message) == ("WAITING_FOR_NODE", True)


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([("FailedMount", "no such secret", 2 * MINUTE), ("Pulling", "Pulling image", MINUTE)], "being pulled"),
        ([("Pulling", "Pulling image", 2 * MINUTE), ("Pulled", "done", MINUTE)], ""),
        ([("FailedMount", "no such secret", MINUTE)], "no such secret."),
        ([("FailedCreatePodSandBox", "no network", MINUTE)], "no network."),
    ],
)
def test_a_container_that_is_being_made(events: list[tuple[str, str, timedelta]], says: str) -> None:
    def change(sighting: Sighting) -> Sighting:
        sighting = replace(sighting, events=())
        for event in events:
            sighting = with_event(*event)(sighting)
        return sighting

    found = execution("no-secret", change)
    assert found.state is PENDING
    assert says in found.message
    assert bool(says) == bool(found.message)


@pytest.mark.parametrize("waits", ["CreateContainerConfigError", "CreateContainerError", "RunContainerError"])
def test_a_container_that_cannot_be_made(waits: str) -> None:
    def change(sighting: Sighting) -> Sighting:
        pod = copy.deepcopy(sighting.pods[0])
        pod["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": waits, "message": "no such key"}}
        return replace(sighting, pods=[pod])

    found = execution("no-secret", change)
    assert (found.state, reason(found)) == (PENDING, "STARTING")
    assert waits in found.message
    assert "no such key." in found.message


@pytest.mark.parametrize(
    ("started", "expected"),
    [(None, ABSENT), ("1970-01-01T00:00:00Z", ABSENT), ("2026-11-24T19:41:00Z", EXITED)],
)
def test_a_deleted_job_whose_pod_never_ran_has_come_to_nothing(started: str | None, expected: ExecutionState) -> None:
    def change(sighting: Sighting) -> Sighting:
        pod = copy.deepcopy(sighting.pods[0])
        pod["metadata"]["deletionTimestamp"] = "2026-11-24T19:41:51Z"
        terminated = {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": started}
        pod["status"]["containerStatuses"][0]["state"] = {"terminated": terminated}
        pod["status"]["phase"] = "Failed"
        return replace(sighting, job=None, pods=[pod])

    assert execution("image-pull", change).state is expected


def ended_by(
    kind: str, *, code: int = 137, status: str | None = None, message: str = ""
) -> Callable[[Sighting], Sighting]:
    """The pod with a DisruptionTarget condition and an exit code, before or without a word of its Job."""

    def change(sighting: Sighting) -> Sighting:
        pod = copy.deepcopy(sighting.pods[0])
        when = "2026-11-24T19:41:51Z"
        condition = {"type": "DisruptionTarget", "status": "True", "reason": kind, "message": message}
        if kind:
            pod["status"]["conditions"].append({**condition, "lastTransitionTime": when})
        terminated = {"exitCode": code, "reason": "Error", "finishedAt": when, "startedAt": when}
        pod["status"]["containerStatuses"][0]["state"] = {"terminated": terminated}
        pod["status"] |= {"phase": "Failed"} | ({"reason": status, "message": message} if status else {})
        return replace(sighting, pods=[pod])

    return change


@pytest.mark.parametrize(
    ("change", "expected", "says"),
    [
        (ended_by("PreemptionByScheduler"), "PREEMPTED", "higher priority"),
        (ended_by("EvictionByEvictionAPI"), "PREEMPTED", "drained"),
        (ended_by("DeletionByTaintManager"), "NODE_LOST", "taint"),
        (ended_by("DeletionByPodGC"), "NODE_LOST", "went away"),
        (
            ended_by(
                "TerminationByKubelet", status="Terminated", message="Pod was terminated: imminent node shutdown."
            ),
            "PREEMPTED",
            "imminent node shutdown",
        ),
        (
            ended_by("TerminationByKubelet", status="Evicted", message="The node was low on resource: memory."),
            "EVICTED",
            "low on resource: memory",
        ),
        (ended_by("SomethingNew", message="a new kind"), "PREEMPTED", "a new kind."),
        # The trainer's own code goes before what happened around it; a signal's does not.
        (ended_by("EvictionByEvictionAPI", code=64), NOTHING, ""),
        (ended_by("EvictionByEvictionAPI", code=68), NOTHING, ""),
        # But of a trainer that was told to stop, only the node says why.
        (
            ended_by("TerminationByKubelet", code=68, status="Evicted", message="Usage exceeds the limit."),
            "EVICTED",
            "exceeds the limit",
        ),
        (ended_by("EvictionByEvictionAPI", code=143), "PREEMPTED", "drained"),
        (ended_by("EvictionByEvictionAPI", code=1), "PREEMPTED", "drained"),
        (ended_by("", code=137), NOTHING, ""),
    ],
)
def test_what_ended_a_pod(change: Callable[[Sighting], Sighting], expected: str, says: str) -> None:
    found = execution("running", change)
    assert (found.state, reason(found)) == (EXITED, expected)
    assert says in found.message
    assert found.end_time is not None


def test_what_the_trainer_said_last_is_passed_on() -> None:
    """It says so where it cannot write into its record."""

    def told(sighting: Sighting) -> Sighting:
        ended = ended_by("", code=v1.EXIT_CODE_STORAGE)(sighting)
        state = ended.pods[0]["status"]["containerStatuses"][0]["state"]["terminated"]
        state["message"] = "s3://b/k could not be used; correct AWS_ACCESS_KEY_ID\n"
        return ended

    found = execution("running", told)
    assert found.exit_code == v1.EXIT_CODE_STORAGE
    assert found.message == "s3://b/k could not be used; correct AWS_ACCESS_KEY_ID."


def test_a_pod_that_the_node_refused_before_it_ran() -> None:
    def refused(sighting: Sighting) -> Sighting:
        pod = copy.deepcopy(sighting.pods[0])
        pod["status"] = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "no healthy GPU"}
        return replace(sighting, pods=[pod])

    found = execution("running", refused)
    assert (found.state, found.exit_code, reason(found)) == (EXITED, None, NOTHING)
    assert "no healthy GPU." in found.message


def lost(sighting: Sighting) -> Sighting:
    return replace(sighting, node_lost=True)


def test_a_pod_that_does_not_go_is_given_up_only_with_its_node() -> None:
    sighting, _ = recorded("evicting")
    ordered = datetime.fromisoformat(sighting.pods[0]["metadata"]["deletionTimestamp"])
    for after, node_lost, state in (
        (LOST_AFTER, True, RUNNING),
        (LOST_AFTER + timedelta(seconds=1), False, RUNNING),
        (LOST_AFTER + timedelta(seconds=1), True, EXITED),
    ):
        found = execution_of(replace(sighting, node_lost=node_lost), ordered + after)
        assert found.state is state
        assert is_overdue(sighting, ordered + after) == (after > LOST_AFTER)
    assert (reason(found), "node1" in found.message) == ("NODE_LOST", True)
    assert execution("running", lost, hours=9).state is RUNNING
