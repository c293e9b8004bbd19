"""The image that holds a pod's namespaces open: one static program, made here, as nothing can be pulled."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path

from deploy.cluster.go_builds import PAUSE, binary
from deploy.cluster.paths import STATE

PAUSE_IMAGE = "localhost/loramill-pause:1"


def archive() -> Path:
    """Writes the image as `docker save` would (its archive format), the same bytes each time; returns its path."""
    layer = _tar({"pause": binary(PAUSE).read_bytes()}, mode=0o755)
    configuration = json.dumps(
        {
            "architecture": _architecture(),
            "os": "linux",
            "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    ).encode()
    manifest = [{"Config": "config.json", "RepoTags": [PAUSE_IMAGE], "Layers": ["layer.tar"]}]
    path = STATE / "pause.tar"
    path.write_bytes(
        _tar({"manifest.json": json.dumps(manifest).encode(), "config.json": configuration, "layer.tar": layer})
    )
    return path


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _tar(files: dict[str, bytes], mode: int = 0o644) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
