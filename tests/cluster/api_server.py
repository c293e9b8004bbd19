"""The API server of the cluster, asked without the service's own module: what tests compare it with."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import stamina
from kubernetes import config
from kubernetes.client import ApiClient, Configuration

Object = dict[str, Any]

RESTRICTED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "latest",
    "pod-security.kubernetes.io/warn": "restricted",
}
_DRY_RUN = [("dryRun", "All"), ("fieldValidation", "Strict")]


class NotThereYet(Exception):
    """Something that the cluster makes by itself."""


@dataclass(frozen=True)
class Answer:
    status: int
    message: str
    warnings: str
    """What the API server's Warning headers say; empty if there is nothing to warn of."""
    body: Object
    """The object as it would be made; where it was refused, the Status."""


@dataclass(frozen=True)
class ApiServer:
    client: ApiClient

    def dry_run(self, path: str, body: Object) -> Answer:
        """What the API server says to the object's creation, without creating it."""
        return self._ask("POST", path, body, _DRY_RUN)

    @contextmanager
    def namespace(self, labels: dict[str, str]) -> Iterator[str]:
        """A namespace that takes pods, until it is left."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        metadata = {"name": name, "labels": labels}
        made = self._ask("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        assert made.status == 201, made
        try:
            for attempt in stamina.retry_context(on=NotThereYet, timeout=30, wait_initial=0.05, attempts=None):
                with attempt:
                    if self._ask("GET", f"/api/v1/namespaces/{name}/serviceaccounts/default").status != 200:
                        raise NotThereYet(f"the service account of {name}")
            yield name
        finally:
            self._ask("DELETE", f"/api/v1/namespaces/{name}")

    def _ask(
        self, method: str, path: str, body: Object | None = None, query: list[tuple[str, str]] | None = None
    ) -> Answer:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        arguments = self.client.param_serialize(method, path, query_params=query, header_params=headers, body=body)
        response = self.client.call_api(*arguments, _request_timeout=(5, 60))
        content = json.loads(response.read())
        message = content.get("message", "") if response.status >= 300 else ""
        return Answer(response.status, message, response.getheader("Warning") or "", content)


def api_server() -> ApiServer:
    """Raises FileNotFoundError where no cluster is up."""
    description = json.loads(Path(os.environ.get("LORAMILL_CLUSTER", "build/cluster/cluster.json")).read_text())
    configuration = Configuration()
    config.load_kube_config(description["kubeconfig"], client_configuration=configuration, persist_config=False)
    return ApiServer(ApiClient(configuration))
