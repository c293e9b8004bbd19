"""The image of a stand-in for the trainer (see standin/main.go): one static program, made here and given to the nodes."""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

from deploy.cluster import containerd, static_image
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
        archive.write_bytes(static_image.archive("standin", content, tag, user=65532))
        for node in NODES:
            if tag not in containerd.image_digests(node):
                containerd.import_image(archive, node)
    for node in NODES:
        known = containerd.image_digests(node)
        reference = f"{_NAME}@{known[tag]}"
        if reference not in known:
            containerd.ctr(node, "images", "tag", tag, reference)
    return reference
