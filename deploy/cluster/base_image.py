"""The base of both images where no registry can be reached: Debian's smallest system, with Python and certificates."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from deploy.cluster import image_store
from deploy.cluster.commands import run

_SUITE = "bookworm"
_PACKAGES = ("python3", "ca-certificates")
_NOT_KEPT = (
    "etc/hostname",
    "etc/resolv.conf",
    "usr/share/doc/*",
    "usr/share/info/*",
    "usr/share/locale/*",
    "usr/share/man/*",
    "var/cache/apt/*",
    "var/lib/apt/lists/*",
    "var/log/*",
    "**/__pycache__",
)
"""Documentation, traces of this machine, and bytecode that goes by the time of its source."""

_RECIPE = hashlib.sha256(repr((_SUITE, _PACKAGES, _NOT_KEPT)).encode()).hexdigest()

BASE_IMAGE = f"{image_store.REPOSITORY}/base:{_RECIPE[:12]}"


def make() -> None:
    """Makes the image unless the store has it: a minute or two. Raises ClusterError."""
    if image_store.exists(BASE_IMAGE):
        return
    with tempfile.TemporaryDirectory(dir=image_store.FOLDER) as folder:
        root = Path(folder) / "root"
        run(["debootstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}", _SUITE, root])
        for pattern in _NOT_KEPT:
            for path in list(root.glob(pattern)):
                _remove(path)
        container = image_store.buildah("from", "scratch").strip()
        image_store.buildah("add", "--quiet", container, root, "/")
        image_store.buildah("commit", "--quiet", "--timestamp", "0", "--rm", container, BASE_IMAGE)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
