"""Where images are built and kept until nodes have them: buildah's own storage, and one OCI layout of whole layers.

Both lie in the cache folder, so that removing it removes them. Programs: buildah and skopeo, neither of which needs a daemon.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from deploy.cluster.commands import run
from deploy.cluster.oci_layout import Layout
from deploy.cluster.paths import CACHE

FOLDER = CACHE / "images"
LAYOUT = Layout(FOLDER / "layout")
REPOSITORY = "localhost/loramill"

_STORAGE = FOLDER / "storage"
_RUN = FOLDER / "run"
_TEMPORARY = FOLDER / "tmp"


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Holds the store for this process; another one that builds waits."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def buildah(*arguments: str | Path) -> str:
    """Runs buildah on the store; returns what it prints. Raises ClusterError."""
    _TEMPORARY.mkdir(parents=True, exist_ok=True)
    roots = ("--storage-driver", "overlay", "--root", _STORAGE, "--runroot", _RUN)
    return run(["buildah", *roots, *arguments], environment={"TMPDIR": str(_TEMPORARY)})


def exists(image: str) -> bool:
    return bool(buildah("images", "--quiet", "--filter", f"reference={image}").strip())


def prune() -> None:
    """Removes what no tagged image is made of. What was cached of other stages of the Dockerfile goes too."""
    buildah("rm", "--all")
    buildah("rmi", "--prune")


def push_to_layout(image: str, tag: str) -> None:
    """Puts an image of the store into the layout, uncompressed.

    Layers that are there stay as they are, which needs them uncompressed: what a compressed one is made of cannot be told
    without compressing it again.
    """
    source = f"containers-storage:[overlay@{_STORAGE}+{_RUN}]{image}"
    target = f"oci:{LAYOUT.folder}:{tag}"
    run(["skopeo", "--tmpdir", _TEMPORARY, "copy", "--quiet", "--dest-oci-accept-uncompressed-layers", source, target])
