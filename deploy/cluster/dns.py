"""Names of Services: CoreDNS beside the control plane, under the address that kubelets tell their pods."""

from __future__ import annotations

import json
from collections.abc import Mapping

from deploy.cluster import processes
from deploy.cluster.certificates import kubeconfig_file
from deploy.cluster.control_plane import kubectl
from deploy.cluster.go_builds import COREDNS, binary
from deploy.cluster.network import DNS_ADDRESS, MAIN_ADDRESS
from deploy.cluster.paths import STATE

# It answers for the cluster alone; every other name is refused at once, as nothing outside can be reached.
_CONFIGURATION = """\
.:53 {{
    bind {address}
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig}
    }}
}}
"""
_PORTS = ({"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"})


def start() -> None:
    """Starts it, once the API server is ready, and leads the address of the Service to it."""
    path = STATE / "Corefile"
    path.write_text(_CONFIGURATION.format(address=MAIN_ADDRESS, kubeconfig=kubeconfig_file("admin")))
    processes.start("coredns", [binary(COREDNS), "-conf", path])
    objects = {"apiVersion": "v1", "kind": "List", "items": [_service(), _endpoints()]}
    kubectl("apply", "--server-side", "--filename=-", text=json.dumps(objects))


def _service() -> Mapping[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system"},
        "spec": {"clusterIP": DNS_ADDRESS, "ports": _PORTS},
    }


def _endpoints() -> Mapping[str, object]:
    """By hand, because the process is no pod that a selector could find."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kube-dns",
            "namespace": "kube-system",
            "labels": {"kubernetes.io/service-name": "kube-dns"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [MAIN_ADDRESS]}],
        "ports": _PORTS,
    }
