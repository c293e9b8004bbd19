"""Every query of the dashboards, asked of a real Prometheus after real jobs; and the pages that it reads, by promtool."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator

import pytest

from loramill import v1
from loramill.client import Client
from loramill.credentials import Credentials
from loramill.errors import NotAuthenticated
from tests.chart.rendering import CHART, all_of, rendered, values_of
from tests.cluster.installed import JOBS_NAMESPACE, SERVICE_NAMESPACE, Installed, Object, eventually
from tests.cluster.prometheus import Prometheus, check_metrics, prometheus
from tests.cluster.training import finished, job_id, job_spec, trains, wait_for

pytestmark = pytest.mark.operations
"""While a job is held back, so that a reading sees it wait, no other may begin. Prometheus is built for the first time."""

METRICS_PORT = 9464
TENANT = "tenant-a"
NEEDS_A_GPU = {"GPU utilization", "GPU memory"}
"""Panels of what no trainer of this cluster has; the chart's tests hold their queries against the trainer's own registry."""


def dashboards() -> list[Object]:
    return [json.loads(path.read_text()) for path in sorted((CHART / "dashboards").glob("*.json"))]


def page_of(pod: Object) -> str:
    with urllib.request.urlopen(f"http://{pod['status']['podIP']}:{METRICS_PORT}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


class Course:
    """What was done while Prometheus looked on."""

    def __init__(self, seen: Prometheus, began: float) -> None:
        self.seen, self.began, self.ended = seen, began, began
        self.job = ""
        self.pages: dict[str, str] = {}
        """Of a replica and of a trainer, as they were read while a job trained."""

    def filled_in(self, text: str) -> str:
        return text.replace("$training_job", self.job).replace("$tenant", TENANT)


@pytest.fixture(scope="module")
def course(
    installed: Installed, client: Client, dataset: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Course]:
    """Two jobs, so that what is counted has moved, and a caller who is not let in."""
    objects = rendered(values_of("production"))
    monitors = [*all_of(objects, "ServiceMonitor"), *all_of(objects, "PodMonitor")]
    for monitor in monitors:
        assert monitor["spec"].get("namespaceSelector", {}).get("matchNames", [JOBS_NAMESPACE]) == [JOBS_NAMESPACE]
    rules, folder = sorted((CHART / "rules").glob("*.yaml")), tmp_path_factory.mktemp("prometheus")
    with prometheus(monitors, rules, installed.description["kubeconfig"], folder) as seen:
        course = Course(seen, time.time())
        replicas = len(installed.service_pods())
        eventually("Prometheus to read every replica", lambda: seen.targets("loramill") == replicas)
        with installed.client("operator") as operator:
            operator.set_admission(v1.Admission(paused=True, reason="a job is to be seen waiting"))
            try:
                first = client.create_job(job_spec(dataset))
                eventually(
                    "a waiting job to be read", lambda: seen.values("loramill_queue_waiting", course.began, time.time())
                )
            finally:
                operator.set_admission(v1.Admission())
        finished(client, first.name)
        turn_away(installed)
        job = client.create_job(job_spec(dataset, steps=240, checkpoint_every=20))
        course.job = job_id(job)
        wait_for(client, job.name, trains)
        eventually("Prometheus to read the trainer", lambda: seen.targets("loramill-trainer") >= 1)
        trainer = installed.pod(course.job)
        assert trainer is not None
        replica = installed.objects("pods", namespace=SERVICE_NAMESPACE)[0]
        course.pages = {"service": page_of(replica), "trainer": page_of(trainer)}
        turn_away(installed)
        assert finished(client, job.name).state == v1.TRAINING_JOB_STATE_SUCCEEDED
        time.sleep(3)  # readings and rules, each of every second
        course.ended = time.time()
        yield course


def turn_away(installed: Installed) -> None:
    stranger = Client(installed.address, credentials=Credentials(token="no token", ca=installed.ca))
    with stranger, pytest.raises(NotAuthenticated):
        stranger.get_job("trainingJobs/none")


def test_every_panel_has_data(course: Course) -> None:
    without = {
        (dashboard["title"], panel["title"], target["expr"])
        for dashboard in dashboards()
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
        if not course.seen.values(course.filled_in(target["expr"]), course.began, course.ended)
    }
    assert {panel for _, panel, _ in without} == NEEDS_A_GPU, sorted(without)


def test_what_counts_has_moved(course: Course) -> None:
    """Data may be zeros alone; of what has happened here it is not."""
    for query in (
        "sum(increase(loramill_jobs_ended_total[1h]))",
        "sum(increase(loramill_launches_total[1h]))",
        f'sum(increase(loramill_gpu_seconds_total{{tenant="{TENANT}"}}[1h]))',
        "sum(rate(loramill_rpc_total[5m]))",
        "sum(rate(loramill_authentication_refusals_total[5m]))",
        f'rate(loramill_training_images_total{{training_job="{course.job}"}}[5m])',
    ):
        assert max(course.seen.values(query, course.began, course.ended), default=0.0) > 0, query


def test_every_variable_of_a_dashboard_can_be_chosen(course: Course) -> None:
    wanted = {"tenant": TENANT, "training_job": course.job}
    asked = set()
    for dashboard in dashboards():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] != "query":
                continue
            metric, _, label = (
                variable["query"]["query"].removeprefix("label_values(").removesuffix(")").partition(", ")
            )
            found = course.seen.ask(
                f"label/{label}/values", **{"match[]": metric}, start=course.began, end=course.ended
            )
            assert wanted[variable["name"]] in found, variable
            asked.add(variable["name"])
    assert asked == wanted.keys()


@pytest.mark.parametrize("program", ["service", "trainer"])
def test_promtool_has_nothing_against_the_pages(course: Course, program: str) -> None:
    assert f"loramill_{'rpc' if program == 'service' else 'training'}" in course.pages[program]
    assert check_metrics(course.pages[program]) == ""


def test_promtool_would_say_what_is_wrong() -> None:
    assert "no help text" in check_metrics("# TYPE loramill_things_count gauge\nloramill_things_count 1\n")


def test_no_job_is_named_outside_its_own_pod(course: Course) -> None:
    assert course.job not in course.pages["service"]
    named = course.seen.ask("label/training_job/values", **{"match[]": '{job="loramill"}'})
    assert named == []


def test_the_rules_are_evaluated_without_an_error(course: Course) -> None:
    groups = course.seen.ask("rules")["groups"]
    assert groups
    assert [rule for group in groups for rule in group["rules"] if rule["health"] != "ok"] == []
