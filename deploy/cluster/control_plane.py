"""The control plane: etcd, API server, controller manager, scheduler, and the proxy of Services."""

from __future__ import annotations

from pathlib import Path

import yaml

from deploy.cluster import processes
from deploy.cluster.certificates import certificate_file, key_file, kubeconfig_file
from deploy.cluster.commands import run
from deploy.cluster.errors import ClusterError
from deploy.cluster.go_builds import KUBERNETES, binary
from deploy.cluster.network import INSIDE, MAIN_ADDRESS, SERVICE_NETWORK
from deploy.cluster.paths import CA, CERTIFICATES, KUBECONFIG, SIMULATED, STATE

_ETCD = f"http://{MAIN_ADDRESS}:2379"
_READY_SECONDS = 180
_POD_NETWORK = "10.244.0.0/16"

_QUICK = ("--kube-api-qps=500", "--kube-api-burst=1000")
"""For hundreds of Jobs at once; without them both programs hold themselves back to 20 and 50 requests a second."""
_QUICK_CONTROLLERS = (*_QUICK, "--concurrent-job-syncs=20", "--concurrent-gc-syncs=40")


def start() -> None:
    """Starts everything, and waits until the API server admits pods to the default namespace.

    Who asks the API server starts when it answers: the controller manager gives it up after 20 s, which a busy machine may need.
    """
    _start("etcd", *_etcd())
    api_server = _start("kube-apiserver", *_api_server())
    processes.wait_until(is_ready, _READY_SECONDS, "The API server is not ready", api_server)
    _start("kube-controller-manager", *_controller_manager())
    quick = _QUICK if SIMULATED else ()
    _start("kube-scheduler", f"--kubeconfig={kubeconfig_file('scheduler')}", "--leader-elect=false", *quick)
    if not SIMULATED:  # nothing of simulated nodes sends packets
        _start("kube-proxy", f"--config={_proxy_configuration()}", "--hostname-override=node1")
    processes.wait_until(_admits_pods, _READY_SECONDS, "The default namespace has no service account yet", api_server)


def is_ready() -> bool:
    """Whether the API server answers that it is."""
    try:
        return kubectl("get", "--raw=/readyz") == "ok"
    except ClusterError:
        return False


def _admits_pods() -> bool:
    """A pod is refused until its namespace has the default service account."""
    return kubectl("get", "serviceaccount", "default", "--ignore-not-found", "--output=name") != ""


def kubectl(*arguments: str, text: str | None = None) -> str:
    """Runs kubectl as the cluster's administrator; returns what it prints.

    Raises:
        ClusterError: it failed; with what it said.
    """
    return run([*INSIDE, *kubectl_command(), "--request-timeout=60s", *arguments], text=text)


def kubectl_command() -> list[str]:
    """kubectl as the administrator, for whoever is inside the cluster's network already."""
    return [str(binary(KUBERNETES)), "kubectl", f"--kubeconfig={KUBECONFIG}"]


def _start(component: str, *arguments: str) -> processes.Process:
    return processes.start(component, [binary(KUBERNETES), component, *arguments])


def _etcd() -> list[str]:
    """Without fsync: the cluster's state is not to outlive the machine's next boot."""
    peer = f"http://{MAIN_ADDRESS}:2380"
    return [
        f"--data-dir={STATE / 'etcd'}",
        f"--listen-client-urls={_ETCD}",
        f"--advertise-client-urls={_ETCD}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
    ]


def _api_server() -> list[str]:
    return [
        f"--etcd-servers={_ETCD}",
        f"--advertise-address={MAIN_ADDRESS}",
        f"--bind-address={MAIN_ADDRESS}",
        "--secure-port=6443",
        f"--tls-cert-file={certificate_file('apiserver')}",
        f"--tls-private-key-file={key_file('apiserver')}",
        f"--client-ca-file={CA}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--feature-gates=ImageVolume=true",  # on by default from Kubernetes 1.35
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={CERTIFICATES / 'service-accounts.key'}",
        f"--service-account-signing-key-file={CERTIFICATES / 'service-accounts.key'}",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-certificate-authority={CA}",
        f"--kubelet-client-certificate={certificate_file('apiserver-to-kubelet')}",
        f"--kubelet-client-key={key_file('apiserver-to-kubelet')}",
    ]


def _controller_manager() -> list[str]:
    return [
        f"--kubeconfig={kubeconfig_file('controller-manager')}",
        f"--root-ca-file={CA}",
        f"--service-account-private-key-file={CERTIFICATES / 'service-accounts.key'}",
        "--use-service-account-credentials",
        f"--cluster-signing-cert-file={CA}",
        f"--cluster-signing-key-file={key_file('ca')}",
        "--leader-elect=false",
        f"--flex-volume-plugin-dir={STATE / 'volume-plugins'}",
        *(_QUICK_CONTROLLERS if SIMULATED else ()),
    ]


def _proxy_configuration() -> Path:
    """Conntrack's limits stay as they are: they belong to the machine, not to a network namespace."""
    never = "0s"
    configuration = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": _POD_NETWORK,
        "clientConnection": {"kubeconfig": str(kubeconfig_file("proxy"))},
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            **dict.fromkeys(("tcpEstablishedTimeout", "tcpCloseWaitTimeout", "udpTimeout", "udpStreamTimeout"), never),
        },
    }
    path = STATE / "kube-proxy.yaml"
    path.write_text(yaml.safe_dump(configuration))
    return path
