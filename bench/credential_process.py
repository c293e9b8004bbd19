"""What it costs a trainer that its credentials come from a file that is read again: milliseconds a request.

python -m bench.credential_process

boto3 runs the credential_process once, and at every request when less than 15 minutes of the credentials' life are left.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3

REQUESTS = 100


def milliseconds(folder: Path, left: timedelta) -> float:
    """For one request's credentials, of which so much of their life is left."""
    expiration = (datetime.now(UTC) + left).isoformat()
    keys = {"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "SessionToken": "c", "Expiration": expiration}
    (folder / "credentials.json").write_text(json.dumps(keys))
    credentials = boto3.Session().get_credentials()
    assert credentials is not None
    start = time.perf_counter()
    for _ in range(REQUESTS):
        credentials.get_frozen_credentials()
    return (time.perf_counter() - start) / REQUESTS * 1000


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config").write_text(f"[default]\ncredential_process = cat {folder}/credentials.json\n")
        os.environ["AWS_CONFIG_FILE"] = str(folder / "config")
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            os.environ.pop(variable, None)
        for minutes in (60, 20, 14, 5, 1):
            print(f"| {minutes} min left | {milliseconds(folder, timedelta(minutes=minutes)):.2f} ms |")


if __name__ == "__main__":
    main()
