"""A service of a test's own on the cluster: its own namespace for Jobs, its own prefix of the bucket, its own Lease.

It is the same program as the installed one, a process beside the tests that asks nobody who calls, so that it serves loopback
alone. What disturbs it disturbs no other test.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from loramill.channel import ADDRESS_VARIABLE
from loramill.client import Client
from loramill.credentials import Credentials
from store.s3 import S3Store
from tests.cluster.api_server import RESTRICTED, api_server
from tests.cluster.installed import Installed, Object, eventually
from tests.cluster.s3_servers import client_of

ROOT = Path(__file__).resolve().parents[2]
_SERVES = re.compile(r"serves on (127\.0\.0\.1:\d+)")
_STOPS_WITHIN = 30


class PrivateService:
    """One that serves. It may be killed and started again, on another port."""

    tenant = "local"
    """Of everybody who calls it."""

    def __init__(
        self, installed: Installed, namespace: str, folder: Path, operator_file: Object, settings: Sequence[str] = ()
    ) -> None:
        """`folder` is for its files and its log; `operator_file` what differs from the installed service's; `settings` are
        further flags."""
        self.installed = installed
        self.namespace = namespace
        self.store = S3Store(
            installed.description["service"]["bucket"], f"{namespace}/", client=client_of(installed.s3)
        )
        self._folder = folder
        self._settings = settings
        self._config = folder / "operator.yaml"
        self.configure(**operator_file)
        self._log = folder / "service.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.address = ""

    def configure(self, **operator_file: Any) -> None:
        """From its next start on: what differs from the installed service's file."""
        self._config.write_text(yaml.safe_dump(self._operator_file(operator_file)))

    def start(self) -> None:
        """Returns when it serves."""
        before = len(self.log)
        settings = ("--port=0", "--metrics-port=0", "--health-port=0", f"--data={self._folder / 'data'}")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "service",
                    f"--config={self._config}",
                    "--log-format=json",
                    *settings,
                    *self._settings,
                ],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env=self._environment,
            )
        process = self._process

        def serves() -> re.Match[str] | None:
            assert process.poll() is None, self.log[before:]
            return _SERVES.search(self.log, before)

        served: re.Match[str] = eventually("the private service to serve", serves)
        self.address = served[1]

    def kill(self) -> None:
        """As a machine that fails does: no call is finished, no Lease given back."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_STOPS_WITHIN)

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def client(self) -> Client:
        return Client(self.address, credentials=Credentials())

    def command(self, *words: str) -> str:
        """What the command `loramill`, which an operator has, prints; it succeeds."""
        done = subprocess.run(
            [sys.executable, "-m", "loramill.cli", *words],
            cwd=ROOT,
            env={**os.environ, ADDRESS_VARIABLE: self.address},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"loramill {' '.join(words)}: {done.stderr}"
        return done.stdout

    def objects(self, kind: str, job: str = "") -> list[Object]:
        """All of a kind in the namespace of its Jobs; of one training job if its id is given."""
        return self.installed.objects(kind, job, self.namespace)

    @property
    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            **self.installed.s3.environment,
            "KUBECONFIG": self.installed.description["kubeconfig"],
            "POD_NAMESPACE": self.namespace,
        }

    def _operator_file(self, changes: Object) -> Object:
        """The installed service's, for another place and for callers who need not prove anything."""
        file: Object = self.installed.operator_file
        del file["authentication"], file["tls"]
        file["store"] = self.store.uri
        file["trainers"] |= {"namespace": self.namespace, "service_account_name": "default"}
        merged: Object = _merged(file, changes)
        return merged


def _merged(file: Any, changes: Any) -> Any:
    """`changes` over `file`, key by key."""
    if not (isinstance(file, dict) and isinstance(changes, dict)):
        return changes
    return file | {key: _merged(file.get(key), value) for key, value in changes.items()}


@contextmanager
def private_service(
    installed: Installed, folder: Path, settings: Sequence[str] = (), **operator_file: Any
) -> Iterator[PrivateService]:
    """It runs until it is left, and then nothing of it remains: `operator_file` says what differs from the installed one's,
    `settings` are further flags."""
    with api_server().namespace(RESTRICTED) as namespace:
        service = PrivateService(installed, namespace, folder, operator_file, settings)
        try:
            service.start()
            yield service
        finally:
            service.stop()
            # Before the record goes, so that no trainer writes any more.
            installed.kubectl("--namespace", namespace, "delete", "jobs", "--all", "--wait", "--cascade=foreground")
            for found in list(service.store.list()):
                service.store.delete(found.key)
