"""The service of the run: the program itself, for a namespace and a prefix of the bucket of its own, asked over loopback."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from bench.nodes import scenario
from deploy.cluster import versity
from deploy.cluster.errors import ClusterError
from deploy.cluster.paths import KUBECONFIG, ROOT
from deploy.cluster.storage import REGION, Store
from service.credential_settings import ACKNOWLEDGEMENT

_SERVES = re.compile(r"serves on (127\.0\.0\.1:\d+)")
_START_SECONDS = 60
_STOP_SECONDS = 30
_NO_IMAGE = "localhost/simulated@sha256:" + "0" * 64
"""Nothing pulls it."""


@contextmanager
def served(namespace: str, folder: Path) -> Iterator[str]:
    """Its address, until it is left. `folder` is for its files and its log, `service.log`; the environment is `environment`."""
    log = folder / "service.log"
    config = folder / "operator.yaml"
    config.write_text(yaml.safe_dump(_operator_file(namespace, versity.store(), folder)))
    settings = ("--port=0", "--metrics-port=0", "--health-port=0", f"--data={folder / 'data'}", "--log-format=json")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", f"--config={config}", *settings],
            cwd=ROOT,
            stdout=output,
            stderr=output,
            env={**os.environ, "POD_NAMESPACE": namespace},
        )
    try:
        yield _address(process, log)
    finally:
        process.terminate()
        process.wait(_STOP_SECONDS)


def root_of(namespace: str) -> str:
    """Where the service keeps everything."""
    return f"{versity.store().uri}{namespace}/"


def environment() -> dict[str, str]:
    """By which this process and those that it starts reach the store and the API server."""
    return {**versity.store().environment, "KUBECONFIG": str(KUBECONFIG)}


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        found = _SERVES.search(log.read_text())
        if found is not None:
            return found[1]
        if process.poll() is not None or time.monotonic() > deadline:
            raise ClusterError(f"The service does not serve; {log} says why.")
        time.sleep(0.1)


def _operator_file(namespace: str, store: Store, folder: Path) -> dict[str, object]:
    key_file = folder / "trainers-key.json"
    keys = {"AccessKeyId": store.service.access_key_id, "SecretAccessKey": store.service.secret_access_key}
    key_file.touch(mode=0o600)
    key_file.write_text(json.dumps({"Version": 1, **keys}))
    return {
        "store": root_of(namespace),
        "jobs_at_once": 10_000,
        "trainers": {
            "namespace": namespace,
            "image": _NO_IMAGE,
            "s3": {"endpoint_url": store.endpoint, "region": REGION},
        },
        "trainer_credentials": {"kind": "static", "key_file": str(key_file), "acknowledge": ACKNOWLEDGEMENT},
        "compute": {"currency": "USD", "classes": scenario.compute_classes()},
        "tenants": [{"tenant": "local", "role": "operator", "service_account": "nobody/nobody"}],
    }
