"""An image of one static program, made here, as nothing can be pulled."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile


def archive(name: str, program: bytes, tag: str, user: int) -> bytes:
    """The image as `docker save` would write it (its archive format), the same bytes each time; it runs `/<name>`."""
    layer = _tar({name: program}, mode=0o755)
    configuration = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": [f"/{name}"], "User": f"{user}:{user}"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}]
    return _tar(
        {
            "manifest.json": json.dumps(manifest).encode(),
            "config.json": json.dumps(configuration).encode(),
            "layer.tar": layer,
        }
    )


def _tar(files: dict[str, bytes], mode: int = 0o644) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
