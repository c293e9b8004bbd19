"""What the cluster leaves on the machine, and its removal, also after a start that was killed half-way or a reboot."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from pathlib import Path

from deploy.cluster import cgroups, containerd, kubelet, network, processes
from deploy.cluster.commands import run
from deploy.cluster.errors import ClusterError
from deploy.cluster.node import NODE1, NODES
from deploy.cluster.paths import BUILD, STATE

_PROGRAMS = frozenset(
    ("kubernetes", "coredns", "containerd", "containerd-shim-runc-v2", "versitygw", "ceph-mon", "ceph-osd", "radosgw")
)
_CNI_RESULTS = Path("/var/lib/cni/results")
_POD_LOGS = Path("/var/log/containers")


def find() -> list[str]:
    """Everything that is there of the cluster, in words; nothing after `remove`. The caches stay and are none of it."""
    return [
        *(f"process {pid} ({name})" for pid, name in sorted(_processes().items())),
        *(f"mount {point}" for point in _mounts()),
        *(f"cgroup {folder}" for node in NODES for folder in cgroups.existing(node.cgroup)),
        *(f"folder {folder}" for folder in (STATE, BUILD, *(node.images for node in NODES[1:])) if folder.exists()),
        *(f"network namespace {network.NAMESPACE}" for _ in range(network.NAMESPACE_FILE.exists())),
        *(str(path) for path in _stray_files()),
    ]


def remove() -> None:
    """Ends and removes everything that `find` finds.

    Raises:
        ClusterError: something is still there; it names each.
    """
    for process in processes.all_recorded():
        process.signal(signal.SIGCONT)
    # Looked up while the containers are there that tell their names.
    stray_files = _stray_files()
    # The kubelets go first, or they would start again what is ended here.
    for node in NODES:
        with contextlib.suppress(ClusterError):
            processes.stop(kubelet.process_name(node))
    for node in NODES:
        containerd.remove_containers(node)
        cgroups.delete(node.cgroup)
    for pid in _processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _remove_files(stray_files)
    if left := find():
        raise ClusterError("These are still there: " + "; ".join(left) + ".")


def _remove_files(stray_files: list[Path]) -> None:
    for point in _mounts():
        run(["umount", "--lazy", point])
    network.delete()
    for path in stray_files:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for folder in (STATE, BUILD, *(node.images for node in NODES if node != NODE1)):
        shutil.rmtree(folder, ignore_errors=True)


def _processes() -> dict[int, str]:
    """Names of the cluster's processes by id. Their commands tell them: not each may have come to be recorded."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_text().split("\0")
            program = Path(words[0]).name
            if program in _PROGRAMS and any(f"{STATE}/" in word for word in words):
                found[int(folder.name)] = words[1] if program == "kubernetes" else program
    return found


def _mounts() -> list[str]:
    """Mount points below the folder of state, innermost first."""
    points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [point for point in reversed(points) if Path(point).is_relative_to(STATE)]


def _stray_files() -> list[Path]:
    """Files of containerd, of the network plugins and of kubelets, whose places cannot be configured."""
    containers = [
        folder for node in NODES for folder in node.folder.glob("containerd/io.containerd.runtime.v2.task/k8s.io/*")
    ]
    addresses = [folder / "address" for folder in containers if (folder / "address").exists()]
    candidates = [
        *(Path(address.read_text().removeprefix("unix://")) for address in addresses),
        *(_CNI_RESULTS / f"cni-loopback-{container.name}-lo" for container in containers),
        *(path for node in NODES for path in _CNI_RESULTS.glob(f"{containerd.network_name(node)}-*")),
        *([kubelet.DEVICE_PLUGINS] if STATE.exists() else []),
        *(path for path in _POD_LOGS.glob("*.log") if path.is_symlink() and path.readlink().is_relative_to(STATE)),
    ]
    return sorted({path for path in candidates if os.path.lexists(path)})
