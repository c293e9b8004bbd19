"""A network namespace in which the whole cluster lives.

It has no default route, so no packet leaves the machine even where a firewall rule is missing, nothing collides with
the machine's own ports, and deleting it removes every bridge, address and rule at once.
"""

from __future__ import annotations

from pathlib import Path

from deploy.cluster.commands import run
from deploy.cluster.paths import NAME

NAMESPACE = NAME
NAMESPACE_FILE = Path("/var/run/netns") / NAMESPACE
INSIDE = ("nsenter", f"--net={NAMESPACE_FILE}")
"""Prefix of a command that runs inside. `ip netns exec` would remount /sys and so hide the cgroups from the kubelet."""

ADDRESSES = ("172.30.0.1", "172.30.0.2")
"""One for each node; the first is the control plane's and the S3 servers' too. The API server refuses to advertise 127.x."""

MAIN_ADDRESS = ADDRESSES[0]
SERVICE_NETWORK = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
DNS_ADDRESS = "10.96.0.10"
SERVICE_ADDRESS = "10.96.50.51"
"""Of the installed service, so that its certificate can name it."""


def create() -> None:
    """Makes the namespace. The route lets the rules of Services see what processes of the namespace send to them."""
    run(["ip", "netns", "add", NAMESPACE])
    ip = ["ip", "-n", NAMESPACE]
    run([*ip, "link", "set", "lo", "up"])
    for address in ADDRESSES:
        run([*ip, "addr", "add", f"{address}/32", "dev", "lo"])
    run([*ip, "route", "add", SERVICE_NETWORK, "dev", "lo"])


def delete() -> None:
    """Removes the namespace; nothing where there is none."""
    if NAMESPACE_FILE.exists():
        run(["ip", "netns", "delete", NAMESPACE])
