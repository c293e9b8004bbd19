"""The image that holds a pod's namespaces open."""

from __future__ import annotations

from pathlib import Path

from deploy.cluster import static_image
from deploy.cluster.go_builds import PAUSE, binary
from deploy.cluster.paths import STATE

PAUSE_IMAGE = "localhost/loramill-pause:1"
_USER = 65535


def archive() -> Path:
    """Writes the image; its path."""
    path = STATE / "pause.tar"
    path.write_bytes(static_image.archive("pause", binary(PAUSE).read_bytes(), PAUSE_IMAGE, _USER))
    return path
