"""versitygw: an S3 server over a folder, that knows users and bucket policies, and no sessions."""

from __future__ import annotations

from deploy.cluster import processes
from deploy.cluster.certificates import certificate_file, key_file
from deploy.cluster.commands import run
from deploy.cluster.go_builds import VERSITYGW, binary
from deploy.cluster.network import INSIDE, MAIN_ADDRESS
from deploy.cluster.paths import STATE
from deploy.cluster.storage import BUCKET, SERVICE_USER, Keys, Store, keys_of, retried

PROCESS = "versitygw"
PROCESS_TLS = "versitygw-tls"
_FOLDER = STATE / "versity"
_START_SECONDS = 30


def store() -> Store:
    return Store(
        name="versitygw",
        endpoint=f"http://{MAIN_ADDRESS}:7070",
        tls_endpoint=f"https://{MAIN_ADDRESS}:7071",
        administrator=keys_of("versitygw", "root"),
        service=keys_of("versitygw", SERVICE_USER),
        role_arn=None,
    )


def start() -> None:
    """Starts it twice over the same folder, without and with TLS; makes the service's user, and the bucket that is its own."""
    # No folder's path may begin with that of the objects.
    for folder in ("objects", "users", "versions"):
        (_FOLDER / folder).mkdir(parents=True)
    process = _start(PROCESS, 7070)
    _start(PROCESS_TLS, 7071, "--cert", str(certificate_file("s3")), "--key", str(key_file("s3")))
    user = store().service
    retried(list_buckets, _START_SECONDS, "versitygw does not answer", process)
    _create_user(user)
    _administer("create-bucket", "--owner", user.access_key_id, "--bucket", BUCKET)


def list_buckets() -> None:
    """Raises ClusterError where the server does not answer."""
    _administer("list-buckets")


def _start(name: str, port: int, *more: str) -> processes.Process:
    root = store().administrator
    access = ["--access", root.access_key_id, "--secret", root.secret_access_key, "--iam-dir", str(_FOLDER / "users")]
    folders = ["posix", "--versioning-dir", str(_FOLDER / "versions"), str(_FOLDER / "objects")]
    address = ["--port", f"{MAIN_ADDRESS}:{port}"]
    return processes.start(name, [binary(VERSITYGW), "--quiet", *address, *access, *more, *folders])


def _create_user(user: Keys) -> None:
    keys = ["--access", user.access_key_id, "--secret", user.secret_access_key]
    _administer("create-user", *keys, "--role", "userplus")


def _administer(*arguments: str) -> None:
    root = store().administrator
    access = ["--access", root.access_key_id, "--secret", root.secret_access_key]
    run([*INSIDE, binary(VERSITYGW), "admin", *access, "--endpoint-url", store().endpoint, *arguments])
