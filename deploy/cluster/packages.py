"""Debian packages that the cluster is made of; only what is missing is installed."""

from __future__ import annotations

import shutil
from pathlib import Path

from deploy.cluster.commands import run
from deploy.cluster.errors import ClusterError

# What each package is needed for, by a program that it brings.
_PACKAGES = {
    "ip": "iproute2",
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "iptables": "iptables",
    "nft": "nftables",
    "conntrack": "conntrack",
    "debootstrap": "debootstrap",
    "buildah": "buildah",
    "skopeo": "skopeo",
    "ceph-mon": "ceph-mon",
    "ceph-osd": "ceph-osd",
    "radosgw": "radosgw",
}
_QUIET = {"DEBIAN_FRONTEND": "noninteractive"}


def missing() -> list[str]:
    """Packages whose program is not there."""
    return [package for program, package in _PACKAGES.items() if not _is_there(program)]


def install() -> None:
    """Installs the packages that are missing.

    Raises:
        ClusterError: some are, and the machine is no Debian.
    """
    names = missing()
    if not names:
        return
    if shutil.which("apt-get") is None:
        raise ClusterError(
            f"These are missing, and only Debian and its kin are known here: {', '.join(names)}; install them by hand."
        )
    run(["apt-get", "update", "-qq"], environment=_QUIET)
    run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *names], environment=_QUIET)


def _is_there(program: str) -> bool:
    return Path(program).exists() if program.startswith("/") else shutil.which(program) is not None
