"""Each right of the chart is needed: without it something breaks, is told, and goes on when the right is back.

A release of its own. One verb after the other is taken from its roles while its replicas work.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import NamedTuple

import pytest

from loramill.client import Client
from loramill.errors import ClientError
from tests.chart.rendering import Object
from tests.cluster.installed import Installed, eventually
from tests.cluster.released import RELEASE, Released, released
from tests.cluster.training import draw_pictures, finished, job_id, job_spec, trains, wait_for

pytestmark = pytest.mark.operations
"""One release at a time has the address, and there are many rights."""

NAME = f"{RELEASE}-loramill"


class Right(NamedTuple):
    role: str
    """`jobs` or `own`, the namespace of a Role; `cluster` for the ClusterRole."""
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.role}-{self.verb}-{self.resource}"


class World(NamedTuple):
    """A release that serves, and a dataset to train on."""

    release: Released
    client: Client
    dataset: str

    def kubectl(self, *arguments: str) -> str:
        return self.release.installed.kubectl(*arguments)

    def jobs_kubectl(self, *arguments: str) -> str:
        return self.kubectl("-n", self.release.jobs_namespace, *arguments)

    def submit(self) -> str:
        return self.client.create_job(job_spec(self.dataset)).name

    def working(self) -> str:
        """A job whose trainer works, and has more to do than it will come to."""
        name = self.client.create_job(job_spec(self.dataset, steps=100_000, checkpoint_every=50_000)).name
        wait_for(self.client, name, trains)
        return name

    def of(self, kind: str, name: str) -> str:
        """The name of the one object of the job."""
        return str(self.release.objects(kind, job_id(self.client.get_job(name)))[0]["metadata"]["name"])

    def service_says(self, sentence: str, since: datetime) -> bool:
        """Whether a replica has logged it since then; what is quoted in it stands there with the escapes of JSON."""
        own = ("-n", self.release.namespace)
        for pod in self.kubectl(*own, "get", "pods", "-l", "app.kubernetes.io/component=service", "-o", "name").split():
            # One that is being started or is just gone has no log.
            with suppress(AssertionError):
                log = self.kubectl(*own, "logs", pod, f"--since-time={since:%Y-%m-%dT%H:%M:%SZ}")
                if sentence in log.replace("\\", ""):
                    return True
        return False

    def restart(self) -> None:
        """Replicas that have to learn everything anew; the old ones stay until they are ready."""
        self.kubectl("-n", self.release.namespace, "rollout", "restart", f"deployment/{NAME}")

    def settle(self) -> None:
        """Every replica is ready, and nothing works for any job."""
        for name in [job.name for job in self.client.list_jobs()]:
            self.client.cancel_job(name)
            finished(self.client, name)
        self.kubectl("-n", self.release.namespace, "rollout", "status", f"deployment/{NAME}", "--timeout=240s")


@pytest.fixture(scope="module")
def world(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with released(installed, tmp_path_factory.mktemp("rights")) as release, release.client() as client:
        pictures = draw_pictures(tmp_path_factory.mktemp("pictures"))
        yield World(release, client, client.upload_dataset(pictures).name)


@contextmanager
def without(world: World, right: Right) -> Iterator[None]:
    """The role lacks this verb until it is left."""
    release = world.release
    kind, name = ("clusterrole", f"{release.namespace}-{NAME}") if right.role == "cluster" else ("role", NAME)
    place = {"jobs": ("-n", release.jobs_namespace), "own": ("-n", release.namespace), "cluster": ()}[right.role]
    rules: list[Object] = json.loads(world.kubectl(*place, "get", kind, name, "-o", "json"))["rules"]

    def set_rules(wanted: list[Object]) -> None:
        # The API server takes no rule without verbs.
        patch = {"rules": [rule for rule in wanted if rule["verbs"]]}
        world.kubectl(*place, "patch", kind, name, "--type=merge", "--patch", json.dumps(patch))

    less = [
        rule
        | {"verbs": [verb for verb in rule["verbs"] if (right.resource, verb) != (rule["resources"][0], right.verb)]}
        for rule in rules
    ]
    assert less != rules, f"no role grants {right}"
    set_rules(less)
    try:
        yield
    finally:
        set_rules(rules)


# What each right is taken from. They return the job that must come to its end once the right is back, if there is one.


def starting_anew(world: World) -> str | None:
    world.restart()
    return None


def launching(world: World) -> str | None:
    return world.submit()


def cancelling(world: World) -> str | None:
    name = world.working()
    world.client.cancel_job(name)
    return name


def missing_a_job(world: World) -> str | None:
    """Of a Job that is gone the API server is asked itself."""
    name = world.working()
    world.jobs_kubectl("delete", "job", world.of("jobs", name), "--wait=false")
    return None


def stopping_a_pod_without_a_job(world: World) -> str | None:
    name = world.working()
    world.jobs_kubectl("delete", "job", world.of("jobs", name), "--cascade=orphan")
    world.client.cancel_job(name)
    return name


def renewing_credentials(world: World) -> str | None:
    name = world.working()
    past = "loramill.dev/credentials-expire=2026-01-01T00:00:00Z"
    world.jobs_kubectl("annotate", "--overwrite", "secret", world.of("secrets", name), past)
    return None


def keeping_the_lease(world: World) -> str | None:
    del world
    return None  # it is renewed every few seconds


def letting_callers_in(world: World) -> str | None:
    def refused() -> bool:
        try:
            with world.release.client() as stranger:  # with a token that nobody has seen before
                list(stranger.list_jobs())
        except ClientError:
            return True
        return False

    eventually("a caller to be refused", refused)
    return None


BREAKS: dict[Right, Callable[[World], str | None]] = {
    Right("jobs", "jobs", "get"): missing_a_job,
    Right("jobs", "jobs", "list"): starting_anew,
    Right("jobs", "jobs", "watch"): starting_anew,
    Right("jobs", "jobs", "create"): launching,
    Right("jobs", "jobs", "delete"): cancelling,
    Right("jobs", "pods", "list"): starting_anew,
    Right("jobs", "pods", "watch"): starting_anew,
    Right("jobs", "pods", "delete"): stopping_a_pod_without_a_job,
    Right("jobs", "events", "list"): starting_anew,
    Right("jobs", "events", "watch"): starting_anew,
    Right("jobs", "secrets", "list"): starting_anew,
    Right("jobs", "secrets", "watch"): starting_anew,
    Right("jobs", "secrets", "create"): launching,
    Right("jobs", "secrets", "patch"): renewing_credentials,
    Right("own", "leases", "get"): keeping_the_lease,
    Right("own", "leases", "update"): keeping_the_lease,
    Right("cluster", "tokenreviews", "create"): letting_callers_in,
}

SILENT = {
    Right("jobs", "pods/log", "get"): "the log of a run that cannot write its own is then empty, and nothing is told",
    Right("cluster", "nodes", "get"): "a pod on a lost node is then never given up, and nothing is told",
}
"""Rights without which something is only worse. tests/chart/test_rights.py holds both tables against the chart."""


@pytest.mark.parametrize("right", BREAKS, ids=str)
def test_without_it_something_breaks_and_is_told(world: World, right: Right) -> None:
    said = f'cannot {right.verb} resource "{right.resource}"'
    with without(world, right):
        began = datetime.now(UTC)
        job = BREAKS[right](world)
        eventually(f"the service to say: {said}", lambda: world.service_says(said, began), 150)
    if job is not None:
        finished(world.client, job)
    world.settle()


def test_with_all_rights_it_trains_again(world: World) -> None:
    assert finished(world.client, world.submit()).adapters
