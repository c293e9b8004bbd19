"""cluster.json: what tests and people must know of the running cluster, in one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deploy.cluster import ceph, control_plane, versity
from deploy.cluster.certificates import API_SERVER
from deploy.cluster.network import NAMESPACE, NAMESPACE_FILE
from deploy.cluster.node import NODES
from deploy.cluster.paths import BUILD, CA, KUBECONFIG, STATE

FILE = BUILD / "cluster.json"


def write(**more: object) -> Path:
    """Writes the file, which holds keys, with what later steps have to add to it."""
    stores = (versity.store(), ceph.store())
    content = {
        "network_namespace": NAMESPACE,
        "enter": f"nsenter --net={NAMESPACE_FILE}",
        "kubectl": control_plane.kubectl_command(),
        "kubeconfig": str(KUBECONFIG),
        "api_server": API_SERVER,
        "ca": str(CA),
        "logs": str(STATE / "logs"),
        "nodes": {node.name: {"address": node.address, "gpus": node.gpus, "capacity": node.capacity} for node in NODES},
        "s3": {store.name: store.described() for store in stores},
        "s3_tls": {store.name: {"endpoint": store.tls_endpoint, "ca": str(CA)} for store in stores},
        **more,
    }
    FILE.touch(mode=0o600)
    FILE.write_text(json.dumps(content, indent=2) + "\n")
    return FILE


def read() -> dict[str, Any]:
    """What `write` wrote; of a cluster that was never up, nothing."""
    return dict(json.loads(FILE.read_text())) if FILE.exists() else {}
