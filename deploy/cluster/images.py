"""The images of this tree: built from the Dockerfile when something that they are made of changed, and given to nodes."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uv

from deploy.cluster import base_image, containerd, image_store
from deploy.cluster.commands import run
from deploy.cluster.errors import ClusterError
from deploy.cluster.image_store import LAYOUT, REPOSITORY
from deploy.cluster.node import Node
from deploy.cluster.paths import ROOT
from deploy.cluster.steps import Step, Steps

TARGETS = ("service", "trainer")

_INPUTS = ("Dockerfile", ".dockerignore", "LICENSE", "pyproject.toml", "constraints.txt")
_CODE = ("client/loramill", "store", "service", "trainer")
_CERTIFICATES = Path("/etc/ssl/certs")
_PACKAGES_BYTES = 100 << 20
"""What takes more holds packages, not code: its predecessor is worth removing everywhere."""


@dataclass(frozen=True)
class Image:
    """One image. Pods name it by its content, never by a tag that moves."""

    target: str
    """Of the Dockerfile."""

    digest: str
    """Of the manifest."""

    @property
    def repository(self) -> str:
        return f"{REPOSITORY}/{self.target}"

    @property
    def reference(self) -> str:
        return f"{self.repository}@{self.digest}"


def build(steps: Steps) -> list[Image]:
    """The images of this tree, one for each target: built in minutes at first, in seconds after a change of the code.

    Raises:
        ClusterError: a build failed.
    """
    with image_store.held():
        inputs = inputs_digest(ROOT)
        if not _is_built(inputs):
            steps.in_order(_steps())
            _remember(inputs)
        return _images()


def import_into(node: Node, images: Iterable[Image]) -> None:
    """Gives a node whose containerd runs the layers of the images that it lacks.

    Raises:
        ClusterError: the node refuses them, or they were built anew meanwhile.
    """
    with image_store.held():
        known = containerd.image_digests(node)
        for image in images:
            if image.reference not in known:
                if not LAYOUT.is_whole(image.digest):
                    raise ClusterError(f"Another build replaced {image.reference}; run this again.")
                _send(image, node)
                LAYOUT.share(image.digest, node.images / "io.containerd.content.v1.content" / "blobs")


def inputs_digest(root: Path) -> str:
    """SHA-256 of all that the images of a tree are made of: each file's path and content."""
    files = [root / name for name in _INPUTS]
    for folder in _CODE:
        files += [path for path in (root / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    digest = hashlib.sha256(base_image.BASE_IMAGE.encode())
    for path in sorted(files):
        digest.update(f"\0{path.relative_to(root)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}".encode())
    return digest.hexdigest()


def _images() -> list[Image]:
    """What was built last."""
    return [Image(target, LAYOUT.digest(target)) for target in TARGETS]


def _is_built(inputs: str) -> bool:
    """Whether what was built last was built from this."""
    record = image_store.FOLDER / "inputs"
    return (
        record.exists() and record.read_text() == inputs and all(LAYOUT.is_whole(image.digest) for image in _images())
    )


def _remember(inputs: str) -> None:
    """A tree that was changed meanwhile is built again the next time, as nobody knows which half went in."""
    if inputs_digest(ROOT) == inputs:
        (image_store.FOLDER / "inputs").write_text(inputs)


def _steps() -> Iterator[Step]:
    yield "base image", base_image.make
    for target in TARGETS:
        yield f"{target} image", partial(_build, target)
    yield "layers of the images", _export


def _build(target: str) -> None:
    """Downloads come from uv's cache on this machine, which has them since `make install`, and stay in it."""
    downloads = run([uv.find_uv_bin(), "cache", "dir"]).strip()
    shared = ["--volume", f"{downloads}:/uv-cache", "--build-arg", "UV_CACHE_DIR=/uv-cache"]
    if _CERTIFICATES.is_dir():  # what this machine trusts may be more than the base does: a company's proxy, say
        shared += ["--volume", f"{_CERTIFICATES}:{_CERTIFICATES}:ro"]
    base = ["--pull-never", "--build-arg", f"BASE_IMAGE={base_image.BASE_IMAGE}"]
    how = ["--quiet", "--isolation", "chroot", "--layers", "--timestamp", "0"]
    image_store.buildah("bud", *how, *base, *shared, "--target", target, "--tag", f"{REPOSITORY}/{target}", ROOT)


def _export() -> None:
    for target in TARGETS:
        image_store.push_to_layout(f"{REPOSITORY}/{target}", target)
    if LAYOUT.remove_unused() > _PACKAGES_BYTES:
        image_store.prune()


def _send(image: Image, node: Node) -> None:
    """Streams the image into the node's containerd, with no archive of gigabytes between."""
    known = set(containerd.ctr(node, "content", "list", "--quiet").split())
    command = containerd.ctr_command(node, "images", "import", "--digests", "--base-name", image.repository, "-")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it gave up; its own words say why
            LAYOUT.write_archive(image.digest, known, process.stdin)
            process.stdin.close()
        said = process.stdout.read().decode()
    if process.returncode != 0:
        raise ClusterError(f"{node.name} does not take {image.reference}: {said.strip()}")
