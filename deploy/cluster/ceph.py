"""Ceph's S3 server: one monitor, one store of objects in memory, one gateway. It knows roles and sessions (STS)."""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path

from deploy.cluster import processes
from deploy.cluster.certificates import certificate_file, key_file
from deploy.cluster.commands import run
from deploy.cluster.network import INSIDE, MAIN_ADDRESS
from deploy.cluster.paths import ROOT, STATE
from deploy.cluster.storage import BUCKET, SERVICE_USER, Store, keys_of, retried

GATEWAY = "radosgw"
ROLE = "loramill-trainer"
_FOLDER = STATE / "ceph"
_CONFIGURATION = _FOLDER / "ceph.conf"
_KEYRING = _FOLDER / "keyring"
_START_SECONDS = 60
_PORT, _TLS_PORT = 7480, 7481

_SETTINGS = """\
[global]
fsid = {fsid}
mon_host = [v2:{address}:3300,v1:{address}:6789]
public_network = {address}/32
keyring = {folder}/keyring
run_dir = {folder}/run
admin_socket = {folder}/run/$cluster-$name.asok
crash_dir = {folder}/crash
log_to_stderr = true
log_file =
mon_data = {folder}/mon
osd_data = {folder}/osd
osd_objectstore = memstore
memstore_device_bytes = 8589934592
# One copy of everything, on the one store there is.
mon_allow_pool_size_one = true
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
rgw_frontends = beast endpoint={address}:{port} ssl_endpoint={address}:{tls_port} ssl_certificate={crt} ssl_private_key={key}
rgw_s3_auth_use_sts = true
rgw_sts_key = {sts_key}
# A test can outlive several sessions.
rgw_sts_min_session_duration = 10
"""


def store() -> Store:
    return Store(
        name="ceph",
        endpoint=f"http://{MAIN_ADDRESS}:{_PORT}",
        tls_endpoint=f"https://{MAIN_ADDRESS}:{_TLS_PORT}",
        administrator=keys_of("ceph", "administrator"),
        service=keys_of("ceph", SERVICE_USER),
        role_arn=f"arn:aws:iam:::role/{ROLE}",
    )


def start() -> None:
    """Starts it; makes the users, the role that the service's user may assume, and the bucket that is its own."""
    fsid = str(uuid.uuid4())
    _configure(fsid)
    _start_monitor(fsid)
    _start_objects()
    gateway = processes.start(GATEWAY, _command("radosgw", "-f", "-n", "client.admin"))
    _create_users()
    _create_role()
    retried(make_bucket, _START_SECONDS, "Ceph makes no bucket", gateway)


def make_bucket() -> None:
    """Makes the service's bucket, or finds it made. Raises ClusterError where the gateway does not answer."""
    environment = {**store().environment, "PYTHONPATH": str(ROOT)}
    run([*INSIDE, sys.executable, "-m", "deploy.cluster.create_bucket", BUCKET], environment=environment)


def _configure(fsid: str) -> None:
    for folder in ("run", "crash", "mon", "osd"):
        (_FOLDER / folder).mkdir(parents=True)
    _CONFIGURATION.write_text(
        _SETTINGS.format(
            fsid=fsid,
            address=MAIN_ADDRESS,
            folder=_FOLDER,
            port=_PORT,
            tls_port=_TLS_PORT,
            crt=certificate_file("s3"),
            key=key_file("s3"),
            sts_key=uuid.uuid4().hex[:16],
        )
    )


def _start_monitor(fsid: str) -> None:
    everything = ["--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *"]
    for name in ("mon.", "client.admin"):
        new = [] if _KEYRING.exists() else ["--create-keyring"]
        run(["ceph-authtool", *new, _KEYRING, "--gen-key", "-n", name, *everything])
    map_ = _FOLDER / "monmap"
    addresses = f"[v2:{MAIN_ADDRESS}:3300,v1:{MAIN_ADDRESS}:6789]"
    run(["monmaptool", "--create", "--clobber", "--addv", "a", addresses, "--fsid", fsid, map_])
    _inside("ceph-mon", "--mkfs", "-i", "a", "--monmap", str(map_), "--keyring", str(_KEYRING))
    processes.start("ceph-mon", _command("ceph-mon", "-f", "-i", "a"))


def _start_objects() -> None:
    """Asks the monitor for a number, which waits until that answers, and starts the store of objects under it."""
    identity = str(uuid.uuid4())
    number = _inside("ceph", "osd", "new", identity).strip()
    _inside("ceph-authtool", str(_KEYRING), "--gen-key", "-n", f"osd.{number}")
    _inside("ceph", "auth", "add", f"osd.{number}", "mon", "allow *", "osd", "allow *", "-i", str(_KEYRING))
    _inside("ceph-osd", "--mkfs", "-i", number, "--osd-uuid", identity)
    processes.start("ceph-osd", _command("ceph-osd", "-f", "-i", number))


def _create_users() -> None:
    for name, keys, more in (
        ("administrator", store().administrator, ["--caps", "roles=*;users=*;buckets=*", "--admin"]),
        (SERVICE_USER, store().service, []),
    ):
        key = ["--access-key", keys.access_key_id, "--secret-key", keys.secret_access_key]
        _inside("radosgw-admin", "user", "create", "--uid", name, "--display-name", name, *key, *more)


def _create_role() -> None:
    """The role may do everything with the bucket: what a session may is said by the policy that it is opened with."""
    may_assume = _policy(Principal={"AWS": [f"arn:aws:iam:::user/{SERVICE_USER}"]}, Action=["sts:AssumeRole"])
    may = _policy(Action=["s3:*"], Resource=[f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"])
    role = ["--role-name", ROLE]
    _inside("radosgw-admin", "role", "create", *role, "--assume-role-policy-doc", may_assume)
    _inside("radosgw-admin", "role-policy", "put", *role, "--policy-name", "bucket", "--policy-doc", may)


def _policy(**statement: object) -> str:
    """Compact: Ceph refuses a policy that has spaces."""
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]}
    return json.dumps(document, separators=(",", ":"))


def _inside(program: str, *arguments: str) -> str:
    return run([*INSIDE, *_command(program, *arguments)])


def _command(program: str, *arguments: str) -> list[str | Path]:
    return [program, "--conf", _CONFIGURATION, *arguments]
