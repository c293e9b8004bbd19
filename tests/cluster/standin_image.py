"""The image of a stand-in for the trainer (see standin/main.go): one static program, made here and given to the nodes."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import platform
import subprocess
import tarfile
import tempfile
from pathlib import Path

from deploy.cluster import containerd
from deploy.cluster.node import NODES

_SOURCES = Path(__file__).with_name("standin")
_NAME = "localhost/loramill-standin"


@functools.cache
def standin_image() -> str:
    """Its reference with digest, known to every node. A node that has it is left alone."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "standin"
        environment = {**os.environ, "CGO_ENABLED": "0"}
        command = ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", str(program), "."]
        subprocess.run(command, cwd=_SOURCES, env=environment, check=True)
        content = program.read_bytes()
        tag = f"{_NAME}:{hashlib.sha256(content).hexdigest()[:16]}"
        archive = Path(folder) / "image.tar"
        archive.write_bytes(_archive(content, tag))
        for node in NODES:
            if tag not in containerd.image_digests(node):
                containerd.import_image(archive, node)
    for node in NODES:
        known = containerd.image_digests(node)
        reference = f"{_NAME}@{known[tag]}"
        if reference not in known:
            containerd.ctr(node, "images", "tag", tag, reference)
    return reference


def _archive(program: bytes, tag: str) -> bytes:
    """As `docker save` writes it, the same bytes each time."""
    layer = _tar({"standin": program}, 0o755)
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    configuration = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": ["/standin"], "User": "65532:65532"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}]
    files = {
        "manifest.json": json.dumps(manifest).encode(),
        "config.json": json.dumps(configuration).encode(),
        "layer.tar": layer,
    }
    return _tar(files, 0o644)


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
