"""The service as it is installed on the cluster, its callers, and what the cluster has of its jobs."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from loramill.client import Client
from loramill.credentials import Credentials
from store.s3 import S3Store
from tests.cluster.s3_servers import S3Server, client_of, server

Object = dict[str, Any]

JOBS_NAMESPACE = "loramill-jobs"
SERVICE_NAMESPACE = "loramill"
CALLERS = "callers"
"""Namespace of the service accounts that call."""


def eventually(what: str, holds: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What `holds` gives as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain for: {what}"
        time.sleep(0.2)
    return found


class Installed:
    """Reached by kubectl as the cluster's administrator, and by gRPC as any of the callers."""

    def __init__(self) -> None:
        self.description: dict[str, Any] = json.loads(
            Path(os.environ.get("LORAMILL_CLUSTER", "build/cluster/cluster.json")).read_text()
        )
        self.address: str = self.description["service"]["address"]
        self.ca = Path(self.description["service"]["ca"])

    # -- callers -------------------------------------------------------------------------------------------------------

    def client(self, account: str) -> Client:
        """A client of one of the callers' service accounts, such as `tenant-a`."""
        return Client(self.address, credentials=Credentials(token=self.token(account), ca=self.ca))

    def token(self, account: str, audience: str = "loramill", seconds: int = 3600) -> str:
        asked = ("create", "token", account, "--audience", audience, "--duration", f"{seconds}s")
        return self.kubectl("-n", CALLERS, *asked).strip()

    # -- the cluster ---------------------------------------------------------------------------------------------------

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        done = subprocess.run(
            [*self.description["kubectl"], *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def objects(self, kind: str, job: str = "", namespace: str = JOBS_NAMESPACE) -> list[Object]:
        """All of a kind; of one training job if its id is given."""
        selector = ("-l", f"loramill.dev/job={job}") if job else ()
        found: list[Object] = json.loads(self.kubectl("-n", namespace, "get", kind, *selector, "-o", "json"))["items"]
        return found

    def pod(self, job: str, launch: int = 1) -> Object | None:
        """The pod of a launch, if there is one."""
        pods = self.objects("pods", job)
        return next((pod for pod in pods if pod["metadata"]["labels"]["loramill.dev/launch"] == str(launch)), None)

    def service_pods(self) -> list[str]:
        """Names of the replicas that serve."""
        pods = self.objects("pods", namespace=SERVICE_NAMESPACE)
        return [
            pod["metadata"]["name"]
            for pod in pods
            if "deletionTimestamp" not in pod["metadata"]
            and any(condition["type"] == "Ready" and condition["status"] == "True" for condition in _conditions(pod))
        ]

    @property
    def service_image(self) -> str:
        """With its digest."""
        image: str = self._one("deployment", "loramill")["spec"]["template"]["spec"]["containers"][0]["image"]
        return image

    @property
    def operator_file(self) -> Object:
        """What its operator says; the caller's own copy."""
        deployment = self._one("deployment", "loramill")
        volumes = deployment["spec"]["template"]["spec"]["volumes"]
        name = next(volume["configMap"]["name"] for volume in volumes if volume["name"] == "operator")
        file: Object = yaml.safe_load(self._one("configmap", name)["data"]["operator.yaml"])
        return file

    def _one(self, kind: str, name: str) -> Object:
        found: Object = json.loads(self.kubectl("-n", SERVICE_NAMESPACE, "get", kind, name, "-o", "json"))
        return found

    # -- the store -----------------------------------------------------------------------------------------------------

    @cached_property
    def s3(self) -> S3Server:
        """The server that the service uses."""
        return server(self.description["service"]["store"])

    @cached_property
    def store(self) -> S3Store:
        """The record, with the service's own rights."""
        return S3Store(self.description["service"]["bucket"], client=client_of(self.s3))


def _conditions(pod: Object) -> list[Object]:
    conditions: list[Object] = pod["status"].get("conditions", [])
    return conditions
