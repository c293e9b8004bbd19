"""The cgroups of the nodes, in every hierarchy of a machine with cgroup v1, or in the one of v2."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from deploy.cluster.errors import ClusterError

_REMOVE_SECONDS = 10


def create(name: str) -> None:
    """Makes the cgroup in every hierarchy, with all that its parent has to give.

    Raises:
        ClusterError: no hierarchy is mounted.
    """
    for hierarchy in _in_use():
        controllers = hierarchy / "cgroup.controllers"
        if controllers.exists():
            all_of_them = " ".join(f"+{controller}" for controller in controllers.read_text().split())
            (hierarchy / "cgroup.subtree_control").write_text(all_of_them)
        cgroup = _folder(hierarchy, name)
        cgroup.mkdir(exist_ok=True)
        # A new cpuset of v1 is empty, and nothing can run in it.
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (hierarchy / file).exists():
                (cgroup / file).write_text((hierarchy / file).read_text())


def delete(name: str) -> None:
    """Kills every process in the cgroup, and removes it and all below it.

    Raises:
        ClusterError: a process could not be killed.
    """
    for cgroup in existing(name):
        deadline = time.monotonic() + _REMOVE_SECONDS
        while cgroup.exists():
            for process in _processes(cgroup):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            _remove(cgroup)
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"{cgroup} still holds the processes {_processes(cgroup)}; end them, then try again."
                )
            time.sleep(0.02)


def existing(name: str) -> list[Path]:
    """The cgroup's folders that are there."""
    return [folder for hierarchy in _mounted("cgroup", "cgroup2") if (folder := _folder(hierarchy, name)).exists()]


def _in_use() -> list[Path]:
    """Hierarchies of v1; where there are none, that of v2. On a machine with both, v1 holds the controllers."""
    found = _mounted("cgroup") or _mounted("cgroup2")
    if not found:
        raise ClusterError("No cgroups are mounted on this machine; mount /sys/fs/cgroup as your distribution does.")
    return found


def _mounted(*kinds: str) -> list[Path]:
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [Path(point) for point, kind in mounts if kind in kinds]


def _folder(hierarchy: Path, name: str) -> Path:
    return hierarchy / name.lstrip("/")


def _bottom_up(cgroup: Path) -> Iterator[Path]:
    for folder, _, _ in os.walk(cgroup, topdown=False):
        yield Path(folder)


def _processes(cgroup: Path) -> list[int]:
    found: list[int] = []
    for folder in _bottom_up(cgroup):
        with contextlib.suppress(OSError):
            found += [int(line) for line in (folder / "cgroup.procs").read_text().split()]
    return found


def _remove(cgroup: Path) -> None:
    for folder in _bottom_up(cgroup):
        with contextlib.suppress(OSError):
            folder.rmdir()
